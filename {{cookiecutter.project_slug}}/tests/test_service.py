"""A live gunicorn over `requests`: many clients at once, faults at the start, a stop in between."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
import requests
from project import ROOT, load

GOOD = {"island": "Biscoe"}


@pytest.fixture(scope="module")
def expected(table):
    """scikit-learn's own answers for each row of the data."""
    estimator = joblib.load(ROOT / "models/model.joblib")
    return estimator.classes_, estimator.predict(table), estimator.predict_proba(table)


def test_32_clients_at_once_get_no_wrong_answer(start, rows, expected):
    service = start(WEB_CONCURRENCY="2", MAX_WAIT_SECONDS="20")
    service.ready()
    classes, labels, shares = expected
    wrong = []

    def ask(i: int) -> None:
        first = i % len(rows)
        part = rows[first : first + 1 + i % 3]  # one to three rows
        answer = service.post(part)
        assert answer.status_code == 200, answer.text
        for offset, got in enumerate(answer.json()["predictions"]):
            probabilities = [got["probabilities"][name] for name in classes]
            right = got["label"] == labels[first + offset]
            if not right or not np.array_equal(probabilities, shares[first + offset]):
                wrong.append((first + offset, got))

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(ask, range(1000)))
    assert wrong == []


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda m: m["artifact"].update(sha256="0" * 64), "has sha256"),
        (lambda m: m["libraries"].update({"scikit-learn": "0.24.2"}), "scikit-learn 0.24.2"),
        (lambda m: m["golden"][0]["output"].update(label="Dodo"), "golden row 0"),
    ],
)
def test_a_model_at_fault_stops_the_start_with_one_line(start, edit, alter, words):
    service = start(MODEL_DIR=str(edit(alter)), WEB_CONCURRENCY="1")
    assert service.process.wait(60) != 0
    lines = [json.loads(line) for line in service.output.read_text().splitlines()]
    [critical] = [line for line in lines if line["level"] == "CRITICAL"]
    assert words in critical["message"]
    assert "Traceback" not in service.output.read_text()


def test_a_wrong_setting_stops_the_start_and_names_all_of_them(start):
    service = start(MAX_ROWS="many", LOG_LEVEL="LOUD")
    assert service.process.wait(60) != 0
    output = service.output.read_text()
    assert "MAX_ROWS='many'" in output
    assert "LOG_LEVEL='LOUD'" in output


