"""One error body for every route and fault: JSON; never HTML, a stack trace or the payload.

RFC 9457 allows extension members, so one object is a problem detail, a V1 and V2 error
(`error`) and an MLflow error (`error_code`, `message`) at once.
"""

import logging
from dataclasses import dataclass, field

from flask import Flask, Response, g, request
from msgspec import json
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

log = logging.getLogger(__name__)
LISTED = 10_000  # more faults are counted, not listed: an answer must not outgrow its request
DETAILS = {
    404: "there is no {path} here",
    405: "{method} is not allowed on {path}",
    413: "the body is larger than MAX_BODY_MB allows; send fewer rows at once",
}
Faults = list[tuple[list[str | int], str]]


@dataclass
class RequestError(Exception):
    """A request that is refused; `faults` are (location, message) pairs.

    `reason` is a word for the log and for /metrics, where the status alone does not say it.
    """

    status: int
    detail: str
    faults: Faults = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    reason: str = ""


def refused(error: RequestError) -> Response:
    """The one error body."""
    title = HTTP_STATUS_CODES[error.status]
    g.reason = error.reason or title.lower().replace(" ", "_")
    content = {
        "error": error.detail,
        "error_code": title.upper().replace(" ", "_"),
        "message": error.detail,
        "type": "about:blank",
        "title": title,
        "status": error.status,
        "detail": error.detail,
        "request_id": g.get("request_id"),
        "errors": [{"loc": loc, "msg": msg} for loc, msg in error.faults[:LISTED]],
    }
    # KServe's client reads `error` from application/json alone.
    problem = "application/problem+json" in request.headers.get("Accept", "")
    kind = "application/problem+json" if problem else "application/json"
    return Response(json.encode(content), error.status, error.headers, mimetype=kind)


def http(error: HTTPException) -> Response:
    """What Flask itself refuses."""
    known = DETAILS.get(error.code or 500)
    detail = known.format(path=request.path, method=request.method) if known else error.description
    # Allow of a 405 stays; the content type is that of the one body.
    headers = {k: v for k, v in error.get_headers() if k.lower() != "content-type"}
    return refused(RequestError(error.code or 500, detail or "", headers=headers))


def unexpected(error: Exception) -> Response:
    """A fault of the service: its reason goes to the log, not to the client."""
    log.exception("unexpected error", extra={"request_id": g.get("request_id")})
    detail = "the service failed on this request; its log has the reason under this request_id"
    return refused(RequestError(500, detail))


def install(app: Flask) -> None:
    """Answer every exception of the app in the one form."""
    app.register_error_handler(RequestError, refused)
    app.register_error_handler(HTTPException, http)
    app.register_error_handler(Exception, unexpected)
