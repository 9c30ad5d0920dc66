"""The Flask app. Start reading here."""

import logging
import sys
from pathlib import Path

from flask import Flask

from ..model import predictor
from ..model.manifest import ModelError
from ..model.predictor import Predictor
from ..operations import logs
from . import access, errors, health, predict
from .health import WORKER_BOOT_ERROR, Readiness
from .limits import Slots
from .settings import Settings, SettingsError

log = logging.getLogger(__name__)


def create_app(
    settings: Settings, model: Predictor, volume: logs.VolumeHandler | None = None
) -> Flask:
    """The service around one model; not ready before `extensions["readiness"].start()`."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_mb * 1024**2
    app.extensions["readiness"] = readiness = Readiness(model, volume)
    slots = Slots(settings.max_concurrent, settings.max_wait_seconds)

    access.install(app)
    errors.install(app)
    app.register_blueprint(health.blueprint(readiness))
    app.register_blueprint(predict.blueprint(model, slots, settings.max_rows))
    return app


def from_environment() -> Flask:
    """What gunicorn calls: settings and model from the environment, or one line and an exit."""
    logs.configure("INFO", "")
    try:
        settings = Settings.from_environment()
        volume = logs.configure(settings.log_level, settings.log_dir)
        model = predictor.load(Path(settings.model_dir))
    except (SettingsError, ModelError) as error:
        log.critical("%s", error)
        sys.exit(WORKER_BOOT_ERROR)
    about = model.manifest
    log.info("model loaded", extra={"model": about.name, "version": about.version, "device": "cpu"})
    return create_app(settings, model, volume)
