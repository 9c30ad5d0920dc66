"""What a worker takes: bodies up to a size, and a few predictions at once."""

import socket
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import get_ident
from typing import Any

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from .errors import RequestError

CODINGS = {"gzip": 31, "deflate": 15}  # zlib's wbits


def read_body() -> bytes:
    """The body, whatever its Content-Type (real clients send none), unpacked.

    Raises a 413 beyond the limit, packed or not, and a 415 for an unknown Content-Encoding.
    """
    body, limit = request.get_data(cache=False), request.max_content_length or 0
    # Flask refuses an announced length itself, but cuts a chunked body without a word.
    if request.content_length is None and len(body) >= limit:
        raise RequestEntityTooLarge
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    return body if coding in ("identity", "") else unpack(body, coding, limit)


def unpack(body: bytes, coding: str, limit: int) -> bytes:
    """A body without its coding; a small one may hide a huge one, so never more than the limit."""
    if coding not in CODINGS:
        detail = f"Content-Encoding {coding} is not known here; send gzip, deflate or none"
        raise RequestError(415, detail, headers={"Accept-Encoding": "gzip, deflate"})
    stream = zlib.decompressobj(CODINGS[coding])
    try:
        content = stream.decompress(body, limit)
    except zlib.error as error:
        raise RequestError(400, f"the body is not packed by {coding}: {error}") from None
    if stream.unconsumed_tail:
        raise RequestEntityTooLarge
    if not stream.eof:
        raise RequestError(400, f"the body's {coding} stream is cut")
    return content


def check_rows(rows: int, most: int) -> None:
    """Raise a 413 for more rows than allowed."""
    if rows > most:
        advice = "send several requests, or use `model-service score` for a file"
        detail = f"{rows} rows, at most {most} (MAX_ROWS); {advice}"
        raise RequestError(413, detail, reason="too_many_rows")


def waited(environ: Mapping[str, Any]) -> float:
    """Seconds since the last bytes of a request arrived: what it spent in gunicorn's queue.

    gunicorn does not say, but the kernel does, as `tcpi_last_data_recv` of `struct tcp_info` in
    milliseconds. 0 where there is none: a socket of another kind, an operating system but Linux.
    """
    try:
        info = environ["gunicorn.socket"].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 56)
        return float(struct.unpack_from("=I", info, 52)[0]) / 1000
    except (KeyError, AttributeError, OSError, struct.error):
        return 0.0


class Slots:
    """A bounded number of predictions at once in this worker.

    Without a bound gunicorn queues up to `worker_connections` requests, each of which is
    answered later than its client waits. So the time that one spent in that queue counts.
    """

    def __init__(self, count: int, wait_seconds: float) -> None:
        # A queue of tokens: a tenth of the time that a semaphore takes, which is Python.
        self._free: SimpleQueue[None] = SimpleQueue()
        # The thread that polls, if it predicts: it must not wait, and needs no slot.
        self._count, self.wait, self.polling = count, wait_seconds, 0
        for _ in range(count):
            self._free.put(None)

    @contextmanager
    def hold(self, waited: float = 0) -> Iterator[None]:
        """Hold a slot, after a wait in seconds; raises a 503 with Retry-After if none is free."""
        if waited > self.wait or not self.take(self.wait - waited):
            detail = "all prediction slots are busy; try again in a second"
            reason = "busy" if waited <= self.wait else "waited_too_long"
            raise RequestError(503, detail, headers={"Retry-After": "1"}, reason=reason)
        try:
            yield
        finally:
            self.give()

    def take(self, wait: float = 0) -> bool:
        """Whether a slot became free within `wait` seconds; whoever got one gives it back."""
        try:
            if get_ident() != self.polling:
                self._free.get(wait > 0, wait or None)
            return True
        except Empty:
            return False

    def taken(self) -> int:
        """How many are held."""
        return self._count - self._free.qsize()

    def give(self) -> None:
        """Give a slot back."""
        if get_ident() != self.polling:
            self._free.put(None)
