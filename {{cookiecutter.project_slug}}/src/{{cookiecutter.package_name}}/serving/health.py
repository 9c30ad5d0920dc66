"""Liveness (the process answers) and readiness (this worker's model is proven)."""

import logging
import sys
from collections.abc import Sequence

from flask import Blueprint, Response
from msgspec import json

from ..model.manifest import ModelError
from ..model.predictor import Predictor
from ..operations.logs import VolumeHandler

log = logging.getLogger(__name__)
# gunicorn stops the whole service, instead of starting workers for ever, on this exit code.
WORKER_BOOT_ERROR = 3
LIVE = b'{"live":true}'


class Readiness:
    """Whether this worker takes requests: after its golden rows passed, until it drains."""

    def __init__(self, predictor: Predictor, volumes: Sequence[VolumeHandler] = ()) -> None:
        self._predictor = predictor
        self._volumes = volumes
        self._proven = False
        self._draining = False

    def start(self) -> None:
        """Prove the model in this process; a wrong answer ends it with one clear line.

        Called after the fork: OpenMP's threads do not survive one, so the master never predicts.
        """
        try:
            difference = self._predictor.prove()
        except ModelError as error:
            log.critical("%s", error)
            sys.exit(WORKER_BOOT_ERROR)
        about = self._predictor.engine.about()
        log.info("ready", extra={"largest_golden_difference": difference, **about})
        self._proven = True

    def drain(self) -> None:
        """Tell probes that this worker is about to stop."""
        self._draining = True

    def report(self) -> dict[str, object]:
        """The body of `/health/ready`. A log volume at fault is named, and stops nothing."""
        state = "draining" if self._draining else "ready" if self._proven else "starting"
        fault = next((volume.fault for volume in self._volumes if volume.fault), None)
        facts = {**self._predictor.engine.about(), "log_fault": fault}
        return {"ready": state == "ready", "state": state, **facts}


def blueprint(readiness: Readiness) -> Blueprint:
    """Routes `/health/live` and `/health/ready`."""
    routes = Blueprint("health", __name__, url_prefix="/health")

    @routes.get("/live")
    def live() -> Response:
        return Response(LIVE, mimetype="application/json")

    @routes.get("/ready")
    def ready() -> Response:
        report = readiness.report()
        status = 200 if report["ready"] else 503
        return Response(json.encode(report), status, mimetype="application/json")

    return routes
