"""What a worker takes: bodies up to a size, and a few predictions at once."""

from queue import Empty, SimpleQueue

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
        # A queue of tokens: a tenth of the time that a semaphore takes, which is Python.
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            self._free.put(None)
        self._wait = wait_seconds

    def __enter__(self) -> None:
        """Hold a slot; raises a 503 with Retry-After when none became free in time."""
        if not (self.take() or self.take(self._wait)):
            detail = "all prediction slots are busy; try again in a second"
            raise RequestError(503, detail, headers={"Retry-After": "1"})

    def __exit__(self, *_: object) -> None:
        self.give()

    def take(self, wait: float = 0) -> bool:
        """Whether a slot became free within `wait` seconds; whoever got one gives it back."""
        try:
            self._free.get(wait > 0, wait or None)
            return True
        except Empty:
            return False

    def give(self) -> None:
        """Give a slot back."""
        self._free.put(None)
