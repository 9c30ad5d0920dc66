"""/metrics, as Prometheus' own parser reads it: right, bounded, and the same from every worker."""

import gc
import json
import os
import signal
import socket
import sys
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
    assert total(found, "http_requests_in_flight") == 0
    assert total(found, "model_info", name="penguins", version="1") == 1
    assert total(found, "build_info") == 1


def wait_for(what, wanted, seconds=30):
    """Ask until the answer is the wanted one."""
    deadline = time.monotonic() + seconds
    while (got := what()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert got == wanted


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])  # express lane, Flask
def test_what_waits_for_a_slot_is_in_flight(client_of, kind):
    client = client_of(max_concurrent=1, max_wait_seconds=20.0)
    body = json.dumps({"instances": [ROW]})
    with ThreadPoolExecutor(1) as pool:
        with client.application.extensions["native"].slots.hold():
            assert total(of(client), "predictions_in_flight") == 1
            other = client.application.test_client()
            answer = pool.submit(other.post, "/predict", data=body, content_type=kind)
            where = {"route": "/predict", "dialect": "native"}
            wait_for(lambda: total(of(client), "http_requests_in_flight", **where), 1)
        assert answer.result().status_code == 200
    assert total(of(client), "http_requests_in_flight") == 0


def test_refusals_are_counted_by_reason(client_of, capfd, caplog):
    caplog.set_level("INFO")
    client = client_of(max_rows=2, max_body_mb=1, max_concurrent=1, max_wait_seconds=0.1)
    good, wrong = json.dumps({"instances": [ROW]}), json.dumps({"instances": [{"island": 3}]})
    client.post("/predict", data=good)
    client.get("/nowhere")
    client.get("/predict")
    for body in (wrong, "no json", " " * 2**21, json.dumps({"instances": [ROW] * 3})):
        client.post("/predict", data=body)
    client.post("/predict", data=good, headers={"Content-Encoding": "br"})
    with client.application.extensions["native"].slots.hold():
        client.post("/predict", data=good)
    found = of(client)
    reasons = {
        dict(key[1:])["reason"]: value
        for key, value in found.items()
        if key[0] == "http_requests_refused_total"
    }
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert sorted(reasons) == sorted(line["reason"] for line in lines if "reason" in line)
    assert {*reasons.values()} == {1}
    assert {*reasons} == {
        *("not_found", "method_not_allowed", "invalid_rows", "bad_request", "busy"),
        *("request_entity_too_large", "too_many_rows", "unsupported_media_type"),
    }
    assert total(found, "http_requests_total", route="/predict", status="503") == 1


def test_a_request_that_queued_too_long_has_a_reason_of_its_own():
    slots, error = load("serving.limits").Slots(1, 1.0), load("serving.errors").RequestError
    with pytest.raises(error) as refused, slots.hold(1.1):
        pass
    assert (refused.value.status, refused.value.reason) == (503, "waited_too_long")


def test_clients_cannot_make_labels(client):
    before = len(of(client))
    for i in range(100):
        client.get(f"/{i}")
        client.open("/predict", method=f"VERB{i}")
        client.post("/predict", data=b"{}", headers={"Content-Encoding": f"coding{i}"})
        client.post("/predict", json={"instances": [ROW | {f"feature{i}": i}]})
        client.post("/predict", json={"instances": [ROW | {"island": f"island {i}"}]})
    assert len(of(client)) - before < 90


def test_lines_that_were_not_written_are_counted(client_of, tmp_path):
    client = client_of(log_dir=str(tmp_path / "none"))
    if not client.application.extensions["volumes"]:
        pytest.skip("the prediction log was taken away")
    assert total(of(client), "log_failures_total") == 0
    for _ in range(3):
        client.post("/predict", json={"instances": [ROW]})
    for _ in range(2):
        assert total(of(client), "log_failures_total", file="predictions.jsonl") == 3


