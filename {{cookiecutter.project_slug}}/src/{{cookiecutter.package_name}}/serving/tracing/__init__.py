"""A span for each request, sent by OpenTelemetry to the collector of OTEL_EXPORTER_OTLP_ENDPOINT.

Without such a variable nothing of it is even imported. The other standard variables hold, too:
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

A removable room: delete the folder and its name in `app.ROOMS`.
"""

import os

from flask import Flask

from ..settings import SettingsError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def install(app: Flask) -> None:
    """Put spans before all else, the express lane included, if there is where to send them."""
    name = next((name for name in ENDPOINTS if os.environ.get(name)), None)
    if name is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    try:
        from . import spans
    except ImportError as error:
        cure = "pip install -r requirements/tracing.txt, or docker build --build-arg EXTRAS=tracing"
        raise SettingsError(f"{name} is set, but {error.name} is not installed: {cure}") from None
    access_log, about = app.extensions["access_log"], app.extensions["native"].predictor.manifest
    tracing = spans.Tracing(app.wsgi_app, about)
    app.wsgi_app = tracing  # type: ignore[method-assign]
    access_log.watchers.append(tracing.request)
    access_log.encode = spans.with_ids(access_log.encode)
