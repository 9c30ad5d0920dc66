"""The try-it page in Chromium: with_chromium.py BROWSER CLASSIFIER REGRESSION FOLDER SCREENSHOTS.

The classifier takes 700 rows at once. Prints what each check found wrong, and the seconds to the
first paint and bytes of the page; the code that the page offers is left in FOLDER.
"""

import csv
import json
import re
import sys
import traceback
from pathlib import Path
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

BROWSER, URL, REGRESSION = sys.argv[1:4]
FOLDER, SCREENSHOTS = map(Path, sys.argv[4:])
# Without these Chromium calls its maker's hosts at every start.
FLAGS = ["--disable-background-networking", "--disable-component-update", "--disable-quic"]
FLAGS += ["--disable-sync", "--no-first-run", "--disable-gpu"]
HEADER = "island,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex,note"
GOOD = "Biscoe,46.1,13.2,211,4500,female,"
expect.set_options(timeout=30_000)
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def give(page, *lines, header=HEADER):
    """Give a CSV file to the page; its bytes begin with a byte order mark."""
    text = "\r\n".join([header, *lines, ""])
    file = {"name": "rows.csv", "mimeType": "text/csv", "buffer": text.encode("utf-8-sig")}
    page.set_input_files("#file", files=[file])
    expect(page.locator("#summary")).to_contain_text("answered")


def downloaded(page):
    """The rows of the file that the page hands out."""
    with page.expect_download() as download:
        page.click("#download")
    with open(download.value.path(), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def message(page, name):
    """What stands beside a field, and whether it is marked as wrong."""
    field = page.get_by_label(name).first
    place = field.get_attribute("aria-describedby").split()[-1]
    return page.locator(f"#{place}").inner_text(), field.get_attribute("aria-invalid")


@check
def a_row_is_predicted(page):
    page.get_by_label("bill_length_mm").fill("39.1")
    page.get_by_role("combobox", name="island").select_option("Torgersen")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".label")).to_have_text("Adelie")
    bars = page.locator(".bars li")
    assert bars.first.inner_text().startswith("Adelie")
    assert bars.count() == 3
    widths = [bar.bounding_box()["width"] for bar in page.locator(".bar").all()]
    tracks = [track.bounding_box()["width"] for track in page.locator(".track").all()]
    assert widths[0] > 0.9 * tracks[0] > 9 * widths[1], widths
    assert page.locator(".share").first.inner_text().endswith("%")


@check
def a_flag_is_beside_its_field(page):
    page.get_by_label("body_mass_g").fill("9000")
    page.get_by_role("combobox", name="island").select_option("another value …")
    page.get_by_label("island, another value").fill("Mars")
    page.keyboard.press("Enter")
    expect(page.locator(".label")).to_be_visible()
    assert message(page, "body_mass_g") == ("above 6300, the most in training", None)
    assert message(page, "island") == ("never seen in training", None)


@check
def what_is_refused_is_said_beside_each_field(page):
    page.get_by_label("bill_length_mm").fill("long")
    page.get_by_label("flipper_length_mm").fill("")
    page.get_by_label("body_mass_g").fill("1,5")
    page.get_by_label("body_mass_g").press("Enter")
    expect(page.locator("#refused")).to_contain_text("2 values")
    for name in ("bill_length_mm", "body_mass_g"):
        assert message(page, name) == ("must be a number, got a string", "true")
    assert message(page, "flipper_length_mm") == ("", None)
    assert page.evaluate("document.activeElement.labels[0].textContent").startswith("bill_length")
    page.get_by_label("bill_length_mm").fill("40")
    page.get_by_label("body_mass_g").fill("4000")
    assert message(page, "body_mass_g") == ("", None)
    page.keyboard.press("Enter")
    expect(page.locator(".label")).to_be_visible()
    assert page.locator("#refused").inner_text() == ""


@check
def other_refusals_are_above_the_form(page):
    refusal = {"detail": "busy", "errors": [{"loc": ["instances", 0, "shoe"], "msg": "is none"}]}
    page.route("**/predict", lambda route: route.fulfill(status=422, json=refusal), times=1)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#refused")).to_have_text("busyinstances 0 shoe: is none")
    page.route("**/predict", lambda route: route.abort(), times=1)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#refused")).to_contain_text("cannot be reached")


