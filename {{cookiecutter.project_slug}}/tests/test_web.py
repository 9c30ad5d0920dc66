"""The try-it page: who gets it, what it may load, and what people do with it in a real browser."""

import json
import os
import re
import subprocess
import sys

import pandas as pd
import pytest
from clientele import run
from conftest import chromium
from project import ROOT, load
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PNG = (ROOT / "models/importance.png").read_bytes()


@pytest.fixture
def page_of(client_of, folder):
    """The page of a model folder whose card has this text."""

    def page(card):
        (folder / "card.md").write_text(card)
        client = client_of(model_dir=str(folder))
        return client, client.get("/", headers=BROWSER).text

    return page


@pytest.fixture
def every_kind(folder_of):
    """A regression of a feature of each kind, without examples and golden rows."""
    kinds = {"count": "integer", "open": "boolean", "depth": "number", "colour": "category"}
    about = {"description": "", "categories": ["a", "b"]}
    features = [
        about | {"name": name, "type": kind, "nullable": name != "count"}
        for name, kind in kinds.items()
    ]
    rows = pd.DataFrame({"count": [0.0, 1, 2], "open": 0.0, "depth": 0.5, "colour": "a"})
    steps = make_column_transformer(("passthrough", ["count"])), LinearRegression()
    estimator = make_pipeline(*steps).fit(rows, [1.2, 1.3, 1.4])
    parts = {"task": "regression", "golden": [], "baseline": {}, "plan": None}
    return folder_of(estimator, features=features, target={"name": "y"}, **parts)


def test_a_browser_gets_the_page_under_a_strict_policy(client):
    page = client.get("/", headers=BROWSER)
    assert page.mimetype == "text/html"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'"
    )
    assert "unsafe" not in policy
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Vary"] == "Accept"
    assert page.cache_control.no_cache
    for feature in client.get("/model").get_json()["features"]:
        assert feature["name"] in page.text
        assert feature["description"].replace("'", "&#39;") in page.text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(addresses) >= 5
    for address in addresses:  # relative, so that they are right behind a prefix, too
        assert re.match(r"[a-z]", address), address
        answer = client.get(f"/{address}", headers=BROWSER)
        assert answer.status_code == 200, address
        assert (
            not address.startswith("web/") or answer.headers["X-Content-Type-Options"] == "nosniff"
        )
        answer.close()
    assert not re.search(r"<style|<script>|style=|\son[a-z]+=", page.text)


def test_what_did_not_change_is_not_sent_again(client):
    for path in ("/", "/web/script.js", "/web/card/importance.png"):
        first = client.get(path, headers=BROWSER)
        again = client.get(path, headers={**BROWSER, "If-None-Match": first.headers["ETag"]})
        assert (first.status_code, again.status_code, again.data) == (200, 304, b"")


ACCEPTED = [None, "*/*", "application/json", "text/html;q=0.1,*/*"]


@pytest.mark.parametrize("accept", ACCEPTED)
@pytest.mark.parametrize(
    ("dialect", "settings", "body"),
    [("v1", {}, {"status": "alive"}), ("vertex", {"aip_health_route": "/"}, {})],
)
def test_the_path_stays_that_of_other_servers_clients(client_of, accept, dialect, settings, body):
    if dialect not in client_of().application.blueprints:
        pytest.skip("this dialect was taken away")
    client = client_of(dialects=dialect, **settings)
    seen = []
    client.application.extensions["access_log"].watchers.append(
        lambda answered, seconds: seen.append(answered[1:3])
    )
    answer = client.get("/", headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.get_json()) == (200, body)
    assert "Content-Security-Policy" not in answer.headers
    assert client.get("/", headers=BROWSER).mimetype == "text/html"
    assert seen == [("/", dialect), ("/", "web")]


@pytest.mark.parametrize("accept", ACCEPTED)
def test_where_nobody_else_has_the_path_everybody_gets_the_page(client_of, accept):
    headers = {"Accept": accept} if accept else {}
    assert client_of(dialects="native").get("/", headers=headers).mimetype == "text/html"


def test_clients_cannot_make_labels(client):
    for path in ("/", "/web/style.css", "/web/x", "/web/card/y"):
        client.get(path, headers=BROWSER)
    if "/metrics" not in {rule.rule for rule in client.application.url_map.iter_rules()}:
        pytest.skip("metrics were taken away")
    label = r'http_requests_total\{dialect="(\w+)",.*route="(/|/web[^"]*)"'
    found = set(re.findall(label, client.get("/metrics").text))
    assert found == {("native", rule) for rule in ("/", "/web/<name>", "/web/card/<name>")}


