"""On `/metrics`: how far the rows that come in have moved from the training data.

A removable room: without this file and its name in `app.ROOMS`, or without the room `metrics`,
there are no such numbers.

Each worker counts its rows in bins, in two halves of DRIFT_ROWS / 2 / WEB_CONCURRENCY rows each:
when the newer half is full, it becomes the older one, and what that was is forgotten. Rows that are
counted together are never parted, so a half may grow by the last request's and by those that were
held back with it, an eighth of the half if each request has one row. The window is the sum over the
workers: once all are full, between half of DRIFT_ROWS and all of it, the newest of each worker. A
worker that is replaced hands its counts on; one that is killed loses half a second of them at most.
"""

import os
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
from flask import Flask
from prometheus_client.core import GaugeMetricFamily, Metric

from ..model.batch import Batch
from ..model.manifest import Manifest
from ..model.prediction import Prediction
from ..operations import drift

NAME = "drift"
Keys = list[tuple[str, ...]]  # of a feature's bins, in the totals
Counts = dict[tuple[str, ...], float]


class Drift:
    """Counts rows in bins, and tells the PSI of each feature."""

    def __init__(self, about: Manifest, totals: Any, half: int) -> None:
        """`totals` of the workers; `half` of this worker's window, in rows."""
        self._totals, self._half, rows = totals, half, about.training.rows
        self._held = totals.hold(self._count, 1 + half // 8)
        self._width = sum(feature.type != "category" for feature in about.features)
        found = ((name, drift.bins_of(each, rows)) for name, each in about.baseline.items())
        self._bins = {name: bins for name, bins in found if bins}
        self._numbers: list[tuple[drift.Bins, int, Keys]] = []
        self._texts: list[tuple[drift.Bins, int, Keys]] = []
        for is_text, listed in ((False, self._numbers), (True, self._texts)):
            features = [f for f in about.features if (f.type == "category") == is_text]
            for i, feature in enumerate(features):
                if bins := self._bins.get(feature.name):
                    places = range(len(bins.labels))
                    keys: Keys = [(NAME, "now", feature.name, str(place)) for place in places]
                    listed.append((bins, i, keys))

    def __call__(self, batch: Batch, prediction: Prediction, request_id: str) -> None:
        """Take note of an answered batch."""
        rows = len(prediction.labels)
        # Bytes, because many small arrays take several times as long to join.
        self._held.put((rows, batch.numbers.tobytes(), batch.texts), rows)

    def _count(self, seen: list[tuple[int, bytes, list[list[str | None]]]]) -> None:
        sizes, parts, texts = zip(*seen, strict=True)
        numbers = np.frombuffer(b"".join(parts)).reshape(sum(sizes), self._width)
        columns = [chain.from_iterable(column) for column in zip(*texts, strict=True)]
        counts: Counts = {(NAME, "now"): sum(sizes)}
        for bins, i, keys in self._numbers:
            counts.update(zip(keys, bins.count(numbers[:, i]).tolist(), strict=True))
        for bins, i, keys in self._texts:
            counts.update(zip(keys, bins.count(columns[i]).tolist(), strict=True))
        self._totals.add(counts)
        self._totals.roll(NAME, self._half)

    def collect(self, merged: Counts) -> Iterator[Metric]:
        """The window's rows, and each feature's PSI, from the sums over all workers."""
        rows = merged.get((NAME, "now"), 0) + merged.get((NAME, "old"), 0)
        text = "Newest rows, of all workers together, that are compared with the training data."
        yield GaugeMetricFamily("model_drift_rows", text, value=rows)
        if not rows:
            return
        text = "Population stability index of a feature's newest rows against the training data."
        index = GaugeMetricFamily("model_feature_psi", text, labels=("feature",))
        text = "What model_feature_psi hardly exceeds by chance, with so few rows."
        chance = GaugeMetricFamily("model_feature_psi_chance", text, labels=("feature",))
        for name, bins in self._bins.items():
            now = np.array(
                [
                    merged.get((NAME, "now", name, str(i)), 0)
                    + merged.get((NAME, "old", name, str(i)), 0)
                    for i in range(len(bins.labels))
                ]
            )
            index.add_metric((name,), drift.psi(bins.then, now))
            chance.add_metric((name,), drift.chance(bins.then, now, len(self._bins)))
        yield index
        yield chance


def install(app: Flask) -> None:
    """Watch what is answered, if there is a /metrics to tell of it."""
    native, settings = app.extensions["native"], app.extensions["settings"]
    metrics = app.extensions.get("metrics")
    if metrics is None or not settings.drift_rows:
        return
    workers = max(1, int(os.environ.get("WEB_CONCURRENCY") or 1))
    half = max(1, settings.drift_rows // 2 // workers)
    watch = Drift(native.predictor.manifest, metrics.totals, half)
    native.watchers.append(watch)
    metrics.more.append(watch.collect)
