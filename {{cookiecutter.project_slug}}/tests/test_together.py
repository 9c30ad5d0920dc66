"""Natural micro-batching of the fallback: together, right, and each one's fault its own."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from project import load


def batch_of(values):
    numbers = np.array(values, dtype=float)[:, None]
    return load("model.batch").Batch([], numbers, [], [])


def test_what_queued_during_a_call_goes_together_and_gets_its_own_answers():
    sizes, first = [], threading.Event()

    def answer(batch):
        sizes.append(len(batch))
        first.wait(5)
        return batch.numbers[:, 0] * 2, np.column_stack([batch.numbers[:, 0]] * 2)

    together = load("model.together").Together(answer)
    with ThreadPoolExecutor(8) as pool:
        lone = pool.submit(together, batch_of([0.0]))
        while not sizes:
            time.sleep(0.001)
        rest = [pool.submit(together, batch_of([i, i + 0.5])) for i in range(1, 7)]
        while len(together._queue) < 6:
            time.sleep(0.001)
        first.set()
        assert lone.result()[0].tolist() == [0.0]
        for i, each in enumerate(rest, 1):
            labels, shares = each.result()
            assert labels.tolist() == [2 * i, 2 * i + 1]
            assert shares.tolist() == [[i, i], [i + 0.5, i + 0.5]]
    assert sizes == [1, 12]


def test_a_batch_that_fails_does_not_fail_those_beside_it():
    started, go_on = threading.Event(), threading.Event()

    def answer(batch):
        if (batch.numbers == -1).all():
            started.set()
            go_on.wait(5)
        if (batch.numbers == 13).any():
            raise ValueError("thirteen")
        return batch.numbers[:, 0], None

    together = load("model.together").Together(answer)
    with ThreadPoolExecutor(4) as pool:
        pool.submit(together, batch_of([-1.0]))
        started.wait(5)
        each = [pool.submit(together, batch_of([value])) for value in (12.0, 13.0, 14.0)]
        while len(together._queue) < 3:
            time.sleep(0.001)
        go_on.set()
        assert each[0].result()[0].tolist() == [12.0]
        with pytest.raises(ValueError, match="thirteen"):
            each[1].result()
        assert each[2].result()[0].tolist() == [14.0]


def test_a_call_takes_at_most_so_many_rows(monkeypatch):
    module = load("model.together")
    monkeypatch.setattr(module, "MOST_ROWS", 3)
    sizes = []

    def answer(batch):
        time.sleep(0.002)
        sizes.append(len(batch))
        return batch.numbers[:, 0], None

    together = module.Together(answer)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: together(batch_of([i]))[0][0], range(300)))
    assert answers == list(range(300))
    assert max(sizes) == 3
    assert sum(sizes) == 300
    assert together._queue == []
    assert not together._busy


def test_the_pipeline_serves_32_clients_right(start, rows, predictor):
    service = start(ENGINE="sklearn", WEB_CONCURRENCY="1", MAX_WAIT_SECONDS="20")
    service.ready()
    batch = predictor.schema.read(rows)
    expected = predictor.reference.answer(batch)[0].tolist()
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda row: service.post([row]), rows))
    labels = [answer.json()["predictions"][0]["label"] for answer in answers]
    assert labels == expected
