"""/metrics, as Prometheus' own parser reads it: right, bounded, and the same from every worker."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
import requests
from project import load
from prometheus_client.parser import text_string_to_metric_families

ROW = {"island": "Biscoe"}


def scrape(text):
    """Each sample's value by its name and labels."""
    families = text_string_to_metric_families(text)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def of(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    return scrape(answer.text)


def total(samples, name, /, **labels):
    return sum(
        value
        for key, value in samples.items()
        if key[0] == name and labels.items() <= dict(key[1:]).items()
    )


def test_the_engine_in_use_is_a_metric(client, predictor):
    engine = predictor.engine
    labels = {"engine": engine.name, "step": engine.step or "", "reason": engine.reason}
    assert of(client)["model_engine_info", *sorted(labels.items())] == 1


def test_the_metric_says_that_scikit_learn_serves(regression, client_of):
    client = client_of(load("model.predictor").load(regression, "sklearn"))
    found = of(client)
    assert total(found, "model_engine_info", engine="sklearn", reason="ENGINE=sklearn") == 1
    client.post("/predict", json={"instances": [{"area": 1.0}] * 3})
    assert total(of(client), "predictions_total", label="") == 3


def test_the_device_is_a_metric(regression, client_of):
    model = load("model.predictor").load(regression)
    client = client_of(model)
    labels = {"device": "cpu", "reason": "no other was tried", "gpu": "", "device_steps": ""}
    assert total(of(client), "model_device_info", **labels) == 1
    placed = {"device": "cuda", "gpu": "a GPU", "steps": ("Scaler",), "device_steps": ("Trees",)}
    model.engine = msgspec.structs.replace(
        model.engine, name="nvforest", **placed, difference=1e-15
    )
    labels = {"device": "cuda", "gpu": "a GPU", "host_steps": "Scaler", "device_steps": "Trees"}
    labels |= {"engine": "nvforest", "difference": "1e-15"}
    assert total(of(client), "model_device_info", **labels) == 1
    assert total(of(client), "model_info", device="cuda") == 1


def test_requests_rows_classes_and_flags_are_counted(client):
    for headers in ({}, {"Content-Type": "text/plain"}):  # by the express lane, and by Flask
        body = json.dumps({"instances": [ROW, ROW | {"island": "Atlantis"}]})
        client.post("/predict", data=body, headers=headers)
    client.post("/predict", json={"instances": [{"island": 3}, ROW, ROW]})
    client.get("/nowhere")
    found = of(client)
    native = {"method": "POST", "route": "/predict", "dialect": "native"}
    assert total(found, "http_requests_total", **native, status="200") == 2
    assert total(found, "http_requests_total", **native, status="422") == 1
    assert total(found, "http_requests_total", route="none", status="404") == 1
    assert total(found, "prediction_rows_total", dialect="native") == 7
    assert total(found, "predictions_total") == 4
    assert total(found, "prediction_flags_total") == 2
    flagged = {"feature": "island", "flag": "unknown_category"}
    assert total(found, "prediction_flags_total", **flagged) == 2
    name, of_predict = "http_request_duration_seconds", {"route": "/predict", "dialect": "native"}
    assert total(found, f"{name}_count", **of_predict) == 3
    assert total(found, f"{name}_bucket", **of_predict, le="+Inf") == 3
    assert 0 < total(found, f"{name}_sum", **of_predict) < 3
    assert total(found, "predictions_in_flight") == 0
    assert total(found, "model_info", name="penguins", version="1") == 1
    assert total(found, "build_info") == 1


def test_a_held_slot_is_in_flight(client):
    with client.application.extensions["native"].slots.hold():
        assert total(of(client), "predictions_in_flight") == 1


def test_clients_cannot_make_labels(client):
    before = len(of(client))
    for i in range(100):
        client.get(f"/{i}")
        client.open("/predict", method=f"VERB{i}")
        client.post("/predict", json={"instances": [ROW | {f"feature{i}": i}]})
        client.post("/predict", json={"instances": [ROW | {"island": f"island {i}"}]})
    assert len(of(client)) - before < 90


def test_lines_that_were_not_written_are_counted(client_of, tmp_path):
    client = client_of(log_dir=str(tmp_path / "none"))
    if not client.application.extensions["volumes"]:
        pytest.skip("the prediction log was taken away")
    for _ in range(3):
        client.post("/predict", json={"instances": [ROW]})
    for _ in range(2):
        assert total(of(client), "log_failures_total", file="predictions.jsonl") == 3


def test_1000_workers_leave_one_file_a_slot_and_lose_nothing(tmp_path, monkeypatch):
    totals = load("operations.totals").Totals
    for i in range(1000):
        monkeypatch.setenv("WORKER_SLOT", str(i % 2))
        worker = totals(tmp_path)
        worker.add({("n",): 1, ("m", "label"): 0.5})
        worker.save()
        worker._folder = None  # it is gone: its thread saves no more
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.json", "1.json"]
    assert totals(tmp_path).merged() == {("n",): 1000, ("m", "label"): 500}
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 200
    (tmp_path / "0.json").write_text("torn")
    assert totals(tmp_path).merged()["n",] == 500


def test_workers_add_up_and_a_killed_one_takes_nothing_along(start):
    service = start(WEB_CONCURRENCY="2")
    service.ready()

    def predicted():
        # Each connection may meet another worker.
        text = requests.get(f"{service.url}/metrics", timeout=10).text
        return total(scrape(text), "predictions_total")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: service.post([ROW]), range(200)))
    time.sleep(1)
    assert [predicted() for _ in range(10)] == [200] * 10
    pid = service.process.pid
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        workers = [int(child) for child in file.read().split()]
    os.kill(workers[0], signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            now = predicted()
        except requests.ConnectionError:
            continue
        assert now == 200
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            if len({*map(int, file.read().split())} - {*workers}) == 1:
                break
    service.ready()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: service.post([ROW]), range(100)))
    time.sleep(1)
    assert [predicted() for _ in range(10)] == [300] * 10