def test_a_worker_that_nobody_scrapes_tells_of_lost_lines(client_of, tmp_path, monkeypatch):
    monkeypatch.setenv("METRICS_DIR", str(tmp_path))
    client = client_of(log_dir=str(tmp_path / "none"))
    if not client.application.extensions["volumes"]:
        pytest.skip("the prediction log was taken away")
    client.application.extensions["totals"].start()  # as gunicorn.conf.py does
    for _ in range(3):
        client.post("/predict", json={"instances": [ROW]})
    read, lost = load("operations.totals").read, ("log_failures", "predictions.jsonl")
    wait_for(lambda: dict(read(tmp_path / "0.json").counted).get(lost), 3)


@pytest.fixture
def restless():
    """Threads that give way to each other a hundred times as often."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 100)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.parametrize("folder", ["saved", None])
def test_all_is_counted_once_while_others_look(client_of, tmp_path, monkeypatch, folder, restless):
    if folder:
        monkeypatch.setenv("METRICS_DIR", str(tmp_path))
    client = client_of(max_wait_seconds=60.0)
    totals, answered = client.application.extensions["totals"], []
    totals.start()
    bodies = [[ROW], [ROW | {"island": "Atlantis"}] * 2, [{"island": 3}], [ROW] * 9]

    def send(_):
        own = client.application.test_client()
        for i in range(100):
            answered.append(own.post("/predict", json={"instances": bodies[i % 4]}).status_code)

    def look(_):
        while len(answered) < 800:
            before = len(answered)
            found = totals.merged()
            assert before <= sum(n for key, n in found.items() if key[0] == "http_requests") <= 800

    with ThreadPoolExecutor(10) as pool:
        looks = pool.map(look, range(2))
        list(pool.map(send, range(8)))
        list(looks)
    found = of(client)
    predict = {"route": "/predict", "dialect": "native"}
    assert total(found, "http_requests_total", **predict, status="200") == 600
    assert total(found, "http_requests_total", **predict, status="422") == 200
    assert total(found, "http_requests_refused_total", reason="invalid_rows") == 200
    assert total(found, "http_request_duration_seconds_count", **predict) == 800
    assert total(found, "prediction_rows_total", dialect="native") == 200 * (1 + 2 + 1 + 9)
    assert total(found, "predictions_total") == 200 * (1 + 2 + 9)
    assert total(found, "prediction_flags_total") == 200 * 2


def test_whoever_looks_while_others_count_waits_for_them(tmp_path):
    totals, seen = load("operations.totals").Totals(tmp_path), []

    def count(each):
        time.sleep(0.01)
        totals.add({("n",): len(each)})

    held = totals.hold(count, 3)

    def see(_):
        for _ in range(20):
            seen.append(held.put("a request"))
            before = len(seen)
            assert before <= totals.merged()["n",] <= 80

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(see, range(4)))
    assert totals.merged() == {("n",): 80}


def test_little_is_held_back_though_nobody_looks(client):
    native = client.application.extensions["native"]
    record = client.application.extensions["access_log"].record
    body = json.dumps({"instances": [ROW]}).encode()

    def blocks_after(requests):
        for _ in range(requests):
            assert native.plain(body, "id")[1] == 1
            record("id", "POST", "/predict", 200, time.perf_counter(), 1, ("/predict", "predict"))
        gc.collect()
        return sys.getallocatedblocks()

    before = blocks_after(300)
    assert blocks_after(10_000) - before < 10_000  # one a request is too many
    assert total(of(client), "predictions_total") == 10_300


def test_many_rows_are_not_held_back(client_of, predictor):
    client = client_of(drift_rows=0)
    native, few = client.application.extensions["native"], load("operations.totals").FEW
    for rows, more in ((few, 1), (few + 1, 0), (1, 1)):
        batch = predictor.schema.read([ROW] * rows)
        flags = batch.flags
        before = sys.getrefcount(flags)
        native.answer(batch, "id")
        assert sys.getrefcount(flags) - before == more
    assert total(of(client), "predictions_total") == 2 * few + 2


def test_a_scrape_reads_each_file_once(client_of, tmp_path, monkeypatch):
    monkeypatch.setenv("METRICS_DIR", str(tmp_path))
    client, module, files = client_of(), load("operations.totals"), []
    client.post("/predict", json={"instances": [ROW]})
    of(client)
    read = module.read
    monkeypatch.setattr(module, "read", lambda file: files.append(file) or read(file))
    of(client)
    assert files == [tmp_path / "0.json"]


def test_1000_workers_leave_one_file_a_slot_and_lose_nothing(tmp_path, monkeypatch):
    totals = load("operations.totals").Totals
    for i in range(1000):
        monkeypatch.setenv("WORKER_SLOT", str(i % 2))
        worker = totals(tmp_path)
        worker.add({("n",): 1, ("m", "label"): 0.5})
        worker.save()
        worker._folder = None  # it is gone: its thread saves no more
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.json", "1.json"]
    counted = {("n",): 1000, ("m", "label"): 500}
    assert totals(tmp_path).merged() == counted
    # Nor does one whose first request is a scrape.
    assert totals(tmp_path, lambda: {("now",): 1}).merged() == counted | {("now",): 1}
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 200
    (tmp_path / "0.json").write_text("torn")
    assert totals(tmp_path).merged()["n",] == 500


def test_what_a_killed_worker_had_in_flight_ends_with_it(tmp_path, monkeypatch):
    totals = load("operations.totals").Totals
    monkeypatch.setenv("WORKER_SLOT", "0")
    worker = totals(tmp_path, lambda: {("now",): 3})
    worker.add({("n",): 1})
    assert worker.merged() == {("n",): 1, ("now",): 3}
    process = os.fork()
    if not process:  # a worker that is killed with its first request in flight
        try:
            monkeypatch.setenv("WORKER_SLOT", "1")
            totals(tmp_path, lambda: {("now",): 2}).merged()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(process, 0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.json", "1.json"]
    assert worker.merged() == {("n",): 1, ("now",): 3}


def test_a_worker_that_hangs_in_its_first_request_is_seen(tmp_path):
    module = load("operations.totals")
    module.Totals(tmp_path, lambda: {("now",): 1}).start()
    wait_for(lambda: module.read(tmp_path / "0.json").now, [(("now",), 1)])


def test_workers_add_up_and_a_killed_one_takes_nothing_along(start):
    service = start(WEB_CONCURRENCY="2")
    service.ready()

    def sums():
        # Each connection may meet another worker.
        found = scrape(requests.get(f"{service.url}/metrics", timeout=10).text)
        predict = {"route": "/predict", "method": "POST"}
        return (
            total(found, "http_requests_total", **predict, status="200"),
            total(found, "predictions_total"),
            total(found, "http_requests_total", **predict, status="422"),
            total(found, "http_requests_refused_total", reason="invalid_rows"),
            total(found, "http_requests_in_flight", route="/predict"),
        )

    def post(times):
        rows = [[ROW], [ROW], [{"island": 3}]]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: service.post(rows[i % 3]), range(times)))

    post(300)
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as hanging:
        hanging.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        wait_for(sums, (200, 200, 100, 100, 1))
        time.sleep(1)
        assert [sums() for _ in range(10)] == [(200, 200, 100, 100, 1)] * 10
        before = service.workers()
        for worker in before:
            os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            assert sums()[:4] == (200, 200, 100, 100)
            if len(service.workers() - before) == 2:
                break
        except requests.ConnectionError:
            time.sleep(0.05)
    service.ready()
    assert [sums() for _ in range(10)] == [(200, 200, 100, 100, 0)] * 10
    post(150)
    time.sleep(1)
    assert [sums() for _ in range(10)] == [(300, 300, 150, 150, 0)] * 10
