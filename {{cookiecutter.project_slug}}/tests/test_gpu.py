"""Prediction on a real GPU: `make test-gpu` runs this where there is one.

Without one these tests are skipped; REQUIRE_GPU=1 lets them fail there.
"""

import os
import platform
import shutil
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest
import requests
from devices import FORESTS, LINEAR
from pipelines import DENSE, hist
from project import load
from sklearn import ensemble
from sklearn.pipeline import make_pipeline
from table import fitted, perturbed, predictor, reference, table

device, proof = load("model.device"), load("model.compiled.proof")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("gpu"),
    pytest.mark.filterwarnings("ignore"),  # of scikit-learn, about made-up data
]
ROWS = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]
CORES = os.cpu_count() or 1
# Larger than what the other tests fit, as a GPU is for.
LARGE = {
    "gradient boosting, 100 iterations": (DENSE, hist(max_iter=100)),
    "forest, 100 trees of depth 12": (
        DENSE,
        ensemble.RandomForestClassifier(100, max_depth=12, random_state=0),
    ),
    "forest, 500 trees of depth 8": (
        DENSE,
        ensemble.RandomForestClassifier(500, max_depth=8, random_state=0),
    ),
}


@pytest.fixture(scope="session")
def gpu():
    try:
        return device.gpu.find()
    except device.NoEngine as error:
        if os.environ.get("REQUIRE_GPU"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def free():
    """Bytes of the GPU's memory that nobody has."""
    from cuda.bindings import runtime

    return runtime.cudaMemGetInfo()[1]


@pytest.mark.parametrize("name", [*FORESTS, *LINEAR])
def test_the_gpu_answers_as_scikit_learn_does(name):
    model = fitted(*(FORESTS | LINEAR)[name], device="cuda")
    model.prove()
    assert model.engine.device == "cuda"
    if name in FORESTS:
        loaded = model._plan._answer._run.__self__
        assert type(loaded).__name__.startswith("GPUForestInference")
    batch = proof.sure(model._plan, perturbed(20_000, seed=9))
    verdict = proof.compare(model.reference.answer(batch), model.answer(batch))
    assert verdict.difference <= device.TOLERANCE, verdict


def test_rows_go_there_and_come_back_once(gpu, monkeypatch):
    passed = []

    def counted(way):
        def move(array):
            passed.append(len(array))
            return way(array)

        return move

    found = gpu._replace(up=counted(gpu.up), down=counted(gpu.down))
    monkeypatch.setattr(device.gpu, "find", lambda: found)
    model = fitted(*FORESTS["RandomForestClassifier"], device="cuda")
    model.prove()
    batch = perturbed(device.MOST_ROWS + 5, seed=10)
    passed.clear()
    model.answer(batch)
    assert passed == [device.MOST_ROWS] * 2 + [5] * 2


def test_32_clients_get_their_own_answers_from_the_gpu(start, rows, predictor):
    before = free()
    service = start(MODEL_DEVICE="cuda", WEB_CONCURRENCY="1", PRELOAD="0", MAX_WAIT_SECONDS="20")
    ready = service.ready(120).json()
    assert (ready["engine"], ready["device"]) == ("nvforest", "cuda")
    assert free() < before, "the worker has nothing on the GPU"
    expected = predictor.reference.answer(predictor.schema.read(rows))[0].tolist()
    whole = rows * (50_000 // len(rows))

    def label(i):
        if i % 200 == 7:  # among many small requests a large one
            answers = service.post(whole).json()["predictions"]
            return [each["label"] for each in answers] == expected * (len(whole) // len(rows))
        row = i % len(rows)
        return service.post([rows[row]]).json()["predictions"][0]["label"] == expected[row]

    with ThreadPoolExecutor(32) as pool:
        answers = [pool.submit(label, i) for i in range(1000)]
        probes = 0
        while not all(answer.done() for answer in answers):
            assert requests.get(f"{service.url}/health/live", timeout=5).ok
            probes += 1
            time.sleep(0.05)
        assert all(answer.result() for answer in answers)
    assert probes > 1
    assert service.stop() == 0


def seconds(call):
    """The median of a second's calls, the first one left out unless it takes that long alone."""
    took = []
    while len(took) < 200 and sum(took) < 1:
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took[1:] or took)


def measured(steps):
    """Milliseconds by number of rows: CPU in one thread and in all, GPU; the last step's two."""
    batch, targets = table(20_000)
    estimator = make_pipeline(*steps).fit(reference.frame(batch), targets["species"])
    described = fitted("species", *steps).manifest
    given = described, reference.Reference(lambda: estimator)
    models = [predictor.Predictor(*given, device=place) for place in ("cpu", "cuda")]
    for model in models:
        model.prove()
    cpu, cuda = (model._plan for model in models)
    pool = ThreadPoolExecutor(CORES)  # NumPy lets others run while it computes
    for rows in ROWS:
        batch = perturbed(rows, seed=11)
        x = cpu.matrix(batch)
        answers = [plan.predict(batch) for plan in (cpu, cuda)]
        assert proof.compare(*answers).difference <= device.TOLERANCE
        parts = [proof.rows_of(batch, [*range(i, rows, CORES)]) for i in range(min(CORES, rows))]
        ways = [partial(cpu.predict, batch), lambda p=parts: [*pool.map(cpu.predict, p)]]
        ways += [partial(cuda.predict, batch)]
        ways += [partial(cpu._final, x), partial(cuda._answer, x)]
        yield rows, [1000 * seconds(way) for way in ways]


def test_from_how_many_rows_on_the_gpu_is_faster(gpu):
    """A table, not a bar: it goes to GPU_REPORT, if that names a file."""
    smi = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    driver = (
        subprocess.run(smi, capture_output=True, text=True).stdout.strip()
        if shutil.which("nvidia-smi")
        else "unknown"
    )
    packages = (
        "nvforest-cu13",
        "cupy-cuda13x",
        "cuda-toolkit",
        "treelite",
        "scikit-learn",
        "numpy",
    )
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    text = (
        "# What the GPU gains\n\n"
        f"{date.today()}, {gpu.gpu}, driver {driver}, {CORES} CPU cores, "
        f"Python {platform.python_version()}.\n{versions}.\n\n"
        "Milliseconds a call, median. The compiled engine runs in one thread, as in a worker, and\n"
        f"with the rows dealt out to {CORES}; the ratio is to the faster of the two. The GPU's\n"
        "time includes the way there and back. *Last step*: the trees alone, without the\n"
        "preprocessing, which runs on the host in both.\n"
    )
    for name, steps in LARGE.items():
        text += f"\n## {name}\n\n"
        text += f"| rows | CPU, 1 thread | CPU, {CORES} threads | GPU | CPU / GPU "
        text += "| last step, CPU | GPU | CPU / GPU |\n" + 8 * "| --- " + "|\n"
        for rows, (one, all_, cuda, last, last_cuda) in measured(steps):
            text += (
                f"| {rows:,} | {one:.3g} | {all_:.3g} | {cuda:.3g} | {min(one, all_) / cuda:.2f} "
            )
            text += f"| {last:.3g} | {last_cuda:.3g} | {last / last_cuda:.2f} |\n"
    print(text)
    assert text.count(f"| {ROWS[-1]:,} |") == len(LARGE)
    if path := os.environ.get("GPU_REPORT"):
        Path(path).write_text(text, encoding="utf-8")
