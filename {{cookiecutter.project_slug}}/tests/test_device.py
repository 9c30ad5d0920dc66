"""Prediction on a GPU, without one: what goes there, what is refused, and what is shown of it."""

import json
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from devices import FORESTS
from pipelines import DENSE, dense, hist
from project import ROOT, load
from sklearn import ensemble, linear_model, svm
from sklearn import preprocessing as pre
from table import fitted, perturbed, same

device, gpu = load("model.device"), load("model.device.gpu")
ModelError = load("model.manifest").ModelError
pytestmark = pytest.mark.filterwarnings("ignore")  # of scikit-learn, about made-up data
FOREST = FORESTS["RandomForestClassifier"]


class Simulated:
    """Stands for nvforest: scikit-learn's own trees, and a count of what goes to the device."""

    def __init__(self, final, place):
        self.final, self.place, self.error = final, place, 0.0
        self.sizes = []

    def __call__(self, x):
        self.sizes.append(len(x))
        labels = self.final.predict(x)
        return labels, self.final.predict_proba(x) + self.error


@pytest.fixture
def simulated(monkeypatch):
    """A GPU that is none, with an engine that is scikit-learn; the list has the engines made."""
    made = []

    def forest(final, place):
        made.append(Simulated(final, place))
        return made[-1]

    monkeypatch.setattr(gpu, "find", lambda: gpu.Device("a GPU", "cpu", np.asarray, np.asarray))
    monkeypatch.setattr(device.forest, "Forest", forest)
    return made


def runtime(monkeypatch, count=1, capability=(9, 0), fault=0):
    """CUDA's library as cuda-bindings would show it."""
    about = SimpleNamespace(name=b"NVIDIA H200\0", major=capability[0], minor=capability[1])
    shown = SimpleNamespace(
        cudaError_t=SimpleNamespace(cudaSuccess=0),
        cudaGetDeviceCount=lambda: (fault, count),
        cudaGetErrorString=lambda fault: (0, b"CUDA driver version is insufficient"),
        cudaGetDeviceProperties=lambda number: (0, about),
    )
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace(bindings=shown))
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=shown))
    arrays = SimpleNamespace(asarray=np.asarray, asnumpy=np.asarray)
    monkeypatch.setitem(sys.modules, "cupy", arrays)


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (None, "CUDA's libraries are not installed; Dockerfile.cuda has them"),
        ({"fault": 35}, "there is no usable GPU: CUDA driver version is insufficient"),
        ({"count": 0}, "there is no usable GPU: CUDA shows none"),
        ({"capability": (7, 0)}, "NVIDIA H200 has compute capability 7.0, and 7.5 is needed"),
    ],
)
def test_without_a_gpu_cuda_refuses_and_auto_serves_with_the_reason(shown, why, monkeypatch):
    if shown is None:
        monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    else:
        runtime(monkeypatch, **shown)
    line = f"MODEL_DEVICE=cuda, but {why}; MODEL_DEVICE=auto would use the CPU"
    with pytest.raises(ModelError) as refusal:
        fitted(*FOREST, device="cuda").prove()
    assert str(refusal.value) == line
    model = fitted(*FOREST, device="auto")
    model.prove()
    assert (model.engine.name, model.engine.device) == ("compiled", "cpu")
    assert model.engine.device_reason == why


def test_a_gpu_is_found_by_its_name(monkeypatch):
    runtime(monkeypatch)
    found = gpu.find()
    assert (found.gpu, found.kind) == ("NVIDIA H200", "gpu")
    assert found.up.keywords == {"blocking": True}


class Ours(ensemble.RandomForestClassifier):
    """scikit-learn's, for all that the list knows."""


LAMBDA = pre.FunctionTransformer(lambda x: x + 1)


@pytest.mark.parametrize(
    ("steps", "options", "why"),
    [
        ((DENSE, svm.SVC()), {}, "SVC has no engine for a GPU"),
        ((DENSE, ensemble.BaggingClassifier()), {}, "BaggingClassifier has no engine for a GPU"),
        ((DENSE, Ours(5)), {}, "test_device.Ours has no engine for a GPU"),
        ((DENSE, linear_model.LogisticRegression()), {}, "SCIPY_ARRAY_API=1 was not set before"),
        ((dense(LAMBDA), hist()), {}, "its preprocessing has no plan for the host: not compiled"),
        ((DENSE, hist()), {"choice": "sklearn"}, "no plan for the host: ENGINE=sklearn"),
    ],
)
def test_a_model_without_an_engine_is_refused_by_name(steps, options, why, simulated):
    with pytest.raises(ModelError, match=why):
        fitted("species", *steps, device="cuda", **options).prove()
    model = fitted("species", *steps, device="auto", **options)
    model.prove()
    assert why in model.engine.device_reason
    batch = perturbed(100, seed=6)
    same(model.reference.answer(batch), model.answer(batch))


