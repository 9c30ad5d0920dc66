"""gunicorn's worker with threads, but what can be answered at once is not handed to one of them.

Handing a request over and back takes longer than a plain prediction. Worse, each thread that waits
for Python's lock is woken, in vain, whenever another one reads or writes: on two cores ten threads
answer half of what one does. In return, the thread that polls must never wait for a client.
"""

import socket
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

MOST_BYTES = 4096  # of a request that may be answered at once


class Held:
    """A client's socket that holds the answer back: sending it may mean waiting."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client
        self._answer = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def sendall(self, data: bytes) -> None:
        """Hold a part of the answer."""
        self._answer += data

    def release(self) -> bytes:
        """Send what the client takes now; the rest of the answer."""
        answer, self._answer = self._answer, b""
        with suppress(OSError):  # full, or gone: a thread that may wait finds out
            return answer[self._client.send(answer, socket.MSG_DONTWAIT) :]
        return answer


class Worker(ThreadWorker):  # type: ignore[misc]
    """Asks the app's extension `at_once`, a function of a request's bytes, where there is one."""

    def enqueue_req(self, conn: Any) -> None:
        """Answer a connection's next request: here, in the thread that polls, or in another one."""
        if not self._at_once(conn):
            super().enqueue_req(conn)
            return
        client, conn.data_ready = conn.sock, True
        conn.sock = held = Held(client)
        try:
            keep = self.handle(conn)
        finally:
            conn.sock = client
        if rest := held.release():
            sent = self.tpool.submit(lambda: client.sendall(rest) or keep)
            sent.add_done_callback(
                lambda _: self.method_queue.defer(self.finish_request, conn, sent)
            )
        else:
            done: Future[Any] = Future()
            done.set_result(keep)
            self.finish_request(conn, done)

    def finish_request(self, conn: Any, done: "Future[Any]") -> None:
        """Go on with a connection, or let another thread close it, which waits for the client."""
        if done.exception() or done.result():
            super().finish_request(conn, done)
        else:
            closed = self.tpool.submit(conn.close, graceful=True)
            closed.add_done_callback(lambda _: self.method_queue.defer(self._count_closed))

    def _count_closed(self) -> None:
        self.nr_conns -= 1

    def _at_once(self, conn: Any) -> bool:
        """Whether all bytes of the next request are here, and it is quickly answered."""
        judge = getattr(self.wsgi, "extensions", {}).get("at_once")
        if judge is None or self.cfg.is_ssl or conn.is_http2:
            return False
        try:
            if conn.parser and conn.parser.unreader.buf.getvalue():  # read with the one before
                return False
            return bool(judge(conn.sock.recv(MOST_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)))
        except OSError:  # nothing is here yet, or the client is gone
            return False
        except Exception:
            self.log.exception("this request is left to another thread")
            return False
