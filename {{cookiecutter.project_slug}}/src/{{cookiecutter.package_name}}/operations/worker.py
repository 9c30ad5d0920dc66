"""gunicorn's worker with threads, but what can be answered at once is not handed to one of them.

Handing a request over and back takes longer than a plain prediction. Worse, each thread that waits
for Python's lock is woken, in vain, whenever another one reads or writes: on two cores ten threads
answer two thirds of what one would.
"""

import fcntl
import socket
import termios
from concurrent.futures import Future
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

MOST_BYTES = 4096  # of a request that may be answered at once
NONE = bytes(4)


class Worker(ThreadWorker):  # type: ignore[misc]
    """Asks the app's extension `at_once`, a function of a request's bytes, where there is one."""

    def enqueue_req(self, conn: Any) -> None:
        """Answer a connection's next request: here, in the thread that polls, or in another one."""
        if not self._at_once(conn):
            super().enqueue_req(conn)
            return
        done: Future[Any] = Future()
        done.set_result(self.handle(conn))
        self.finish_request(conn, done)

    def _at_once(self, conn: Any) -> bool:
        """Whether neither the request's bytes nor the client's reading have to be waited for."""
        judge = getattr(self.wsgi, "extensions", {}).get("at_once")
        if judge is None or self.cfg.is_ssl or conn.is_http2:
            return False
        if conn.parser and conn.parser.unreader.buf.getvalue():  # of a request before
            return False
        try:
            if fcntl.ioctl(conn.sock, termios.TIOCOUTQ, NONE) != NONE:
                return False
            seen = conn.sock.recv(MOST_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except OSError:
            return False
        return bool(judge(seen))