def test_what_the_list_takes():
    """IsolationForest is not on it: nvforest loads one, and answers something else."""
    kinds = ("RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting")
    tasks = ("Classifier", "Regressor")
    assert sorted(f"{k}{t}" for k in kinds for t in tasks) == sorted(device.forest.FINALS)
    assert not device.forest.FINALS & device.tail.FINALS


def test_the_readme_names_all_that_goes_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    forests = {re.sub("(Classifier|Regressor)$", "", name) for name in device.forest.FINALS}
    for name in forests | device.tail.FINALS | device.tail.STEPS:
        assert re.search(rf"\b{name}\b", readme), name


@pytest.mark.parametrize(("error", "serves"), [(1e-13, True), (1e-6, False), (np.nan, False)])
def test_an_engine_serves_if_it_answers_as_scikit_learn_does(error, serves, simulated):
    model = fitted(*FOREST, device="auto")

    def off(final, place):
        simulated.append(Simulated(final, place))
        simulated[-1].error = error
        return simulated[-1]

    device.forest.Forest = off  # the fixture puts it back
    model.prove()
    assert (model.engine.device == "cuda") == serves
    if serves:
        assert 0 < model.engine.difference < 1e-9
    else:
        assert "the GPU does not answer as scikit-learn does" in model.engine.device_reason
        with pytest.raises(ModelError, match="does not answer as scikit-learn does"):
            fitted(*FOREST, device="cuda").prove()


def test_libraries_that_raise_are_a_reason_too(monkeypatch):
    def broken():
        raise OSError("libcupy.so\nis missing")

    monkeypatch.setattr(gpu, "find", broken)
    with pytest.raises(ModelError, match=r"the libraries for the GPU raise OSError\('libcupy"):
        fitted(*FOREST, device="cuda").prove()


def test_rows_go_to_the_device_in_bounded_parts_and_queued_requests_together(
    simulated, monkeypatch
):
    model, batch = fitted(*FOREST, device="cuda"), perturbed(100, seed=7)
    model.prove()
    expected = model.reference.answer(batch)
    [engine] = simulated
    monkeypatch.setattr(device, "MOST_ROWS", 30)
    engine.sizes.clear()
    same(expected, model.answer(batch))
    assert engine.sizes == [30, 30, 30, 10]
    monkeypatch.undo()
    busy, go_on, answer = threading.Event(), threading.Event(), Simulated.__call__

    def slow(self, x):
        busy.set()
        go_on.wait(30)
        return answer(self, x)

    monkeypatch.setattr(Simulated, "__call__", slow)
    engine.sizes.clear()
    queue = model._plan._together._queue
    with ThreadPoolExecutor(5) as pool:
        answers = [pool.submit(model.answer, batch)]
        busy.wait(30)
        answers += [pool.submit(model.answer, batch) for _ in range(4)]
        end = time.monotonic() + 30
        while len(queue) < 4 and time.monotonic() < end:
            time.sleep(0.001)
        go_on.set()
        for each in answers:
            same(expected, each.result())
    assert engine.sizes == [100, 400]


def test_the_device_is_shown(simulated, client_of):
    model = fitted(*FOREST, device="cuda")
    client = client_of(model)
    engine = client.get("/model").get_json()["engine"]
    ready = client.get("/health/ready").get_json()
    assert ready["engine"] == engine["name"] == "nvforest"
    for told in (engine, ready):
        assert (told["device"], told["gpu"]) == ("cuda", "a GPU")
        assert told["device_steps"] == ["RandomForestClassifier"]
        assert "StandardScaler" in told["steps"]
        assert "RandomForestClassifier" not in str(told["steps"])
        assert told["rows"] > 256
        assert told["difference"] == 0.0
    assert ("device", "cuda: RandomForestClassifier on a GPU") in model.engine.facts()


def test_cuda_without_a_gpu_stops_the_start_with_one_line(start, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # a GPU of this machine is none for the service
    service = start(MODEL_DEVICE="cuda", WEB_CONCURRENCY="1", PRELOAD="0")
    assert service.process.wait(60) == 3
    lines = [json.loads(line) for line in service.output.read_text().splitlines()]
    [message] = [line["message"] for line in lines if line["level"] == "CRITICAL"]
    assert message.startswith("MODEL_DEVICE=cuda, but ")
    assert message.endswith("; MODEL_DEVICE=auto would use the CPU")
    assert "Traceback" not in service.output.read_text()


def test_auto_serves_on_the_cpu_and_says_why(start, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    ready = start(MODEL_DEVICE="auto", WEB_CONCURRENCY="1").ready().json()
    assert (ready["engine"], ready["device"]) == ("compiled", "cpu")
    assert "GPU" in ready["device_reason"] or "CUDA" in ready["device_reason"]
