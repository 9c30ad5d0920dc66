"""`drift`: what is planted in the log is found, chance is not taken for it, no line is lost."""

import json
import os
import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from project import load, run
from scipy import stats

drift, manifest = load("operations.drift"), load("model.manifest")
START = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = ["island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex"]


def line(row, i=0, label="Adelie", flags=(), model=("penguins", "1"), minutes=1):
    """A line as the service writes it."""
    unknown = row.get("island") not in ("Biscoe", "Dream", "Torgersen", None)
    flags = [*flags, *([("island", "unknown_category")] if unknown else [])]
    flags = [{"feature": feature, "flag": flag} for feature, flag in flags]
    output = {"label": label, "probabilities": {"Adelie": 1.0}, "flags": flags}
    about = {"time": (START + timedelta(minutes=i * minutes)).isoformat(), "request_id": "x"}
    about |= {"model": model[0], "version": model[1], "row": 0, "input": row, "output": output}
    return json.dumps(about)


def sample(rows, count, seed=0):
    chosen = np.random.default_rng(seed).choice(len(rows), count)
    return [dict(rows[i]) for i in chosen]


@pytest.fixture
def log(tmp_path):
    return tmp_path / "predictions.jsonl"


def write(path, rows, first=0, **how):
    text = "".join(line(row, i, **how) + "\n" for i, row in enumerate(rows, first))
    path.write_text(text)


def report(log, *arguments, models="models", code=0):
    """What the command finds, after its exit code was checked; and what it prints."""
    to = log.with_name("report.json")
    done, printed = run("drift", "--log", log, "--models", models, "--json", to, *arguments)
    assert done == code, printed
    return json.loads(to.read_text()), printed


def verdicts(found):
    return {feature["name"]: feature["verdict"] for feature in found["features"]}


pytestmark = pytest.mark.usefixtures("in_the_project")


def test_psi_is_the_textbook_s():
    then, now = np.array([50.0, 50.0, 0.0]), np.array([25.0, 75.0, 0.0])
    expected = -0.25 * np.log(0.5) + 0.25 * np.log(1.5)
    assert drift.psi(then * 1e6, now * 1e6) == pytest.approx(expected, rel=1e-4)
    assert drift.psi(then, then * 7) == pytest.approx(0, abs=1e-3)
    # An empty bin counts half a row: it has a logarithm, and a finite one.
    assert 0.5 < drift.psi(then, np.array([0.0, 100.0, 0.0])) < 5
    assert drift.psi(then, np.zeros(3)) == drift.psi(np.zeros(3), now) == 0


@pytest.mark.parametrize("freedom", [1, 2, 5, 10, 50])
def test_chance_is_a_quantile_of_chi_square(freedom):
    then = np.full(freedom + 1, 1e12)
    now = np.full(freedom + 1, 1000 / (freedom + 1))
    for features in (1, 6, 100):
        expected = stats.chi2.isf(drift.FALSE_ALARMS / features, freedom) / 1000
        assert 1 <= drift.chance(then, now, features) / expected < 1.12


def numbers(values):
    """The bins of training values, as the manifest gives them."""
    present = values[~np.isnan(values)]
    quantiles = np.quantile(present, np.linspace(0, 1, 11)).tolist()
    edges = manifest.Baseline(0.0, quantiles).edges
    bins = drift.Numbers(edges, np.zeros(len(edges) + 2))
    bins.then = bins.count(values)
    return bins


@pytest.mark.parametrize(
    "values",
    [
        np.arange(100.0),
        np.array([0.0] * 5 + [1.0] * 95),
        np.array([0.0] * 95 + [1.0] * 5),
        np.array([1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 9.0, np.nan]),
        np.array([7.0, 7.0]),
    ],
    ids=["distinct", "mostly true", "mostly false", "ties and null", "constant"],
)
def test_a_value_has_one_bin_however_it_is_counted(values):
    bins = numbers(values)
    assert len(bins.labels) == len(bins.then) == len(set(bins.labels))
    assert bins.then.sum() == len(values)
    odd = [-np.inf, -5.0, -0.0, 0.0, 0.5, 1.0, 2.0, 3.0, 8.5, 9.0, 1e300, np.inf, np.nan]
    odd += [*bins.edges, *np.nextafter(bins.edges, np.inf), *np.nextafter(bins.edges, -np.inf)]
    counts = np.zeros(len(bins.labels))
    for value in odd:
        counts[sum(not value <= edge for edge in bins.edges)] += 1  # NaN is in the last
    assert counts.tolist() == bins.count(np.array(odd)).tolist()
    assert counts[-1] == sum(np.isnan(odd))
    assert bins.then[-1] == np.isnan(values).sum()


