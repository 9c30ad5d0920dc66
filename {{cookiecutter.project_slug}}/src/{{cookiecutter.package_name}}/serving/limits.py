"""What a worker takes: bodies up to a size, and a few predictions at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from .errors import RequestError


def read_body() -> bytes:
    """The body, whatever its Content-Type (real clients send none); a 413 beyond the limit."""
    body, limit = request.get_data(cache=False), request.max_content_length
    # Flask refuses an announced length itself, but cuts a chunked body without a word.
    if request.content_length is None and limit is not None and len(body) >= limit:
        raise RequestEntityTooLarge
    return body


class Slots:
    """A bounded number of predictions at once in this worker.

    Without a bound gunicorn queues up to `worker_connections` requests, each of which is
    answered later than its client waits.
    """

    def __init__(self, count: int, wait_seconds: float) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._wait = wait_seconds

    @contextmanager
    def one(self, *, wait: bool = True) -> Iterator[None]:
        """Hold a slot; raises a 503 with Retry-After when none became free in time."""
        if not self._free.acquire(timeout=self._wait if wait else 0):
            detail = "all prediction slots are busy; try again in a second"
            raise RequestError(503, detail, headers={"Retry-After": "1"})
        try:
            yield
        finally:
            self._free.release()