def test_off_leaves_nothing_of_it(client_of):
    client = client_of(web="off", dialects="native")
    for path in ("/", "/web/script.js", "/web/card/importance.png"):
        assert client.get(path, headers=BROWSER).status_code == 404
    with pytest.raises(load("serving.settings").SettingsError, match="WEB='no'"):
        load("serving.settings").Settings.from_environment({"WEB": "no"})


def test_it_offers_what_is_there(client_of):
    whole = client_of().get("/", headers=BROWSER).text
    assert ('id="tritonclient"' in whole) == ("v2" in client_of().application.blueprints)
    native = client_of(dialects="native").get("/", headers=BROWSER).text
    assert 'id="requests"' in native
    assert 'id="tritonclient"' not in native


def test_facts_for_the_script_cannot_leave_their_place(client_of, edit):
    evil = "</script><script>alert(1)</script>"
    folder = edit(lambda m: m["features"][0].update(description=evil, example=evil))
    model = load("model.predictor").load(folder)
    page = client_of(model).get("/", headers=BROWSER).text
    assert "alert(1)" in page
    assert "<script>" not in page
    text = re.search(r'id="facts">(.*?)</script>', page)[1]
    assert json.loads(text)["features"][0]["description"] == evil


def test_the_card_is_on_the_page_without_html_of_its_own(page_of):
    client, page = page_of(
        "# Card\n\n<script>alert(1)</script> [x](javascript:alert(1))\n\n"
        "| a | b |\n| --- | --- |\n| 1 | `2` |\n\n![a plot](importance.png)"
    )
    assert "<h2>Card</h2>" in page
    assert "&lt;script&gt;alert" in page
    assert "javascript:" not in page.replace("[x](javascript:", "")
    assert "<code>2</code>" in page
    image = re.search(r'<img src="(web/card/[^"]+)" alt="a plot"[^>]*loading="lazy"', page)
    assert client.get(f"/{image[1]}").data == PNG


def test_only_images_that_the_card_names_are_served(page_of, folder, tmp_path):
    (tmp_path / "secret.png").write_bytes(PNG)
    (folder / "other.png").write_bytes(PNG)
    (folder / "a b.png").write_bytes(PNG)
    names = ("../secret.png", "manifest.json", "none.png", "http://evil.example/x.png")
    card = "".join(f"![words](<{name}>)\n\n" for name in (*names, "a b.png"))
    client, page = page_of(card)
    assert page.count("<img ") == 1
    assert page.count("<p>words</p>") == len(names)
    assert client.get("/web/card/a%20b.png").data == PNG
    for name in (*names, "other.png", "%2e%2e%2fsecret.png", "card.md", "importance.png"):
        answer = client.get(f"/web/card/{name}")
        assert (answer.status_code, answer.mimetype) == (404, "application/json"), name


def test_without_a_card_nothing_is_said_of_it(client_of, tmp_path):
    page = client_of(model_dir=str(tmp_path)).get("/", headers=BROWSER)
    assert page.status_code == 200
    assert "card" not in page.text.replace("/web/card", "")


@pytest.mark.clients
@pytest.mark.browser
def test_the_page_in_a_browser(start, clients, every_kind, tmp_path):
    """Each check of with_chromium.py, and the code that the page offers, run as it is."""
    service = start(WEB_CONCURRENCY="1", MAX_ROWS="700")
    other = start(WEB_CONCURRENCY="1", MODEL_DIR=str(every_kind), ENGINE="sklearn")
    service.ready()
    other.ready()
    places = service.url, other.url, tmp_path, ROOT / "build/screenshots"
    found = json.loads(run(clients, "with_chromium.py", chromium(), *places))
    assert not found["faults"], "\n".join(found["faults"].values())
    assert found["checks"] >= 15
    assert found["bytes"] < 150_000
    assert found["milliseconds"] < 1000
    row = {"island": 'O\'Brien \\ "isle" é', "bill_length_mm": 44.5, "bill_depth_mm": 17.3}
    row |= {"flipper_length_mm": 197, "body_mass_g": None, "sex": "female"}
    expected = service.post([row]).json()["predictions"][0]
    programs = {"curl": "bash", "requests": sys.executable, "tritonclient": clients}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    answers = {}
    for name, program in programs.items():
        path = tmp_path / f"{name}.txt"
        if name != "tritonclient" or path.exists():  # not there if V2 was taken away
            done = subprocess.run([program, path], stdout=subprocess.PIPE, text=True, env=kept)
            answers[name] = done.stdout
    assert json.loads(answers["curl"])["predictions"] == [expected]
    assert answers["requests"].strip() == str(expected)
    assert expected["label"] in answers.get("tritonclient", expected["label"])
