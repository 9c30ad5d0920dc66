"""`GET /metrics`, in the text format of Prometheus: the same numbers from whichever worker.

A removable room: without this file and its name in `app.ROOMS` there is no such route.
"""

import os
import platform
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http import HTTPMethod
from importlib import metadata
from itertools import chain
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

from ..model.batch import Batch, Flag
from ..model.manifest import Label
from ..model.prediction import Prediction
from ..operations.logs import VolumeHandler
from ..operations.totals import Numbers, Totals
from .access import AccessLog, Answered
from .predict import Native

# Labels' names, and help, of each counter. Their values are bounded whatever clients send.
COUNTERS: dict[str, tuple[tuple[str, ...], str]] = {
    "http_requests": (("method", "route", "dialect", "status"), "Requests that were answered."),
    "http_requests_refused": (("dialect", "reason"), "Requests that got the one error body."),
    "prediction_rows": (("dialect",), "Rows in requests, refused ones included."),
    "predictions": (("label",), "Answered rows by predicted class; by nothing for a regression."),
    "prediction_flags": (("feature", "flag"), "Values that training never saw."),
    "log_failures": (("file",), "Times that a log file did not take lines."),
}
# What is so at this moment.
GAUGES: dict[str, tuple[tuple[str, ...], str]] = {
    "http_requests_in_flight": (("route", "dialect"), "Requests that threads work on, this aside."),
    "predictions_in_flight": ((), "Prediction slots that are held."),
}
SECONDS = "http_request_duration_seconds"
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
BUCKETS = (*map(str, BOUNDS), "+Inf")
bucket = partial(bisect_left, BOUNDS)  # of seconds, by number
METHODS = frozenset(HTTPMethod)
NATIVE = frozenset(("", "predict", "health", "swagger_ui", "web"))  # no dialects' blueprints
ROUTE = "/metrics"


class Metrics(Collector):
    """Counts requests and predictions, and tells of the model."""

    def __init__(
        self,
        native: Native,
        volumes: Sequence[VolumeHandler],
        access_log: AccessLog,
        folder: str | None,
    ) -> None:
        self._native = native
        self._volumes = volumes
        self._current = access_log.current
        self._has_classes = bool(native.predictor.manifest.target.classes)
        self.more: list[Callable[[Numbers], Iterator[Metric]]] = []  # of other rooms
        self.totals = Totals(Path(folder) if folder else None, self._now)
        self.totals.folds.append(self._count_failures)
        self._requests = self.totals.hold(self._count_requests)
        self._predictions = self.totals.hold(self._count_predictions)

    def _now(self) -> Numbers:
        """What is in flight in this worker."""
        numbers: Numbers = {("predictions_in_flight",): self._native.slots.taken()}
        for (route, blueprint), count in Counter(self._current.copy().values()).items():
            if route != ROUTE:
                numbers["http_requests_in_flight", route, dialect_of(blueprint)] = count
        return numbers

    def request(self, answered: Answered, seconds: float) -> None:
        """Take note of an answered request."""
        self._requests.put((answered, seconds))

    def prediction(self, batch: Batch, prediction: Prediction, request_id: str) -> None:
        """Take note of an answered batch."""
        labels = prediction.labels
        self._predictions.put((labels, batch.flags), len(labels))

    def _count_requests(self, seen: list[tuple[Answered, float]]) -> None:
        durations: defaultdict[Answered, list[float]] = defaultdict(list)
        for answered, seconds in seen:
            durations[answered].append(seconds)
        numbers: Numbers = defaultdict(int)
        for (method, route, blueprint, status, rows, reason), each in durations.items():
            dialect, count = dialect_of(blueprint), len(each)
            method = method if method in METHODS else "other"
            numbers["http_requests", method, route, dialect, str(status)] += count
            numbers[SECONDS, route, dialect, "sum"] += sum(each)
            for place, those in Counter(map(bucket, each)).items():
                numbers[SECONDS, route, dialect, BUCKETS[place]] += those
            if rows:
                numbers["prediction_rows", dialect] += rows * count
            if reason:
                numbers["http_requests_refused", dialect, reason] += count
        self.totals.add(numbers)

    def _count_predictions(self, seen: list[tuple[list[Label], list[Flag]]]) -> None:
        every = chain.from_iterable(labels for labels, _ in seen)
        labels = Counter(every) if self._has_classes else {"": sum(1 for _ in every)}
        numbers: Numbers = {("predictions", str(label)): n for label, n in labels.items()}
        flags = Counter(flag[1:] for _, flags in seen for flag in flags)
        numbers |= {("prediction_flags", *flag): n for flag, n in flags.items()}
        self.totals.add(numbers)

    def _count_failures(self) -> None:
        """Count what this worker's log files did not take."""
        for volume in self._volumes:
            new, volume.counted = volume.failures - volume.counted, volume.failures
            if new:
                self.totals.add({("log_failures", volume.path.name): new})

    def collect(self) -> Iterator[Metric]:
        """All metrics, anew: the engine is known only once the proof has run."""
        merged: Numbers = {("log_failures", volume.path.name): 0 for volume in self._volumes}
        merged |= self.totals.merged()
        ordered = sorted(merged.items())
        for made, kind in ((CounterMetricFamily, COUNTERS), (GaugeMetricFamily, GAUGES)):
            for name, (labels, text) in kind.items():
                family = made(name, text, labels=labels)
                for key, number in ordered:
                    if key[0] == name:
                        family.add_metric(key[1:], number)
                yield family
        yield self._durations(merged)
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
        for collect in self.more:
            yield from collect(merged)

    @staticmethod
    def _durations(merged: Numbers) -> HistogramMetricFamily:
        text = "From the first byte that a thread reads to the answer."
        family = HistogramMetricFamily(SECONDS, text, labels=("route", "dialect"))
        for route, dialect in sorted({key[1:3] for key in merged if key[0] == SECONDS}):
            total, buckets = 0.0, []
            for bound in BUCKETS:
                total += merged.get((SECONDS, route, dialect, bound), 0)
                buckets.append((bound, total))
            seconds = merged.get((SECONDS, route, dialect, "sum"), 0)
            family.add_metric((route, dialect), buckets=buckets, sum_value=seconds)
        return family


def dialect_of(blueprint: str) -> str:
    """The protocol whose route it is."""
    return "native" if blueprint in NATIVE else blueprint


def install(app: Flask) -> None:
    """Add the route, and watch requests and predictions."""
    native, access_log = app.extensions["native"], app.extensions["access_log"]
    folder = os.environ.get("METRICS_DIR")
    metrics = Metrics(native, app.extensions["volumes"], access_log, folder)
    native.watchers.append(metrics.prediction)
    access_log.watchers.append(metrics.request)
    registry = CollectorRegistry()
    registry.register(metrics)
    app.extensions["metrics"] = metrics
    app.extensions["totals"] = metrics.totals
    app.extensions["paths"].append(
        lambda api: {ROUTE: api.get("native", "For Prometheus", api.text, kind="text/plain")}
    )

    @app.get(ROUTE)
    def scrape() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
