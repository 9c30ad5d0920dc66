"""What of tracing needs OpenTelemetry."""

import logging
import os
import threading
from collections.abc import Callable, Iterable
from http import HTTPMethod
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    NoOpTracer,
    SpanKind,
    StatusCode,
    format_span_id,
    format_trace_id,
    get_current_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ...model.manifest import Manifest
from ..access import PROBES, Answered, request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from opentelemetry.trace import Tracer

UNTRACED = (*PROBES, "/metrics")
METHODS = frozenset(HTTPMethod)
PARENT = TraceContextTextMapPropagator()  # https://www.w3.org/TR/trace-context/


class Tracing:
    """WSGI middleware: a span around each request, in OpenTelemetry's words for HTTP servers.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/
    """

    def __init__(self, app: "WSGIApplication", about: Manifest) -> None:
        self._app = app
        self._name = about.name
        self._model = {"model.name": about.name, "model.version": about.version}
        self._lock = threading.Lock()
        self._process = 0
        self._tracer: Tracer = NoOpTracer()
        for handler in logging.getLogger().handlers:
            handler.addFilter(tag)

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer within a span, a child of the client's if it sent a `traceparent`."""
        if environ["PATH_INFO"].endswith(UNTRACED):
            return self._app(environ, start_response)
        if self._process != os.getpid():
            self._start()
        own_id = environ["HTTP_X_REQUEST_ID"] = request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        sent = {name: environ.get(f"HTTP_{name.upper()}", "") for name in PARENT.fields}
        known = (method := environ["REQUEST_METHOD"]) in METHODS
        attributes = self._model | {
            "http.request.method": method if known else "_OTHER",
            "url.scheme": environ["wsgi.url_scheme"],
            "url.path": environ["PATH_INFO"],
            "client.address": environ.get("REMOTE_ADDR", ""),
            "user_agent.original": environ.get("HTTP_USER_AGENT", ""),
            "request.id": own_id,
        }
        parent, kind = PARENT.extract(sent, Context()), SpanKind.SERVER
        name = method if known else "HTTP"
        with self._tracer.start_as_current_span(name, parent, kind, attributes):
            return self._app(environ, start_response)

    def request(self, answered: Answered, seconds: float) -> None:
        """Say in the current span how its request ended."""
        method, route, _, status, rows, reason = answered
        span = get_current_span()
        span.set_attribute("http.response.status_code", status)
        if route != "none":
            span.update_name(f"{method} {route}")
            span.set_attribute("http.route", route)
        if rows is not None:
            span.set_attribute("prediction.rows", rows)
        if reason:
            span.set_attribute("prediction.refused", reason)
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(StatusCode.ERROR)

    def _start(self) -> None:
        """In a worker's first request: the thread that sends must start after the fork."""
        with self._lock:
            if self._process == os.getpid():
                return
            # What the environment names itself comes last.
            resource = Resource.create().merge(Resource({"service.name": self._name}))
            provider = TracerProvider(resource=resource.merge(OTELResourceDetector().detect()))
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
            self._tracer = provider.get_tracer(__package__ or "")
            self._process = os.getpid()


def ids() -> dict[str, str]:
    """The ids of the current span, if there is one, for a log line."""
    span = get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    return {"trace_id": format_trace_id(span.trace_id), "span_id": format_span_id(span.span_id)}


def with_ids(encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """The access log's encoder, with the ids in each line."""
    return lambda facts: encode(facts | ids())


def tag(record: logging.LogRecord) -> bool:
    """Put the ids into any other log line; a filter that lets all pass."""
    vars(record).update(ids())
    return True
