"""Training: repeatable to the byte, gated, and open to other models than the example."""

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from project import ROOT, load, run
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

card, fit, pipeline = load("training.card"), load("training.fit"), load("training.pipeline")
manifest, predictor = load("model.manifest"), load("model.predictor")
bins_of = load("operations.drift").bins_of
pytestmark = pytest.mark.usefixtures("in_the_project")


def plots_of(folder):
    """The names of the card's plots: each is there, small, on white, and described in words."""
    text = (folder / "card.md").read_text()
    named = re.findall(r"!\[[^]]{20,}\]\(([a-z]+\.png)\)", text)
    assert len(named) == text.count("](") == len([*folder.glob("*.png")])
    for name in named:
        assert (folder / name).stat().st_size < 60_000
        with Image.open(folder / name) as image:
            assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    return {*named}


def digests(folder):
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}


def test_training_twice_gives_the_same_bytes(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        card.write(folder, *fit.train(folder))
    alike = {"model.joblib", "card.md", "confusion.png", "roc.png", "calibration.png"}
    alike.add("importance.png")
    alike |= {"model.plan"} if predictor.FAST_ENGINES else set()
    assert digests(one).keys() == digests(two).keys() == {*alike, "manifest.json"}
    assert {digests(one)[name] for name in alike} == {digests(two)[name] for name in alike}


def test_training_an_unchanged_project_changes_no_file(tmp_path, monkeypatch):
    class Later(fit.datetime):
        @classmethod
        def now(cls, tz):
            return fit.datetime(2100, 1, 1, tzinfo=tz)

    card.write(tmp_path, *fit.train(tmp_path))
    before = digests(tmp_path)
    monkeypatch.setattr(fit, "datetime", Later)
    card.write(tmp_path, *fit.train(tmp_path))
    assert digests(tmp_path) == before


def test_training_again_gives_the_shipped_predictions(tmp_path, rows):
    fit.train(tmp_path)
    ours, shipped = predictor.load(tmp_path), predictor.load(ROOT / "models")
    batch = shipped.schema.read(rows)
    assert ours.predict(batch).labels == shipped.predict(batch).labels
    np.testing.assert_allclose(
        ours.predict(batch).probabilities, shipped.predict(batch).probabilities, rtol=0, atol=1e-9
    )


def test_a_worse_candidate_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    fit.train(tmp_path)
    before = digests(tmp_path)
    stump = make_pipeline(
        make_column_transformer(("passthrough", ["body_mass_g"])),
        DecisionTreeClassifier(max_depth=1),
    )
    monkeypatch.setattr(pipeline, "build_estimator", lambda: stump)
    with pytest.raises(fit.TrainingError, match="--accept"):
        fit.train(tmp_path)
    assert digests(tmp_path) == before
    accepted, _, _ = fit.train(tmp_path, accept=True)
    assert accepted.metrics["balanced_accuracy"] < 0.9
    assert predictor.load(tmp_path).check_golden() == 0


def test_the_first_model_of_one_s_own_is_not_compared_with_the_example(folder, monkeypatch):
    stump = make_pipeline(
        make_column_transformer(("passthrough", ["body_mass_g"])),
        DecisionTreeClassifier(max_depth=1),
    )
    monkeypatch.setattr(pipeline, "build_estimator", lambda: stump)
    monkeypatch.setattr(pipeline, "NAME", "mine")
    assert fit.train(folder)[0].name == "mine"


def test_data_that_breaks_the_features_is_refused_by_place(tmp_path, monkeypatch, table):
    monkeypatch.setattr(pipeline, "load_data", lambda: table.assign(island=3))
    with pytest.raises(fit.TrainingError, match="row 0: island must be a string"):
        fit.train(tmp_path)
    monkeypatch.setattr(pipeline, "load_data", lambda: table.drop(columns="sex"))
    with pytest.raises(fit.TrainingError, match="no column sex"):
        fit.train(tmp_path)


def test_an_estimator_that_fails_on_what_the_features_admit_is_refused(tmp_path, monkeypatch):
    strict = make_column_transformer((OneHotEncoder(), ["island"]))
    monkeypatch.setattr(
        pipeline, "build_estimator", lambda: make_pipeline(strict, DecisionTreeClassifier())
    )
    with pytest.raises(fit.TrainingError, match="handle_unknown"):
        fit.train(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_regression_of_all_feature_types(tmp_path, monkeypatch):
    """Another model is another folder, not another code."""
    generator = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "area": generator.uniform(20, 200, 300),
            "rooms": generator.integers(1, 8, 300),
            "lift": generator.random(300) < 0.5,
            "town": generator.choice(["Ulm", "Bonn"], 300),
        }
    )
    data["price"] = data["area"] * 3 + data["rooms"] * 10 + data["lift"] * 5.0
    features = [
        manifest.Feature("area", "number", ""),
        manifest.Feature("rooms", "integer", ""),
        manifest.Feature("lift", "boolean", ""),
        manifest.Feature("town", "category", ""),
    ]
    town = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["town"]), remainder="passthrough"
    )
    given = {"NAME": "prices", "TASK": "regression", "TARGET": "price", "GATE": "r2"}
    given |= {"FEATURES": features, "load_data": lambda: data}
    given |= {"build_estimator": lambda: make_pipeline(town, LinearRegression())}
    for name, value in given.items():
        monkeypatch.setattr(pipeline, name, value)
    described, estimator, split = fit.train(tmp_path)
    (tmp_path / "roc.png").touch()  # of another task
    card.write(tmp_path, described, estimator, split)
    model = predictor.load(tmp_path)
    assert model.check_golden() <= 1e-9
    assert model.manifest.metrics["r2"] > 0.99
    batch = model.schema.read([{"area": 100, "rooms": 3, "lift": True, "town": "Ulm"}])
    [answer] = model.predict(batch).rows(batch)
    assert answer == {"label": pytest.approx(335), "flags": []}
    assert "regression of `price`" in (tmp_path / "card.md").read_text()
    assert plots_of(tmp_path) == {"residuals.png", "importance.png"}
    counts = {name: bins_of(each, 225) for name, each in described.baseline.items()}
    assert [each.then.sum() for each in counts.values()] == [225] * 4
    assert counts["lift"].then[-2] == split.train["lift"].sum()


