"""An express lane for the plain prediction, before Flask.

Of a compiled prediction's time Flask's routing and contexts take more than half. A plain request,
JSON in and out, of legal rows, needs none of it. Whatever is not plain, each refusal, and any
error is handed to Flask as it came, so there is one place that answers those.

A removable room: without this file and its name in `app.ROOMS`, Flask answers every request.
"""

import re
import time
from collections.abc import Iterable
from io import BytesIO
from threading import get_ident
from typing import TYPE_CHECKING

from flask import Flask

from .access import HEADER, AccessLog, request_id
from .limits import waited
from .predict import Native

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ROUTE = "/predict", "predict"
JSON = ("", "*/*", "application/json", "application/json; charset=utf-8")
# A head that leaves no doubt where its request ends.
START = b"POST /predict HTTP/1.1\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?=\r\n)", re.IGNORECASE)
# With these its end is elsewhere, or a few bytes are many rows.
ODD = re.compile(
    rb"\r\n(?:(?:transfer|content)-encoding|expect|upgrade|(?:content-type|accept)"
    rb"(?!:[ \t]*(?:%b)[ \t]*\r\n))[ \t]*:" % "|".join(map(re.escape, JSON)).encode(),
    re.IGNORECASE,
)
# In the thread that polls: rows, and predictions in others. Beside several long ones one thread
# gets Python's lock too seldom to answer for all.
MOST_ROWS, MOST_OTHERS = 64, 1


class Express:
    """WSGI middleware around the app."""

    def __init__(
        self, app: "WSGIApplication", native: Native, access_log: AccessLog, max_bytes: int
    ) -> None:
        self._app = app
        self._current = access_log.current
        self._record = access_log.record
        self._native = native
        self._max_bytes = max_bytes

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Answer a plain prediction; pass anything else on."""
        if environ["PATH_INFO"] != "/predict" or environ["REQUEST_METHOD"] != "POST":
            return self._app(environ, start_response)
        length, kind = environ.get("CONTENT_LENGTH", ""), environ.get("CONTENT_TYPE", "")
        if (
            not length.isdigit()
            or int(length) > self._max_bytes
            or "HTTP_TRANSFER_ENCODING" in environ
            or "HTTP_CONTENT_ENCODING" in environ
            or kind not in JSON
            or environ.get("HTTP_ACCEPT", "") not in JSON
            or waited(environ) > self._native.slots.wait
        ):
            return self._app(environ, start_response)
        began = time.perf_counter()
        self._current[get_ident()] = ROUTE
        own_id = request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        try:
            body = environ["wsgi.input"].read(int(length))
        except OSError:  # the client is gone
            self._current.pop(get_ident(), None)
            raise
        try:
            answer, rows = self._native.plain(body, own_id)
        except Exception:  # Flask meets it again, answers and logs it
            answer, rows = None, 0
        if answer is None:
            environ["wsgi.input"], environ["HTTP_X_REQUEST_ID"] = BytesIO(body), own_id
            return self._app(environ, start_response)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(answer))),
            (HEADER, own_id),
        ]
        start_response("200 OK", headers)
        self._record(own_id, "POST", "/predict", 200, began, rows, ROUTE)
        return (answer,)

    def at_once(self, seen: bytes) -> bool:
        """Whether these bytes are a whole plain request, which the calling thread answers soon."""
        self._native.slots.polling = get_ident()
        end = seen.find(b"\r\n\r\n") + 2
        if end < 2 or not seen.startswith(START) or ODD.search(seen, 0, end):
            return False
        lengths = LENGTH.findall(seen, 0, end)
        if len(lengths) != 1 or int(lengths[0]) != len(seen) - end - 2:
            return False
        engine = self._native.predictor.engine
        if (engine.name, engine.device) != ("compiled", "cpu"):
            return False
        few = seen.count(b"{", end) <= MOST_ROWS + 1
        return few and self._native.slots.taken() <= MOST_OTHERS


def install(app: Flask) -> None:
    """Put the lane before the app."""
    native, access_log = app.extensions["native"], app.extensions["access_log"]
    lane = Express(app.wsgi_app, native, access_log, app.config["MAX_CONTENT_LENGTH"])
    app.wsgi_app = lane  # type: ignore[method-assign]
    app.extensions["at_once"] = lane.at_once