def test_both_values_of_a_boolean_have_a_bin():
    for share in (0.02, 0.5, 0.98):
        bins = numbers((np.arange(1000) < share * 1000).astype(float))
        assert bins.then[bins.then > 0].tolist() == [1000 - share * 1000, share * 1000]


def test_bins_have_names_of_their_own():
    for edges in ([1e9, 1e9 + 1, 1e9 + 2], [0.1, 0.1 + 1e-12], [14.360000000000001, 3250, 62999]):
        labels = drift.Numbers(sorted(edges), np.zeros(len(edges) + 2)).labels
        assert len(set(labels)) == len(edges) + 2
    assert labels == ["up to 14.36", "14.36 to 3250", "3250 to 62999", "over 62999", "missing"]


def test_rare_categories_count_as_unknown_ones_do():
    baseline = manifest.Baseline(0.1, shares={"a": 0.5, "b": 0.46, "c": 0.04})
    bins = drift.bins_of(baseline, 100)
    assert bins.labels == ["a", "b", "rare or unknown", "missing"]
    assert bins.then.tolist() == [45, 41, 4, 10]
    values = ["a", "c", "elsewhere", None]
    assert bins.count(values).tolist() == [1, 0, 2, 1]
    assert [bins.count([value]).argmax() for value in values] == [0, 2, 2, 3]


def test_rows_of_no_change_hardly_ever_drift_however_few():
    """Training and logged rows of one distribution; the bare threshold cries wolf."""
    generator, alarms, bare, windows = np.random.default_rng(0), 0, 0, 0
    for count in (20, 60, 250, 2000):
        for kind in ("normal", "poisson", "boolean"):
            for _ in range(150):
                drawn = {
                    "normal": lambda n: generator.normal(size=n),
                    "poisson": lambda n: generator.poisson(1.5, n).astype(float),
                    "boolean": lambda n: (generator.random(n) < 0.1).astype(float),
                }[kind]
                bins, values = numbers(drawn(300)), drawn(count)
                values[generator.random(count) < 0.02] = np.nan
                now = bins.count(values)
                index = drift.psi(bins.then, now)
                chance = drift.chance(bins.then, now, 1)
                alarms += drift.verdict(index, chance) == "drifted"
                bare, windows = bare + (index >= drift.THRESHOLD), windows + 1
    assert bare > 200
    assert alarms <= 0.005 * windows, (alarms, windows)


def test_a_shift_is_always_found():
    for seed in range(100):
        generator = np.random.default_rng(seed)
        bins = numbers(generator.normal(size=300))
        now = bins.count(generator.normal(1, size=200))
        index, chance = drift.psi(bins.then, now), drift.chance(bins.then, now, 6)
        assert drift.verdict(index, chance) == "drifted"


@pytest.mark.parametrize("count", [1, 30, 300])
def test_nothing_is_found_where_nothing_was_planted(log, rows, count):
    for seed in range(5):
        write(log, sample(rows, count, seed))
        found, printed = report(log)
        assert found["drifted"] == []
        assert found["rows"] == count
        assert not {"drifted", "moved"} & set(verdicts(found).values())
        assert "Nothing has drifted" in printed


def test_what_was_planted_is_found_and_first(log, rows):
    changed = sample(rows, 400)
    for i, row in enumerate(changed):
        row["body_mass_g"] = (row["body_mass_g"] or 4000) + 900
        row["island"] = "Atlantis" if i % 5 == 0 else row["island"]
        row["sex"] = None if i % 3 == 0 else row["sex"]
    write(log, changed)
    found, printed = report(log, code=4)
    assert set(found["drifted"]) == {"body_mass_g", "island", "sex"}
    assert [f["name"] for f in found["features"]][:3] == found["drifted"]
    indices = [f["psi"] for f in found["features"]]
    assert indices[:3] == sorted(indices[:3], reverse=True)
    of = {f["name"]: f for f in found["features"]}
    assert of["island"]["unknown"] == pytest.approx(0.2)
    assert of["sex"]["missing"]["logged"] > 0.33 > 0.1 > of["sex"]["missing"]["training"]
    for f in found["features"]:
        for when in ("training", "logged"):
            assert sum(each[when] for each in f["bins"]) == pytest.approx(1)
    assert re.search(r"Drifted: .*island", printed)
    assert report(log, "--threshold", "9")[0]["drifted"] == []