def test_the_card_shows_how_good_the_classes_are(tmp_path):
    card.write(tmp_path, *fit.train(tmp_path))
    text = (tmp_path / "card.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| Gentoo")]
    held, precision, recall, area, brier = (float(cell.strip(" |")) for cell in rows[0][1:])
    assert held == 31
    assert min(precision, recall) > 0.9
    assert area > 0.99
    assert 0 < brier < 0.1
    assert rows[1][1:] == ["93 (36.0%)", "31 (36.0%) |"]
    assert "84 of 86 held-out rows" in text
    assert plots_of(tmp_path) == {"confusion.png", "roc.png", "calibration.png", "importance.png"}


@pytest.mark.parametrize("kind", ["two", "many", "without probabilities"])
def test_the_card_of_other_classifiers(kind, tmp_path, monkeypatch, table):
    """Two classes, more classes than colours, and odd names."""
    data = table.assign(big=np.where(table["body_mass_g"] > 4000, "big {} | <b>", "small"))
    data["size"] = pd.cut(table["flipper_length_mm"], 9).astype(str)
    data = data[data["flipper_length_mm"].notna()]
    some = make_column_transformer(("passthrough", ["body_mass_g", "bill_length_mm"]))
    final = RidgeClassifier() if kind == "without probabilities" else DecisionTreeClassifier()
    given = {"NAME": "sizes", "TARGET": "big" if kind == "two" else "size"}
    given |= {"load_data": lambda: data}
    given |= {"build_estimator": lambda: make_pipeline(some, SimpleImputer(), final)}
    for name, value in given.items():
        monkeypatch.setattr(pipeline, name, value)
    card.write(tmp_path, *fit.train(tmp_path))
    wanted = {"confusion.png", "roc.png", "calibration.png", "importance.png"}
    wanted -= {"calibration.png"} if kind == "without probabilities" else set()
    assert plots_of(tmp_path) == wanted
    if kind == "two":
        assert r"| big {} \| <b> |" in (tmp_path / "card.md").read_text()


def test_the_manifest_says_what_the_data_are(tmp_path, table):
    description, _, split = fit.train(tmp_path)
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert (
        written["training"]["data_sha256"] == hashlib.sha256(pipeline.DATA.read_bytes()).hexdigest()
    )
    assert written["training"]["rows"] + written["training"]["rows_held_out"] == len(table) == 344
    sex = next(f for f in description.features if f.name == "sex")
    assert sex.categories == ["female", "male"]
    assert description.baseline["sex"].missing_share == pytest.approx(
        split.train["sex"].isna().mean()
    )
    assert sum(description.baseline["island"].shares.values()) == pytest.approx(1)
    mass = description.baseline["body_mass_g"].quantiles
    assert len(mass) == 11
    assert mass[5] == pytest.approx(split.train["body_mass_g"].median())


def test_the_command_writes_a_model_folder(tmp_path):
    code, output = run("train", "--models", tmp_path / "new")
    assert code == 0
    assert "balanced_accuracy" in output
    assert predictor.load(tmp_path / "new").check_golden() == 0


def test_the_command_refuses_a_candidate_below_the_record(edit):
    folder = edit(lambda m: m["metrics"].update(balanced_accuracy=0.9999))
    code, output = run("train", "--models", folder)
    assert code == 1
    assert "below the recorded model's 0.9999" in output
    assert run("train", "--accept", "--models", folder)[0] == 0