@check
def a_random_row_is_a_real_one(page):
    rows = json.loads(page.locator("#facts").text_content())["rows"]
    assert len(rows) == 10
    seen = set()
    for _ in range(4):
        page.get_by_role("button", name="Random real row").click()
        text = page.locator("#curl").text_content()
        given = json.loads(text.partition("--data '")[2].rstrip("'\n"))["instances"][0]
        assert given in rows
        seen.add(rows.index(given))
    assert len(seen) > 1
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_label("body_mass_g")).to_have_value("4000")


@check
def all_works_without_a_mouse(page):
    def focus(wanted):
        for _ in range(40):
            page.keyboard.press("Tab")
            name = "(({ id, textContent }) => id || textContent.trim())(document.activeElement)"
            if page.evaluate(name) == wanted:
                return
        raise AssertionError(f"{wanted} is not reached by Tab")

    page.on("filechooser", lambda _: None)  # from here on no dialog of the system's opens
    focus("field-0")
    page.keyboard.type("Tor")
    focus("field-1")
    page.keyboard.type("39.1")
    page.keyboard.press("Enter")
    expect(page.locator(".label")).to_have_text("Adelie")
    focus("random")
    page.keyboard.press("Space")
    focus("file")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    file = {"name": "a.csv", "mimeType": "text/csv", "buffer": f"{HEADER}\n{GOOD}\n".encode()}
    chooser.value.set_files(files=[file])
    expect(page.locator("#summary")).to_contain_text("1 answered")
    focus("download")
    with page.expect_download():
        page.keyboard.press("Enter")
    focus("Python: requests")
    page.keyboard.press("Enter")
    expect(page.locator("#requests")).to_be_visible()
    focus("Copy the requests call")


@check
def a_file_is_predicted_but_for_its_bad_rows(page):
    odd = '"Biscoe",46.1,13.2,211,4500,female,"said ""no"",\r\nthen <img src=x>"'
    lines = [odd, "Biscoe,long,13.2,211,heavy,female,", "Biscoe,46.1", ",46.1,13.2,211,4500,male,"]
    lines += ["", "<b>Mars</b>,NA,,211,4500,nan,=1+1"]
    give(page, *lines)
    words = "rows.csv: 2 answered, 3 refused."
    expect(page.locator("#summary")).to_have_text(words)
    assert page.locator("#faults li").all_inner_texts() == [
        "Row 2: bill_length_mm must be a number, got a string; "
        "body_mass_g must be a number, got a string",
        "Row 3: has 2 cells, not 7",
        "Row 4: island must not be null",
    ]
    assert page.locator("#answers tbody tr").count() == 2
    assert page.locator("#answers img, #answers b").count() == 0
    rows = downloaded(page)
    assert [bool(row["prediction"]) for row in rows] == [True, False, False, False, True]
    assert rows[0]["note"] == 'said "no",\r\nthen <img src=x>'
    assert float(rows[0]["probability_Gentoo"]) > 0.9
    assert rows[4]["flags"] == "island:unknown_category"
    assert (rows[4]["island"], rows[4]["bill_length_mm"]) == ("<b>Mars</b>", "NA")
    assert rows[3]["refused"] == "island must not be null"


@check
def a_large_file_goes_in_pieces_and_a_busy_service_is_asked_again(page):
    sent, busy = [], {"detail": "busy", "errors": []}

    def answer(route):
        sent.append(len(json.loads(route.request.post_data)["instances"]))
        first = len(sent) == 1
        route.fulfill(status=503, json=busy) if first else route.continue_()

    page.route("**/predict", answer)
    lines = [GOOD + str(i) for i in range(1600)]
    lines[1500] = "Biscoe,x,13.2,211,4500,female,"
    give(page, *lines)
    expect(page.locator("#summary")).to_contain_text("1,599 answered, 1 refused")
    assert sent == [700, 700, 700, 200, 199]
    assert page.locator("#answers tbody tr").count() == 100
    rows = downloaded(page)
    assert [row["note"] for row in rows if row["prediction"]] == [
        str(i) for i in range(1600) if i != 1500
    ]


