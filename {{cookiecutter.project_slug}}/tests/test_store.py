"""The stored plan: a worker serves by it without scikit-learn, and only where it is good."""

import hashlib
import subprocess
import sys

import pytest
from project import PACKAGE, ROOT, load

IN_TRAINING = "equal to what scikit-learn's pipeline answered in training"
GOOD = {"island": "Biscoe"}


def served(folder, choice="auto"):
    model = load("model.predictor").load(folder, choice)
    assert model.prove() <= 1e-9
    return model


def answers(model, row):
    batch = model.schema.read([row])
    return model.predict(batch).rows(batch)


def test_the_shipped_plan_is_of_this_engine_and_these_libraries():
    """If not: `make train`."""
    engine = served(ROOT / "models").engine
    assert (engine.name, engine.reason) == ("compiled", IN_TRAINING)
    assert engine.rows > 300
    assert engine.difference <= 1e-12


def test_a_worker_loads_no_scikit_learn_until_a_row_needs_it():
    code = f"""
import sys
from pathlib import Path
from {PACKAGE}.serving.app import create_app
from {PACKAGE}.serving.settings import Settings
from {PACKAGE}.model import predictor

def ask(mass):
    rows = [{{"island": "Biscoe", "body_mass_g": mass}}]
    answer = app.test_client().post("/predict", json={{"instances": rows}})
    heavy = [name for name in ("sklearn", "pandas", "scipy", "joblib") if name in sys.modules]
    print(answer.status_code, heavy)

app = create_app(Settings(), predictor.load(Path("models")))
app.extensions["readiness"].start()
ask(4000)
ask(1e300)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["200 []", "200 ['sklearn', 'pandas', 'scipy', 'joblib']"]


def test_another_engine_or_library_reads_the_plan_anew(monkeypatch):
    monkeypatch.setattr(load("model.compiled.store"), "LIBRARIES", ("numpy",))
    model = served(ROOT / "models")
    assert model.engine.name == "compiled"
    assert model.engine.reason != IN_TRAINING
    assert answers(model, GOOD) == answers(served(ROOT / "models"), GOOD)


def test_a_machine_that_rounds_otherwise_compares_with_its_own_pipeline(monkeypatch):
    room = load("model.compiled")
    verdict = load("model.compiled.proof").Verdict("differs", 3, 1e-9)
    monkeypatch.setattr(room, "prove_recorded", lambda plan: verdict)
    model = served(ROOT / "models")
    assert model.engine.name == "compiled"
    assert model.engine.reason != IN_TRAINING


def test_a_missing_file_is_no_fault_and_another_one_is(folder):
    content = (folder / "model.plan").read_bytes()
    (folder / "model.plan").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(load("model.manifest").ModelError, match=r"model\.plan has sha256"):
        load("model.predictor").load(folder)
    (folder / "model.plan").unlink()
    assert served(folder).engine.name == "compiled"


def test_a_file_that_is_no_plan_is_refused(edit):
    stamp = (ROOT / "models/model.plan").read_bytes().split(b"\n")[0]

    def alter(manifest):
        digest = hashlib.sha256(stamp + b"\ngarbage").hexdigest()
        manifest["plan"]["sha256"] = digest

    folder = edit(alter)
    (folder / "model.plan").write_bytes(stamp + b"\ngarbage")
    with pytest.raises(load("model.manifest").ModelError, match="cannot be unpickled"):
        load("model.predictor").load(folder)


def test_the_artifact_is_checked_although_it_is_not_loaded(folder):
    with (folder / "model.joblib").open("ab") as file:
        file.write(b" ")
    with pytest.raises(load("model.manifest").ModelError, match=r"model\.joblib has sha256"):
        load("model.predictor").load(folder)


def test_engine_sklearn_never_takes_the_plan():
    model = served(ROOT / "models", "sklearn")
    assert (model.engine.name, model.engine.reason) == ("sklearn", "ENGINE=sklearn")
    assert answers(model, GOOD) == answers(served(ROOT / "models"), GOOD)