def test_rotated_files_are_read_from_the_oldest_on(log, rows):
    some = sample(rows, 60)
    for i, name in enumerate((".10", ".9", ".1", "")):
        write(log.with_name(log.name + name), some[i * 15 : i * 15 + 15], first=i * 15)
    log.with_name(f"{log.name}.1.gz").write_bytes(b"\x1f\x8b")
    # As if a file was renamed between the listing and the opening.
    os.link(log, log.with_name(f"{log.name}.11"))
    found, _ = report(log)
    assert (found["rows"], found["files"]) == (60, 4)
    assert found["first"] == START.isoformat()
    found, _ = report(log, "--last", 35)
    assert found["rows"] == 35
    assert found["first"] == (START + timedelta(minutes=25)).isoformat()


def test_a_time_is_chosen(log, rows):
    write(log, sample(rows, 60), minutes=60)
    found, printed = report(log, "--since", "2026-01-02", "--until", "2026-01-03T02:00:00+0100")
    assert found["rows"] == 25
    assert found["left_out"] == {"other_model": 0, "other_time": 35, "unreadable": 0}
    assert "35 lines of another time" in printed


def test_other_lines_are_left_out_and_counted(log, rows):
    some = sample(rows, 40)
    write(log, some[:20])
    with log.open("ab") as file:
        file.write(b'{"time": "2026-01\n\xff\xfe\n\n[]\nnull\n{"level": "INFO"}\n')
        file.write(line({"bill_depth_mm": [1]}).encode() + b"\n")
        for model in (("penguins", "0"), ("other", "1")):
            file.write("".join(line(row, model=model) + "\n" for row in some[:3]).encode())
        file.write(b"".join(line(row).encode() + b"\n" for row in some[20:]))
        file.write(b'{"time": "2026-01-01T00:00:00+00:00", "model": "pen')
    found, printed = report(log)
    assert found["rows"] == 40
    assert found["left_out"] == {"other_model": 6, "other_time": 0, "unreadable": 8}
    assert "6 lines of another model or version" in printed


def test_hashed_and_omitted_features_are_said_to_be_not_measured(client_of, tmp_path, log, rows):
    client = client_of(
        log_dir=str(tmp_path), log_hash="island,body_mass_g", log_omit="sex,bill_depth_mm"
    )
    if not client.application.extensions["volumes"]:
        pytest.skip("the prediction log was taken away")
    some = sample(rows, 200)
    for row in some[::4]:
        row["island"] = "Atlantis"
    client.post("/predict", json={"instances": some})
    found, printed = report(log)
    reasons = {f["name"]: f["reason"] for f in found["features"] if "reason" in f}
    assert reasons.keys() == {"island", "body_mass_g", "sex", "bill_depth_mm"}
    assert "LOG_HASH" in reasons["island"]
    assert "LOG_OMIT" in reasons["sex"]
    assert "sex is not measured" in printed
    assert verdicts(found)["bill_length_mm"] == "stable"
    assert sum(step["rows"] for step in found["predictions"]["steps"]) == 200


def test_a_category_that_looks_like_a_hash_is_unknown_and_no_hash(log, rows):
    some = [row | {"island": "0" * 32} for row in sample(rows, 100)]
    write(log, some)
    found, _ = report(log, code=4)
    assert found["features"][0]["name"] == "island"
    assert found["features"][0]["unknown"] == 1