@check
def a_file_can_be_stopped(page):
    page.route("**/predict", lambda route: route.fulfill(status=503, json={"detail": "busy"}))
    file = {"name": "a.csv", "mimeType": "", "buffer": f"{HEADER}\n{GOOD}\n".encode()}
    page.set_input_files("#file", files=[file])
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#summary")).to_have_text("a.csv: 0 answered, 0 refused, 1 not sent.")
    expect(page.locator("#progress")).to_be_hidden()


@check
def a_file_that_cannot_be_read_is_refused_at_once(page):
    def say(content, words):
        page.set_input_files("#file", files=[{"name": "a", "mimeType": "", "buffer": content}])
        expect(page.locator("#batch-refused")).to_contain_text(words)

    say(b"1,2,3\n4,5,6\n", "The first line must name the columns; there is no island, bill")
    say(b"sex,note\nmale,1\n", "there is no island")
    say(b"island,sex,sex\nBiscoe,male,1\n", "Two columns are called sex")
    say(b'island\n"Biscoe\n', "never closed")
    say("island\nBiscoé\n".encode("latin-1"), "no UTF-8")
    # Another separator; what is absent and may be missing is said.
    file = {"name": "a", "mimeType": "", "buffer": b"island;sex\nDream;male\n"}
    page.set_input_files("#file", files=[file])
    expect(page.locator("#summary")).to_contain_text("1 answered, 0 refused. Not in the file")
    assert page.locator("#batch-refused").inner_text() == ""


@check
def a_file_can_be_dropped(page):
    drop = """text => {
        const data = new DataTransfer();
        data.items.add(new File([text], "a.csv"));
        const options = { dataTransfer: data, bubbles: true, cancelable: true };
        document.getElementById("drop").dispatchEvent(new DragEvent("drop", options));
    }"""
    page.evaluate(drop, f"{HEADER}\n{GOOD}\n")
    expect(page.locator("#summary")).to_contain_text("1 answered")


@check
def the_code_follows_the_form_and_can_be_copied(page):
    page.get_by_role("combobox", name="island").select_option("another value …")
    page.get_by_label("island, another value").fill('O\'Brien \\ "isle" é')
    page.get_by_label("body_mass_g").fill("")
    for name in page.locator("pre[id]").evaluate_all("all => all.map(({ id }) => id)"):
        if not page.locator(f"#{name}").is_visible():
            page.locator("summary", has_text=name).click()
        page.get_by_role("button", name=f"Copy the {name} call").click()
        expect(page.locator("#copied")).to_have_text("Copied.")
        text = page.evaluate("navigator.clipboard.readText()")
        assert text == page.locator(f"#{name}").text_content()
        (FOLDER / f"{name}.txt").write_text(text, encoding="utf-8")


@check
def the_card_and_its_plots_are_there(page):
    expect(page.locator(".card h2")).to_contain_text("Model card")
    for image in page.locator(".card img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.naturalWidth") > 100
    assert page.locator(".card img").count() >= 2


@check
def it_works_behind_a_prefix_and_without_a_clipboard(page):
    def pass_on(route):
        path = urlsplit(route.request.url).path.removeprefix("/team/model")
        route.fulfill(response=route.fetch(url=URL + path))

    page.route("http://prefix.test/team/model/**", pass_on)
    page.goto("http://prefix.test/team/model/")
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".label")).to_be_visible()
    expect(page.locator("#curl")).to_contain_text("http://prefix.test/team/model/predict")
    assert page.evaluate("navigator.clipboard === undefined")
    page.get_by_role("button", name="Copy the curl call").click()
    expect(page.locator("#copied")).to_have_text("Copied.")


