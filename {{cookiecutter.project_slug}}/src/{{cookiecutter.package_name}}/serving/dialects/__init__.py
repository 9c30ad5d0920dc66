"""Other servers' protocols, each a file: an adapter from its wire format to a `Batch` and back.

None of them validates, predicts or logs: `Native` does, for all. Each has `routes(service)`, a
blueprint, and `paths(api)`, its part of the OpenAPI document.
"""

import importlib
from dataclasses import dataclass

from flask import Flask

from ...model.manifest import Manifest
from ...model.schema import Schema
from ..errors import RequestError
from ..health import Readiness
from ..predict import Native
from ..settings import Settings, SettingsError

# To take a dialect away, delete its file and its name here.
DIALECTS = ("v2", "v1", "mlflow", "sagemaker", "vertex")


@dataclass(frozen=True)
class Service:
    """What a dialect speaks for."""

    native: Native
    readiness: Readiness
    settings: Settings

    @property
    def manifest(self) -> Manifest:
        """Of the model that is served."""
        return self.native.predictor.manifest

    @property
    def schema(self) -> Schema:
        """Of the model that is served."""
        return self.native.predictor.schema

    @property
    def names(self) -> list[str]:
        """The features' names, in the model's order."""
        return [feature.name for feature in self.manifest.features]

    def check_ready(self) -> None:
        """Raise a 503 unless this worker takes requests."""
        report = self.readiness.report()
        if not report["ready"]:
            raise RequestError(503, f"the model is not ready: {report['state']}")

    def check_model(self, name: str, version: str | None = None) -> None:
        """Raise a 404 for any other model than the one that is served."""
        if name != self.manifest.name:
            raise RequestError(404, f"Model {name} not found")
        if version not in (None, self.manifest.version):
            raise RequestError(404, f"Model {name} with version {version} not found")


def chosen(settings: Settings) -> list[str]:
    """The dialects that DIALECTS names; `/invocations` is MLflow's or SageMaker's, never both's."""
    named = {name.strip() for name in settings.dialects.split(",")}
    known = ("all", "native", *DIALECTS)
    if wrong := sorted(named - {*known}):
        raise SettingsError(
            f"DIALECTS={settings.dialects!r}: {', '.join(wrong)} is none of {', '.join(known)}"
        )
    names = [name for name in DIALECTS if name in named or "all" in named]
    owner = settings.invocations or ("mlflow" if "mlflow" in names else "sagemaker")
    other = "mlflow" if owner == "sagemaker" else "sagemaker"
    return [name for name in names if name != other]


def install(app: Flask) -> None:
    """Add the routes of the chosen dialects."""
    settings: Settings = app.extensions["settings"]
    service = Service(app.extensions["native"], app.extensions["readiness"], settings)
    for name in chosen(settings):
        dialect = importlib.import_module(f".{name}", __name__)
        app.register_blueprint(dialect.routes(service))
        app.extensions["paths"].append(dialect.paths)
