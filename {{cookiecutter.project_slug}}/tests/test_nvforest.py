"""The GPU's engines without a GPU, on stand-ins, answer as scikit-learn does.

nvforest can predict on the CPU, and array-api-strict has a device that NumPy cannot read. Both lie
in a folder of wheels, .venv/nvforest.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from devices import FORESTS
from pipelines import CASES
from project import ROOT, load
from table import fitted, perturbed, same

device, gpu = load("model.device"), load("model.device.gpu")
ModelError = load("model.manifest").ModelError
pytestmark = [
    pytest.mark.nvforest,
    pytest.mark.filterwarnings("ignore"),  # of scikit-learn, about made-up data
]


@pytest.fixture(scope="session")
def wheels():
    """The folder of wheels, made anew where its lock changed."""
    folder, lock = ROOT / ".venv/nvforest", ROOT / "requirements/nvforest.txt"
    done = folder / "lock.txt"
    if not done.exists() or done.read_bytes() != lock.read_bytes():
        uv = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet"]
        where = ["--python", sys.executable, "--target", folder]
        what = ["--no-deps", "--require-hashes", "--requirement", lock]
        subprocess.run([*uv, *where, *what], check=True)
        done.write_bytes(lock.read_bytes())
    return folder


@pytest.fixture
def cpu_of_nvforest(wheels, monkeypatch):
    """nvforest itself, told to predict on the CPU."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(wheels)])
    monkeypatch.setattr(gpu, "find", lambda: gpu.Device("the CPU", "cpu", np.asarray, np.asarray))


@pytest.mark.parametrize("name", FORESTS)
def test_nvforest_answers_as_scikit_learn_does(name, cpu_of_nvforest):
    model, batch = fitted(*FORESTS[name], device="cuda"), perturbed(5000, seed=8)
    model.prove()
    assert (model.engine.name, model.engine.device) == ("nvforest", "cuda")
    assert model.engine.device_steps == (name.partition(",")[0],)
    assert model.engine.difference <= 1e-12
    expected = model.reference.answer(batch)
    same(expected, model._plan.predict(batch))
    rows = load("model.compiled.proof").rows_of(batch, [0])
    same([part if part is None else part[:1] for part in expected], model._plan.predict(rows))


def test_every_forest_of_the_list_is_compared():
    assert {name.partition(",")[0] for name in FORESTS} == device.forest.FINALS


def test_what_nvforest_would_answer_wrongly_is_refused(cpu_of_nvforest):
    with pytest.raises(ModelError, match="exponential loss has another link than nvforest's"):
        fitted(*CASES["boosting, exponential"], device="cuda").prove()


def test_linear_models_answer_on_a_simulated_device_as_scikit_learn_does(wheels):
    environment = os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": str(wheels)}
    done = subprocess.run(
        [sys.executable, ROOT / "tests/strict_device.py"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name, (steps, fault, difference) in found.items():
        assert fault is None, name
        assert difference <= 1e-12, name
        assert steps, name
    assert {steps[-1] for steps, *_ in found.values()} == device.tail.FINALS
    assert {step for steps, *_ in found.values() for step in steps[:-1]} == device.tail.STEPS