@check
def a_regression_with_every_kind_of_feature(page):
    page.goto(REGRESSION)
    assert page.get_by_role("button", name="Random").count() == 0
    page.get_by_label("open").select_option("true")
    page.get_by_label("depth").fill("-1e2")
    page.get_by_label("count").fill("1.5")
    page.get_by_label("count").press("Enter")
    expect(page.locator("#refused")).to_contain_text("1 value to correct")
    assert message(page, "count") == ("must be an integer, got a number with a fraction", "true")
    page.get_by_label("count").fill("")
    page.keyboard.press("Enter")
    expect(page.locator(".message.bad")).to_have_text("is missing")
    page.get_by_label("count").fill("3")
    page.keyboard.press("Enter")
    expect(page.locator(".label")).to_have_text(re.compile(r"^1\.\d{1,5}$"))
    assert page.locator(".bars").count() == 0
    lines = page.locator("#requests").text_content()
    assert '"count": 3,\n    "open": True,\n    "depth": -100,\n    "colour": None,\n' in lines
    kinds = (("count", "INT64", 3), ("open", "BOOL", True), ("depth", "FP64", -100))
    written = [f'"{name}": ("{kind}", {value}),\n' for name, kind, value in kinds]
    written.append('"colour": ("BYTES", ""),\n')
    tensors = page.locator("#tritonclient")
    assert tensors.count() == 0 or "    ".join(written) in tensors.text_content()
    give(page, "1,TRUE,,b", "2.5,maybe,0.5,", header="count,open,depth,colour")
    assert page.locator("#faults li").all_inner_texts() == [
        "Row 2: count must be an integer, got a number with a fraction; "
        "open must be true or false, got a string"
    ]
    assert downloaded(page)[0]["prediction"].startswith("1.")


def fill(page):
    """Show all parts of the page at once."""
    page.get_by_label("body_mass_g").fill("9000")
    give(page, GOOD, "Biscoe,long,13.2,211,4500,female,")
    # One of a name is open at a time.
    show = "all => all.forEach(each => { each.name = ''; each.open = true; })"
    page.locator("details").evaluate_all(show)
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".label")).to_be_visible()
    for image in page.locator(".card img").all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
    page.evaluate("scrollTo(0, 0)")


def accessible(page):
    """No serious fault, with an answer and with a refusal."""
    for text in ("9000", "heavy"):
        page.get_by_label("body_mass_g").fill(text)
        page.keyboard.press("Enter")
        expect(page.locator(".message:not(:empty)").first).to_be_visible()
        found = Axe().run(page).response
        assert len(found["passes"]) > 20
        grave = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
        assert not grave, [(v["id"], [n["html"] for n in v["nodes"]]) for v in grave]


def wide(page, name):
    fill(page)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
    accessible(page)


@check
def it_is_accessible_in_light(page):
    wide(page, "light")


@check
def it_is_accessible_in_dark(page):
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) != light
    wide(page, "dark")


@check
def a_phone_does_not_scroll_sideways(page):
    page.set_viewport_size({"width": 320, "height": 640})
    wide(page, "narrow")
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def measure(page):
    """Bytes without the card's plots, and milliseconds to the first paint (the fastest of five)."""
    page.goto(URL)
    kinds = "['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))"
    found = page.evaluate(f"{kinds}.map(each => [each.name, each.decodedBodySize])")
    own = {name: size for name, size in found if "/web/card/" not in name}
    assert len(own) >= 3, own
    assert all(own.values()), own
    paint = """() => new Promise(done => new PerformanceObserver(list => {
        const found = list.getEntriesByName("first-contentful-paint");
        if (found.length) done(found[0].startTime);
    }).observe({ type: "paint", buffered: true }))"""
    paints = []
    for _ in range(5):
        page.reload()
        paints.append(page.evaluate(paint))
    return {"milliseconds": min(paints), "bytes": sum(own.values())}


SCREENSHOTS.mkdir(parents=True, exist_ok=True)
faults = {}
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)

    def opened():
        context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
        context.set_default_timeout(30_000)
        return context.new_page()

    measured = measure(opened())
    for function in CHECKS:
        page, errors, thrown, hosts = opened(), [], [], set()
        page.on("pageerror", lambda error, to=thrown: to.append(str(error)))
        page.on(
            "console", lambda line, to=errors: to.append(line) if line.type == "error" else None
        )
        page.on("request", lambda request, to=hosts: to.add(urlsplit(request.url).netloc))
        try:
            page.goto(URL)
            function(page)
            # Chromium writes each refused request into its console by itself.
            unknown = [
                f"{e.text} {e.location}" for e in errors if "/predict" not in e.location["url"]
            ]
            assert not unknown + thrown, unknown + thrown
            own = {urlsplit(each).netloc for each in (URL, REGRESSION)} | {"prefix.test", ""}
            assert hosts <= own, hosts
        except Exception:
            faults[function.__name__] = traceback.format_exc()
        page.context.close()
    browser.close()
print(json.dumps({"checks": len(CHECKS), "faults": faults} | measured))
