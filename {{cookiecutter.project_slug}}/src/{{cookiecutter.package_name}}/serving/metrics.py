"""`GET /metrics`, in the text format of Prometheus: which engine serves, and why.

A removable room: without this file and its name in `app.ROOMS` there is no such route.
"""

from collections.abc import Iterator

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import InfoMetricFamily
from prometheus_client.registry import Collector

from ..model.predictor import Predictor


class EngineCollector(Collector):
    """`model_engine_info`; `step` is the one at which compiling ended, empty if it did not."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def collect(self) -> Iterator[InfoMetricFamily]:
        """Read the engine anew: it is known only once the proof has run."""
        engine = self._predictor.engine
        labels = {"engine": engine.name, "step": engine.step or "", "reason": engine.reason}
        yield InfoMetricFamily("model_engine", "What predicts, and why.", value=labels)


def install(app: Flask) -> None:
    """Add the route."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(app.extensions["native"].predictor))

    app.extensions["paths"].append(
        lambda api: {"/metrics": api.get("native", "For Prometheus", api.text, kind="text/plain")}
    )

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
