"""A request id in and out, and one log line a request."""

import logging
import re
import time
import uuid

from flask import Flask, Response, g, request

log = logging.getLogger(__name__)
HEADER = "X-Request-ID"
# A client's id goes into logs and headers as it is, so only these are taken.
LEGAL_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def install(app: Flask) -> None:
    """Give each request an id and log its end; probes are logged at DEBUG alone."""

    def begin() -> None:
        given = request.headers.get(HEADER, "")
        g.request_id = given if LEGAL_ID.fullmatch(given) else uuid.uuid4().hex
        g.began = time.perf_counter()

    def end(response: Response) -> Response:
        response.headers[HEADER] = g.request_id
        level = logging.DEBUG if request.path.startswith("/health/") else logging.INFO
        if log.isEnabledFor(level):
            facts = {
                "request_id": g.request_id,
                "method": request.method,
                "path": request.path,
                "status": response.status_code,
                "ms": round((time.perf_counter() - g.began) * 1000, 3),
                "rows": g.get("rows"),
            }
            log.log(level, "request", extra=facts)
        return response

    app.before_request(begin)
    app.after_request(end)
