"""Drift on /metrics: the PSI of the newest rows, of all workers together."""

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from project import load
from prometheus_client.parser import text_string_to_metric_families

drift = load("operations.drift")


def scrape(text):
    """Rows of the window, and the PSI of each feature."""
    samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
    rows = [s.value for s in samples if s.name == "model_drift_rows"]
    found = {s.labels["feature"]: s.value for s in samples if s.name == "model_feature_psi"}
    chance = {s.labels["feature"] for s in samples if s.name == "model_feature_psi_chance"}
    assert chance == found.keys()
    return (rows or [None])[0], found


def of(client):
    return scrape(client.get("/metrics").text)


def expected(predictor, rows):
    """Computed from the rows themselves."""
    about, batch, found = predictor.manifest, predictor.schema.read(rows), {}
    for name, column in batch.columns.items():
        bins = drift.bins_of(about.baseline[name], about.training.rows)
        texts = [None if text != text else text for text in column.tolist()]
        now = bins.count(texts if column.dtype == object else column)
        found[name] = pytest.approx(drift.psi(bins.then, now), abs=1e-12)
    return found


def send(client, rows):
    assert client.post("/predict", json={"instances": rows}).status_code == 200


@pytest.mark.parametrize("size", [1, 5, 17, 100])
def test_the_gauge_is_the_psi_of_the_rows_whatever_their_batches(client, predictor, rows, size):
    assert of(client) == (0, {})
    some = [*rows[:98], rows[0] | {"island": "Atlantis", "body_mass_g": 1e9}, {"island": "Dream"}]
    for i in range(0, 100, size):
        send(client, some[i : i + size])
    assert of(client) == (100, expected(predictor, some))


def test_refused_rows_do_not_count(client):
    client.post("/predict", json={"instances": [{"island": 3}]})
    client.post("/predict", json={"instances": []})
    assert of(client) == (0, {})


def test_older_rows_are_forgotten(client_of, predictor, rows, monkeypatch):
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    client = client_of(drift_rows=60)  # halves of 10 rows
    for row in rows[:35]:
        send(client, [row])
    assert of(client) == (15, expected(predictor, rows[20:35]))
    send(client, rows[35:100])  # is never parted
    assert of(client) == (70, expected(predictor, rows[30:100]))
    send(client, rows[100:101])
    assert of(client)[0] == 71
    for row in rows[101:111]:
        send(client, [row])
    assert of(client) == (11, expected(predictor, rows[100:111]))


def test_what_is_held_back_may_overshoot_a_little(client_of, predictor, rows):
    client = client_of(drift_rows=160)  # halves of 80 rows, held back by 11
    for row in rows[:190]:
        send(client, [row])
    # Rolled at 88 rows and at 176.
    assert of(client) == (102, expected(predictor, rows[88:190]))


def test_rows_are_counted_once_while_others_look(client_of, predictor, rows):
    client = client_of(max_wait_seconds=20.0)
    parts = [rows[i : i + size] for size in (1, 3, 9) for i in range(0, 90, size)]

    def post(part):
        send(client.application.test_client(), part)
        return of(client.application.test_client())[0]

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(post, parts)) <= 270
    assert of(client) == (270, expected(predictor, rows[:90] * 3))


def test_many_rows_are_not_held_back(client, predictor, rows):
    native, few = client.application.extensions["native"], load("operations.totals").FEW
    for count, more in ((few, 1), (few + 1, 0), (1, 1)):
        batch = predictor.schema.read(rows[:count])
        texts = batch.texts
        before = sys.getrefcount(texts)
        native.answer(batch, "id")
        assert sys.getrefcount(texts) - before == more


def test_it_can_be_switched_off(client_of, rows):
    client = client_of(drift_rows=0)
    send(client, rows[:9])
    assert of(client) == (None, {})


def test_a_model_without_a_baseline_has_rows_alone(client_of, regression):
    client = client_of(load("model.predictor").load(regression, "sklearn"))
    send(client, [{"area": 1.0}])
    assert of(client) == (1, {})


def test_a_worker_goes_on_with_the_window_of_the_one_before_it(tmp_path, monkeypatch):
    totals = load("operations.totals").Totals
    monkeypatch.setenv("WORKER_SLOT", "0")
    for _ in range(7):
        worker = totals(tmp_path)
        for _ in range(3):
            worker.add({("drift", "now"): 1, ("drift", "now", "a", "0"): 1, ("other",): 1})
            worker.roll("drift", 10)
        worker.save()
        worker._folder = None  # it is gone: its thread saves no more
    # 21 rows: the second ten, and one more.
    assert totals(tmp_path).merged() == {
        ("other",): 21,
        ("drift", "old"): 10,
        ("drift", "old", "a", "0"): 10,
        ("drift", "now"): 1,
        ("drift", "now", "a", "0"): 1,
    }


def test_workers_add_up_and_a_killed_one_takes_nothing_along(start, predictor, rows):
    service = start(WEB_CONCURRENCY="2", DRIFT_ROWS="100000")
    service.ready()

    def found():
        # Each connection may meet another worker.
        return scrape(requests.get(f"{service.url}/metrics", timeout=10).text)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda row: service.post([row]), rows[:150]))
    time.sleep(1)
    wanted = (150, expected(predictor, rows[:150]))
    assert [found() for _ in range(10)] == [wanted] * 10
    pid = service.process.pid
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        workers = {int(child) for child in file.read().split()}
    os.kill(min(workers), signal.SIGKILL)
    deadline, now = time.monotonic() + 30, workers
    while time.monotonic() < deadline and len(now - workers) < 1:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            now = {int(child) for child in file.read().split()}
    assert now - workers
    service.ready()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda row: service.post([row]), rows[150:]))
    time.sleep(1)
    wanted = (len(rows), expected(predictor, rows))
    assert [found() for _ in range(10)] == [wanted] * 10
