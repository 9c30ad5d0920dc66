"""A request id in and out, and one log line a request."""

import logging
import os
import re
import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import get_ident

from flask import Flask, Response, g, request
from msgspec import json

from ..operations.logs import VolumeHandler

log = logging.getLogger(__name__)
HEADER = "X-Request-ID"
PROBES = ("/live", "/ready", "/ping", "/health")  # of every protocol
# A client's id goes into logs and headers as it is, so only these are taken.
LEGAL_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id(given: str) -> str:
    """The client's id where it is a legal one, else a new one."""
    return given if LEGAL_ID.fullmatch(given) else secrets.token_hex(16)


# Method, the rule that matched the path, its blueprint, status, rows, and why it was refused.
Answered = tuple[str, str, str, int, int | None, str]


class AccessLog:
    """Writes one line a request, of the form that all other lines have.

    Straight to stdout and the volume: through `logging` a line costs as much as a prediction.
    """

    def __init__(self, volume: VolumeHandler | None) -> None:
        self._volume = volume
        self.watchers: list[Callable[[Answered, float], None]] = []  # called with seconds, too
        self.current: dict[int, tuple[str, str]] = {}  # a thread's request's rule and blueprint
        self.encode = json.Encoder().encode

    def record(
        self,
        request_id: str,
        method: str,
        path: str,
        status: int,
        began: float,
        rows: int | None,
        route: tuple[str, str] = ("none", ""),
        reason: str = "",
    ) -> None:
        """Write the end of a request that began at a `perf_counter`; probes at DEBUG alone.

        `reason` says why it was refused.
        """
        seconds = time.perf_counter() - began
        self.current.pop(get_ident(), None)
        for watch in self.watchers:
            watch((method, *route, status, rows, reason), seconds)
        level = logging.DEBUG if path.endswith(PROBES) else logging.INFO
        if not log.isEnabledFor(level):
            return
        facts = {
            "level": "INFO" if level == logging.INFO else "DEBUG",
            "logger": __name__,
            "message": "request",
            "request_id": request_id,
            "method": method,
            "path": path,
            "status": status,
            "ms": round(seconds * 1000, 3),
            "rows": rows,
            "time": datetime.now(UTC),
        }
        line = self.encode(facts | {"reason": reason} if reason else facts) + b"\n"
        os.write(sys.stdout.fileno(), line)
        if self._volume:
            self._volume.append(line)

    def install(self, app: Flask) -> None:
        """Give each request an id and log its end."""

        def begin() -> None:
            g.request_id = request_id(request.headers.get(HEADER, ""))
            g.began = time.perf_counter()
            rule = request.url_rule.rule if request.url_rule else "none"
            self.current[get_ident()] = g.route = rule, request.blueprint or ""

        def end(response: Response) -> Response:
            response.headers[HEADER] = g.request_id
            about = g.request_id, request.method, request.path, response.status_code, g.began
            self.record(*about, g.get("rows"), g.route, g.get("reason", ""))
            return response

        app.before_request(begin)
        app.after_request(end)
