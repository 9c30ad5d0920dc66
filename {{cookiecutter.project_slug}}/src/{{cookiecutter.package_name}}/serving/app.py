"""The Flask app. Start reading here."""

import importlib
import logging
import sys
from pathlib import Path

from flask import Flask

from ..model import predictor
from ..model.manifest import ModelError
from ..model.predictor import Predictor
from ..operations import logs
from . import errors, health, predict
from .access import AccessLog
from .health import WORKER_BOOT_ERROR, Readiness
from .limits import Slots
from .predict import Native
from .settings import Settings, SettingsError

log = logging.getLogger(__name__)
# To take a room away, delete its file and its name here.
ROOMS = (
    "tabular",
    "metrics",
    "drift",
    "web",
    "dialects",
    "openapi",
    "docs",
    "predictions",
    "express",
    "tracing",
)


def create_app(
    settings: Settings, model: Predictor, volume: logs.VolumeHandler | None = None
) -> Flask:
    """The service around one model; not ready before `extensions["readiness"].start()`."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_mb * 1024**2
    app.extensions["settings"] = settings
    app.extensions["paths"] = []  # functions that give parts of the OpenAPI document
    app.extensions["volumes"] = volumes = [volume] if volume else []
    app.extensions["readiness"] = readiness = Readiness(model, volumes)
    app.extensions["access_log"] = access_log = AccessLog(volume)
    slots = Slots(settings.max_concurrent, settings.max_wait_seconds)
    app.extensions["native"] = native = Native(model, slots, settings.max_rows)

    access_log.install(app)
    errors.install(app)
    app.register_blueprint(health.blueprint(readiness))
    app.register_blueprint(predict.blueprint(native))
    for room in ROOMS:
        importlib.import_module(f".{room}", __package__).install(app)
    return app


def from_environment() -> Flask:
    """What gunicorn calls: settings and model from the environment, or one line and an exit."""
    logs.configure("INFO")
    try:
        settings = Settings.from_environment()
        bounds = settings.log_max_mb * 1024**2, settings.log_keep
        volume = logs.configure(settings.log_level, settings.log_dir, *bounds)
        model = predictor.load(Path(settings.model_dir), settings.engine, settings.model_device)
        app = create_app(settings, model, volume)
    except (SettingsError, ModelError) as error:
        log.critical("%s", error)
        sys.exit(WORKER_BOOT_ERROR)
    about = model.manifest
    log.info("model loaded", extra={"model": about.name, "version": about.version})
    return app
