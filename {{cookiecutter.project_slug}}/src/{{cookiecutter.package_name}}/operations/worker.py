"""gunicorn's worker with threads, but what can be answered at once is not handed to one of them.

Handing a request over and back takes longer than a plain prediction. Worse, each thread that waits
for Python's lock is woken, in vain, whenever another one reads or writes: on two cores ten threads
answer half of what one does. In return, the thread that polls must never wait for a client.
"""

import socket
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import cached_property
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

    def setblocking(self, _: bool) -> None:
        """Leave the socket as the poll needs it: all that is read is here already."""

    def sendall(self, data: bytes) -> None:
        """Hold a part of the answer."""
        self._answer += data

    def release(self) -> bytes:
        """Send what the client takes now; the rest of the answer."""
        answer, self._answer = self._answer, b""  # the parser may keep this object
        with suppress(OSError):  # full, or gone: a thread that may wait finds out
            return answer[self._client.send(answer, socket.MSG_DONTWAIT) :]
        return answer


class Worker(ThreadWorker):  # type: ignore[misc]
    """Asks the app's extension `at_once`, a function of a request's bytes, where there is one."""

    def enqueue_req(self, conn: Any) -> None:
        """Answer a connection's next request: here, in the thread that polls, or in another one."""
        if self._at_once(conn):
            conn.data_ready = True
            self._go_on(conn, *self._answer(conn))
        else:
            super().enqueue_req(conn)

    def on_client_socket_readable(self, conn: Any, client: socket.socket) -> None:
        """The same for one that was kept alive; while answered here, it stays in the poll."""
        if not self._at_once(conn):
            super().on_client_socket_readable(conn, client)
            return
        self.keepalived_conns.remove(conn)
        keep, rest = self._answer(conn)
        if keep and not rest and self.alive:
            conn.set_timeout()
            self.keepalived_conns.append(conn)  # they are in the order of their timeouts
        else:
            self.poller.unregister(client)
            self._go_on(conn, keep, rest)

    def _answer(self, conn: Any) -> tuple[Any, bytes]:
        """Whether to keep the connection, and what the client did not take yet."""
        client = conn.sock
        conn.sock = held = Held(client)
        try:
            keep = self.handle(conn)
        finally:
            conn.sock = client
        return keep, held.release()

    def _go_on(self, conn: Any, keep: Any, rest: bytes) -> None:
        if rest:
            sent = self.tpool.submit(send, conn.sock, rest, keep)
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

    @cached_property
    def _judge(self) -> Callable[[bytes], bool] | None:
        judge: Any = getattr(self.wsgi, "extensions", {}).get("at_once")
        return None if self.cfg.is_ssl else judge

    def _at_once(self, conn: Any) -> bool:
        """Whether all bytes of the next request are here, and it is quickly answered."""
        if self._judge is None or conn.is_http2:
            return False
        try:
            if conn.parser is None:
                seen = conn.sock.recv(MOST_BYTES, socket.MSG_DONTWAIT | socket.MSG_PEEK)
            elif conn.parser.unreader.buf.getvalue():  # read with the one before
                return False
            else:
                seen = conn.sock.recv(MOST_BYTES, socket.MSG_DONTWAIT)
                conn.parser.unreader.unread(seen)
            return self._judge(seen)
        except OSError:  # nothing is here yet, or the client is gone
            return False
        except Exception:
            self.log.exception("this request is left to another thread")
            return False


def send(client: socket.socket, rest: bytes, keep: Any) -> Any:
    """Send the rest of an answer, as long as it takes."""
    client.setblocking(True)
    client.sendall(rest)
    return keep
