"""gunicorn's worker that answers in the thread that polls, and never waits there."""

import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse

import pytest
from project import PACKAGE, free_port

# Answers with the name of its thread, and as many dots as asked for.
APP = """
import threading

def judge(seen):
    if b"fault" in seen:
        raise ZeroDivisionError("a fault of the judge")
    return b"!" in seen

class App:
    extensions = {"at_once": judge}

    def __call__(self, environ, start_response):
        environ["wsgi.input"].read()
        answer = threading.current_thread().name.encode() + b"." * int(environ["QUERY_STRING"] or 0)
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

app = App()

def bare(environ, start_response):
    return app(environ, start_response)
"""
POLLS, ANOTHER = "MainThread", "ThreadPoolExecutor-0_"


@pytest.fixture
def serve(tmp_path):
    """Start gunicorn with the worker and an app of APP: serve("app") is its process and port."""
    (tmp_path / "app.py").write_text(APP)
    started = []

    def run(app="app"):
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{port}", "--threads=10"]
        command += ["--keep-alive=75", "--graceful-timeout=90", "--no-control-socket", f"app:{app}"]
        command += ["--worker-class", f"{PACKAGE}.operations.worker.Worker"]
        with (tmp_path / "output.txt").open("w") as output:
            to = {"stdout": output, "stderr": subprocess.STDOUT}
            started.append(subprocess.Popen(command, cwd=tmp_path, **to))
        end = time.monotonic() + 30
        while time.monotonic() < end and started[-1].poll() is None:
            try:
                connect(port).close()
                return started[-1], port
            except ConnectionRefusedError:
                time.sleep(0.05)
        pytest.fail((tmp_path / "output.txt").read_text())

    yield run
    for process in started:
        process.terminate()
        process.wait(40)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def request(body="!", dots="", version="1.1", *headers):
    lines = [f"POST /?{dots} HTTP/{version}", f"Content-Length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


def answer(client):
    response = HTTPResponse(client)
    response.begin()
    return response, response.read().decode()


def ask(client, *about):
    client.sendall(request(*about))
    return answer(client)[1]


def test_what_can_be_answered_at_once_is_and_the_rest_by_another_thread(serve, tmp_path):
    _, port = serve()
    with connect(port) as client:
        ask(client)  # it may come after the connection, for which another thread waits
        for _ in range(20):
            assert ask(client) == POLLS
            assert ask(client, "?").startswith(ANOTHER)
            assert ask(client, "fault!").startswith(ANOTHER)
            assert ask(client, "!", "100000") == POLLS + "." * 100_000
    assert "a fault of the judge" in (tmp_path / "output.txt").read_text()


@pytest.mark.parametrize("body", ["!", "?"])
def test_connections_are_kept_and_closed_as_asked(serve, body):
    _, port = serve()
    kept = {("1.1",): "keep-alive", ("1.1", "Connection: close"): "close", ("1.0",): "close"}
    kept |= {("1.0", "Connection: keep-alive"): "keep-alive"}
    for about, connection in kept.items():
        with connect(port) as client:
            ask(client)
            client.sendall(request(body, "", *about))
            response, by = answer(client)
            assert response.headers["Connection"] == connection
            assert by == POLLS or (body, by[:-1]) == ("?", ANOTHER)
            if connection == "close":
                assert client.recv(1) == b""
            else:
                ask(client)


def test_an_app_without_the_extension_is_served_by_other_threads(serve):
    _, port = serve("bare")
    with connect(port) as client:
        assert all(ask(client).startswith(ANOTHER) for _ in range(5))


def test_clients_that_do_not_read_or_not_close_or_are_gone_keep_nobody_waiting(serve):
    process, port = serve()
    large, began = 30_000_000, time.monotonic()
    with connect(port) as client, socket.socket() as deaf, ThreadPoolExecutor() as pool:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(30)
        deaf.connect(("127.0.0.1", port))
        assert len(ask(deaf)) < 30
        deaf.sendall(request("!", large))
        assert [ask(client) for _ in range(20)][1:] == [POLLS] * 19

        lingering = [connect(port) for _ in range(5)]  # gunicorn waits two seconds for each
        for each in lingering:
            each.sendall(request("!", "", "1.1", "Connection: close"))
            answer(each)
        assert [ask(client) for _ in range(20)] == [POLLS] * 20
        assert time.monotonic() - began < 8
        for each in lingering:
            each.close()

        for _ in range(20):
            with connect(port) as gone:
                gone.sendall(request("!", large))
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert [ask(client) for _ in range(20)] == [POLLS] * 20
        assert pool.submit(answer, deaf).result()[1] == POLLS + "." * large
        assert ask(deaf) == POLLS
    assert process.poll() is None


def test_what_came_with_the_request_before_is_answered_by_another_thread(serve):
    """The rest of a request may look like a whole one, and be waited for."""
    _, port = serve()
    with connect(port) as client, connect(port) as sly:
        ask(client), ask(sly)
        first, long = request(), "POST / HTTP/1.1\r\nContent-Length: 1000\r\nX: "
        read_at_once = 8192  # by gunicorn
        head = long + "x" * (read_at_once - len(first) - len(long) - 4) + "\r\n\r\n"
        part = request()
        sly.sendall(first + head.encode() + part)
        time.sleep(0.3)
        assert ask(client) == POLLS
        sly.sendall(b"?" * (1000 - len(part)) + request("?"))
        sly.shutdown(socket.SHUT_WR)
        answers = b"".join(iter(lambda: sly.recv(65536), b"")).decode()
        assert answers.count("200 OK") == answers.count("Thread") == 3
        assert answers.index(POLLS) < answers.index(ANOTHER)


def test_a_stop_answers_every_request(serve):
    process, port = serve()

    def until_closed(client):
        """The number of answers, the last of which says that the worker is stopping."""
        count, kept = 0, True
        while kept:
            client.sendall(request())
            kept, count = answer(client)[0].headers["Connection"] == "keep-alive", count + 1
        return count

    clients = [connect(port) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        counts = [pool.submit(until_closed, client) for client in clients]
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert min(count.result() for count in counts) > 10
    for client in clients:
        client.close()
    assert process.wait(40) == 0