def test_workers_and_thread_caps_are_set_before_numpy_loads(start):
    service = start(OMP_NUM_THREADS="", WEB_CONCURRENCY="2")
    service.ready()
    granted = load("operations.resources").granted()
    cap = str(max(1, int(granted.cpus) // 2))
    # The environment a process was started with, so from before any library was loaded.
    started_with = Path(f"/proc/{service.process.pid}/environ").read_bytes().decode().split("\0")
    for name in load("operations.resources").THREAD_CAPS:
        assert f"{name}={cap}" in started_with
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    deadline = time.monotonic() + 30
    while len(children.read_text().split()) != 2 and time.monotonic() < deadline:
        time.sleep(0.05)  # the first worker may be ready before the second is there
    assert len(children.read_text().split()) == 2


def test_a_stop_answers_what_is_in_flight(start, rows):
    service = start(WEB_CONCURRENCY="1", MAX_WAIT_SECONDS="20", ENGINE="sklearn")  # the slow one
    service.ready()
    url, body = f"{service.url}/predict", json.dumps({"instances": (rows * 100)[:30_000]})
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(requests.post, url, body, timeout=60) for _ in range(4)]
        time.sleep(0.4)
        assert not all(answer.done() for answer in answers), "nothing was in flight"
        assert service.stop() == 0
        assert [len(answer.result().json()["predictions"]) for answer in answers] == [30_000] * 4
    with pytest.raises(requests.ConnectionError):
        service.post([GOOD])


def test_a_worker_that_is_killed_is_replaced(start):
    service = start(WEB_CONCURRENCY="1")
    service.ready()
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
    [worker] = children.read_text().split()
    os.kill(int(worker), 9)
    deadline = time.monotonic() + 30
    while children.read_text().split() in ([], [worker]) and time.monotonic() < deadline:
        time.sleep(0.05)
    service.ready()
    assert service.post([GOOD]).status_code == 200


def test_logs_are_json_on_stdout_and_on_the_volume_with_request_ids(start):
    service = start(WEB_CONCURRENCY="2")
    service.ready()
    with ThreadPoolExecutor(8) as pool:
        ids = [f"request-{i}" for i in range(200)]
        list(pool.map(lambda i: service.post([GOOD], headers={"X-Request-ID": i}), ids))
    assert service.stop() == 0
    for text in (service.output.read_text(), (service.logs / "service.jsonl").read_text()):
        lines = [json.loads(line) for line in text.splitlines()]
        requested = [line for line in lines if line["message"] == "request" and line["rows"]]
        assert sorted(line["request_id"] for line in requested) == sorted(ids)
        assert {(line["status"], line["path"]) for line in requested} == {(200, "/predict")}
        assert all(line["ms"] > 0 for line in requested)
        assert any("Shutting down" in line["message"] for line in lines)


def test_a_log_folder_at_fault_is_said_and_stops_nothing(start, tmp_path):
    missing = tmp_path / "not" / "there"
    service = start(LOG_DIR=str(missing), WEB_CONCURRENCY="1")
    assert service.ready().json()["log_fault"] == "No such file or directory"
    assert all(service.post([GOOD]).status_code == 200 for _ in range(20))
    complaints = [
        line for line in service.output.read_text().splitlines() if "failures to write" in line
    ]
    # Once a minute for each file of each process: the master's one, the worker's two.
    assert 2 <= len(complaints) <= 3
    missing.mkdir(parents=True)
    assert service.post([GOOD]).status_code == 200
    assert service.ready().json()["log_fault"] is None
    assert (missing / "service.jsonl").read_text().count('"message":"request"') == 1


def test_overload_is_shed_with_503_while_probes_are_answered(start, rows):
    service = start(WEB_CONCURRENCY="1", MAX_CONCURRENT="1", MAX_WAIT_SECONDS="0.1")
    service.ready()
    url, body = f"{service.url}/predict", json.dumps({"instances": (rows * 150)[:50_000]})
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(requests.post, url, data=body, timeout=60) for _ in range(4)]
        time.sleep(0.3)
        assert requests.get(f"{service.url}/health/ready", timeout=10).status_code == 200
        results = [answer.result() for answer in answers]
    assert {answer.status_code for answer in results} == {200, 503}
    refused = next(answer for answer in results if answer.status_code == 503)
    assert refused.headers["Retry-After"] == "1"
    assert "busy" in refused.json()["error"]


def test_the_time_in_gunicorns_queue_counts_as_waiting(start, rows):
    """40 clients for 10 threads: those that no thread takes in time are told to come again."""
    service = start(WEB_CONCURRENCY="1", MAX_WAIT_SECONDS="0.5", ENGINE="sklearn")
    service.ready()
    url, body = f"{service.url}/predict", json.dumps({"instances": (rows * 30)[:10_000]})
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: requests.post(url, data=body, timeout=60), range(40)))
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 503}
    assert codes.count(503) > 10
    assert service.post(rows[:1]).status_code == 200


def test_idle_connections_keep_nobody_out(start):
    """More of them at once than gunicorn keeps alive, from clients that never close theirs."""
    service = start(WEB_CONCURRENCY="1")
    service.ready()
    idle = [requests.Session() for _ in range(400)]

    def ask(session):
        return session.get(f"{service.url}/health/live", timeout=30).headers["Connection"]

    with ThreadPoolExecutor(100) as pool:
        kept = list(pool.map(ask, idle))
    assert 250 < kept.count("keep-alive") < 400  # the rest was closed with its answer
    for _ in range(20):
        assert requests.get(f"{service.url}/health/ready", timeout=5).ok
    for session in idle:
        session.close()


def test_a_body_that_is_too_large_is_refused_as_json(start):
    service = start(WEB_CONCURRENCY="1", MAX_BODY_MB="1")
    service.ready()
    answer = requests.post(f"{service.url}/predict", data=b" " * (3 * 1024**2), timeout=30)
    assert (answer.status_code, answer.json()["error_code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")

    def chunks():
        for _ in range(48):
            yield b" " * 65_536

    answer = requests.post(f"{service.url}/predict", data=chunks(), timeout=30)
    assert answer.status_code == 413
