"""`GET /metrics`, in the text format of Prometheus: the same numbers from whichever worker.

A removable room: without this file and its name in `app.ROOMS` there is no such route.
"""

import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from http import HTTPMethod
from importlib import metadata
from pathlib import Path

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..model.batch import Batch
from ..model.prediction import Prediction
from ..operations.logs import VolumeHandler
from ..operations.totals import Key, Totals
from .limits import Slots
from .predict import Native

# Labels' names, and help, of each counter. Their values are bounded whatever clients send.
COUNTERS: dict[str, tuple[tuple[str, ...], str]] = {
    "http_requests": (("method", "route", "dialect", "status"), "Requests that were answered."),
    "prediction_rows": (("dialect",), "Rows in requests, refused ones included."),
    "predictions": (("label",), "Answered rows by predicted class; by nothing for a regression."),
    "prediction_flags": (("feature", "flag"), "Values that training never saw."),
    "log_failures": (("file",), "Lines that a log file did not take."),
}
SECONDS = "http_request_duration_seconds"
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
METHODS = frozenset(HTTPMethod)
NATIVE = frozenset(("predict", "health", "swagger_ui"))  # blueprints that are no dialect


class Metrics(Collector):
    """Counts requests and predictions, and tells of the model."""

    def __init__(self, native: Native, volumes: Sequence[VolumeHandler], totals: Totals) -> None:
        self._native = native
        self._volumes = volumes
        self._totals = totals

    def request(
        self, method: str, route: str, blueprint: str, status: int, seconds: float, rows: int | None
    ) -> None:
        """Count an answered request."""
        method = method if method in METHODS else "other"
        dialect = "native" if not blueprint or blueprint in NATIVE else blueprint
        bound = next((str(bound) for bound in BOUNDS if seconds <= bound), "+Inf")
        numbers: dict[Key, float] = {
            ("http_requests", method, route, dialect, str(status)): 1,
            (SECONDS, route, dialect, bound): 1,
            (SECONDS, route, dialect, "sum"): seconds,
        }
        if rows:
            numbers["prediction_rows", dialect] = rows
        self._totals.add(numbers)

    def prediction(self, batch: Batch, prediction: Prediction, request_id: str) -> None:
        """Count an answered batch."""
        classes = prediction.form.classes
        labels = Counter(prediction.labels) if classes else {"": len(batch)}
        numbers: dict[Key, float] = {("predictions", str(k)): n for k, n in labels.items()}
        for _, feature, flag in batch.flags:
            key = ("prediction_flags", feature, flag)
            numbers[key] = numbers.get(key, 0) + 1
        self._totals.add(numbers)

    def collect(self) -> Iterator[Metric]:
        """All metrics, anew: the engine is known only once the proof has run."""
        for volume in self._volumes:
            new, volume.counted = volume.failures - volume.counted, volume.failures
            if new:
                self._totals.add({("log_failures", volume.path.name): new})
        merged = self._totals.merged()
        for name, (labels, text) in COUNTERS.items():
            family = CounterMetricFamily(name, text, labels=labels)
            for key, number in sorted(merged.items()):
                if key[0] == name:
                    family.add_metric(key[1:], number)
            yield family
        yield self._durations(merged)
        slots: Slots = self._native.slots
        text = "Predictions that this worker makes now."
        yield GaugeMetricFamily("predictions_in_flight", text, value=slots.taken())
        predictor = self._native.predictor
        engine, about = predictor.engine, predictor.manifest
        facts = {"engine": engine.name, "step": engine.step or "", "reason": engine.reason}
        yield InfoMetricFamily("model_engine", "What predicts, and why.", value=facts)
        facts = {"device": engine.device, "engine": engine.name, "reason": engine.device_reason}
        facts |= {"gpu": engine.gpu or "", "difference": str(engine.difference or 0.0)}
        facts["host_steps"] = ", ".join(engine.steps)
        facts["device_steps"] = ", ".join(engine.device_steps)
        yield InfoMetricFamily("model_device", "Where it predicts, and what there.", value=facts)
        facts = {"device": engine.device, "name": about.name, "version": about.version}
        facts["sha256"] = about.artifact.sha256
        yield InfoMetricFamily("model", "The model that is served.", value=facts)
        facts = {"python": platform.python_version()}
        facts |= {f"{n.replace('-', '_')}": metadata.version(n) for n in ("scikit-learn", "numpy")}
        yield InfoMetricFamily("build", "What the service runs on.", value=facts)

    @staticmethod
    def _durations(merged: dict[Key, float]) -> HistogramMetricFamily:
        text = "From the first byte that a thread reads to the answer."
        family = HistogramMetricFamily(SECONDS, text, labels=("route", "dialect"))
        for route, dialect in sorted({key[1:3] for key in merged if key[0] == SECONDS}):
            total, buckets = 0.0, []
            for bound in (*map(str, BOUNDS), "+Inf"):
                total += merged.get((SECONDS, route, dialect, bound), 0)
                buckets.append((bound, total))
            seconds = merged.get((SECONDS, route, dialect, "sum"), 0)
            family.add_metric((route, dialect), buckets=buckets, sum_value=seconds)
        return family


def install(app: Flask) -> None:
    """Add the route, and watch requests and predictions."""
    native, folder = app.extensions["native"], os.environ.get("METRICS_DIR")
    totals = Totals(Path(folder) if folder else None)
    metrics = Metrics(native, app.extensions["volumes"], totals)
    native.watchers.append(metrics.prediction)
    app.extensions["access_log"].watchers.append(metrics.request)
    registry = CollectorRegistry()
    registry.register(metrics)
    app.extensions["paths"].append(
        lambda api: {"/metrics": api.get("native", "For Prometheus", api.text, kind="text/plain")}
    )

    @app.get("/metrics")
    def scrape() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