def test_a_regression_has_its_mean_over_time(log, regression, edit):
    quantiles = np.linspace(0, 1, 11).tolist()
    baseline = {"missing_share": 0.0, "quantiles": quantiles, "bins": [0.1] * 10}
    edit(lambda m: m.update(baseline={"area": baseline}))
    text = [line({"area": i / 400}, i // 2, label=float(i // 2), minutes=6) for i in range(400)]
    log.write_text("\n".join([*text, line({"area": 0.5}, label=None)]))
    found, _ = report(log, "--out", log.with_name("r.html"), models=regression)
    steps = found["predictions"]["steps"]
    assert found["predictions"]["seconds"] == 3600
    assert len(steps) == 20
    assert steps[0]["mean"] == pytest.approx((np.arange(20) // 2).mean())
    assert steps[-1] == {
        "start": "2026-01-01T19:00:00+00:00",
        "rows": 20,
        "mean": pytest.approx((np.arange(380, 400) // 2).mean()),
    }
    assert "mean prediction" in log.with_name("r.html").read_text()


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(log, rows, edit):
    name = '<script>alert(1)</script>&"'

    def rename(m):
        m["features"][0]["name"] = m["name"] = m["target"]["classes"][0] = name
        m["baseline"][name] = m["baseline"].pop("island")

    folder, page = edit(rename), log.with_name("r.html")
    some = [{name: "<b>Atlantis", **row} for row in sample(rows, 100)]
    write(log, some, model=(name, "1"), label=name, flags=[(name, "unknown_category")])
    found, _ = report(log, "--out", page, models=folder, code=4)
    assert found["drifted"] == [name]
    text = page.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text
    assert "<b>" not in text
    assert not re.search(r"https?:|//|@import|url\(|\bsrc=", text)
    assert "default-src 'none'" in text
    order = [text.index(f'id="feature-{i}"') for i in range(1, 7)]
    assert order == sorted(order)
    for element in ("html", "head", "body", "main", "table", "svg", "section", "rect", "span"):
        assert len(re.findall(rf"<{element}\b", text)) == text.count(f"</{element}>"), element


def test_the_page_shows_of_many_categories_those_that_changed(log, rows):
    shown = load("cli.drift").shown
    bins = [{"bin": str(i), "training": 0.01, "logged": 0.01} for i in range(98)]
    bins += [{"bin": "less", "training": 0.02, "logged": 0.0}]
    bins += [{"bin": "none", "training": 0.0, "logged": 0.0}]
    bins += [{"bin": f"new {i}", "training": 0.0, "logged": 0.01} for i in range(20)]
    names = [each["bin"] for each in shown(bins)]
    assert len(names) == 15
    assert names[0] == "less"
    assert "none" not in names


@pytest.mark.parametrize("seconds", [0, 59, 7200, 86400 * 3, 86400 * 365 * 40])
def test_a_timeline_has_few_steps_and_all_rows(seconds):
    history = load("cli.history")
    timeline = history.Timeline(of_classes=True)
    decode = load("cli.history").msgspec.json.Decoder(history.Line).decode
    for i in range(0, 100, 10):
        lines = [
            decode(line({}, k * seconds / 99 / 60, label="ab"[k % 2])) for k in range(i, i + 10)
        ]
        timeline.add(lines)
    steps = timeline.steps()
    assert 1 <= len(steps) <= history.BARS
    assert sum(step["rows"] for step in steps) == 100
    assert sum(step["classes"].get("b", 0) for step in steps) == 50
    starts = [datetime.fromisoformat(step["start"]).timestamp() for step in steps]
    assert {*np.diff(starts)} <= {timeline.seconds}


def test_what_cannot_be_compared_is_an_error_in_one_line(log, rows, edit):
    code, printed = run("drift", "--log", log)
    assert code == 1
    assert "is not there" in printed
    write(log, sample(rows, 3), model=("penguins", "0"))
    code, printed = run("drift", "--log", log)
    assert code == 1
    assert "no row to compare; it has lines: 3 of another model or version" in printed
    write(log, [{}] * 3)
    code, printed = run("drift", "--log", log)
    assert code == 1
    assert "no feature can be measured: the log leaves it out" in printed
    write(log, sample(rows, 3))
    code, printed = run("drift", "--log", log, "--models", edit(lambda m: m["baseline"].clear()))
    assert code == 1
    assert "no baseline of it" in printed
    code, printed = run("drift", "--log", log, "--out", log.parent / "none/r.html")
    assert code == 1
    assert "No such file" in printed
    assert run("drift", "--log", log, "--since", "yesterday")[0] == 2


def test_the_log_is_looked_for_in_the_log_folder(log, rows):
    write(log, sample(rows, 30))
    code, printed = run("drift", LOG_DIR=str(log.parent))
    assert code == 0
    assert "30 logged rows" in printed
