"""Which requests the thread that polls answers itself; for none of them it waits."""

import json
import socket
import threading
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path

import hypothesis
import msgspec
import pytest
import requests
from gunicorn.config import Config
from gunicorn.http import get_parser
from gunicorn.http.errors import ParseException
from hypothesis import strategies as st

GOOD = {"instances": [{"island": "Biscoe", "bill_length_mm": 45.0, "sex": None}]}
START = "POST /predict HTTP/1.1"
BODY = json.dumps(GOOD)
LENGTH = f"Content-Length: {len(BODY)}"


def written(*headers, start=START, body=BODY):
    return "\r\n".join([start, "Host: a", *headers, "", body]).encode()


@pytest.mark.parametrize(
    "headers",
    [
        (LENGTH,),
        (f"content-length:{len(BODY)} ", "ACCEPT: */*", "Content-type:application/json"),
        (LENGTH, "Content-Type: application/json; charset=utf-8", "Connection: close"),
    ],
)
def test_a_plain_request_is_answered_at_once(app, headers):
    assert app.extensions["at_once"](written(*headers))


@pytest.mark.parametrize(
    "seen",
    [
        b"",
        written(),
        written(LENGTH)[:-1],
        written(LENGTH) * 2,
        written(LENGTH, LENGTH),
        written(LENGTH, "Transfer-Encoding: chunked"),
        written(LENGTH, "expect: 100-continue"),
        written(LENGTH, "Upgrade: h2c"),
        written(LENGTH, "Content-Encoding : gzip"),
        written(LENGTH, "Content-Type: application/vnd.apache.parquet"),
        written(LENGTH, "Accept: application/json, application/x-npy"),
        written(LENGTH, start="POST /predict HTTP/1.0"),
        written(LENGTH, start="POST /v2 HTTP/1.1"),
        written(f"Content-Length: {3 * 70}", body="{ }" * 70),
    ],
)
def test_what_may_be_waited_for_or_take_long_is_left_to_other_threads(app, seen):
    assert not app.extensions["at_once"](seen)


def test_what_waits_for_a_thread_or_a_gpu_is_left_to_other_threads(app, monkeypatch):
    native, at_once = app.extensions["native"], app.extensions["at_once"]
    engine = native.predictor.engine
    for other in ({"name": "sklearn"}, {"device": "cuda"}):
        monkeypatch.setattr(native.predictor, "engine", msgspec.structs.replace(engine, **other))
        assert not at_once(written(LENGTH))
    monkeypatch.setattr(native.predictor, "engine", engine)
    assert at_once(written(LENGTH))


@contextmanager
def held(slots, count):
    """Slots held by another thread."""

    def hold():
        assert all(slots.take(5) for _ in range(count))
        taken.set()
        enough.wait(60)
        for _ in range(count):
            slots.give()

    taken, enough = threading.Event(), threading.Event()
    other = threading.Thread(target=hold)
    other.start()
    assert taken.wait(60)
    yield
    enough.set()
    other.join()


def test_the_thread_that_polls_waits_for_no_slot(client_of):
    client = client_of(max_concurrent=1, max_wait_seconds=20.0)
    slots = client.application.extensions["native"].slots
    with held(slots, 1):
        assert client.application.extensions["at_once"](written(LENGTH))
        assert client.post("/predict", json=GOOD).status_code == 200
        assert client.post("/predict", data=b"no json").status_code == 400
        assert slots.taken() == 1
    assert slots.taken() == 0


def test_beside_several_predictions_another_thread_answers(app):
    slots, at_once = app.extensions["native"].slots, app.extensions["at_once"]
    with held(slots, 1):
        assert at_once(written(LENGTH))
        with held(slots, 1):
            assert not at_once(written(LENGTH))
    assert at_once(written(LENGTH))


LINES = [
    "Content-Length: 5",
    "Content-Length : 5",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length:",
    "Content-Length: 99999999999999999999",
    "Content-Length: \u0665",
    "content_length: 5",
    "X-Content-Length: 5",
    "X: Content-Length: 5",
    "X: a\nContent-Length: 5",
    " Content-Length: 5",
    "\tfolded",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding:\tidentity",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "Connection: close",
    "Accept: */*",
    "Accept: image/png",
    "Content-Type: application/json",
    "Host: b",
    "No colon",
    "Nul: \0",
    "",
]
STARTS = [
    *["POST /predict HTTP/1.1"] * 8,
    "POST /predict HTTP/1.0",
    "POST http://a/predict HTTP/1.1",
    "POST /predict?a=1 HTTP/1.1",
    "\r\nPOST /predict HTTP/1.1",
    "POST  /predict HTTP/1.1",
    "PRI * HTTP/2.0",
]
ENDS = ["\r\n"] * 15 + ["\n", "\r", "\r\n\r\n", " \r\n"]


@st.composite
def requests_of_all_kinds(draw):
    """Bytes that look like a request, and often like a legal one."""
    body = draw(
        st.sampled_from(["", "{}", BODY, "\r\n\r\n", "a\r\nContent-Length: 5\r\n\r\n12345"])
    )
    name = draw(st.sampled_from(["Content-Length", "content-length", "X: Content-Length"]))
    space = draw(st.sampled_from(["", " ", "\t", " \t "]))
    length = len(body) + draw(st.sampled_from([0] * 8 + [-1, 1]))
    zeros = draw(st.sampled_from(["", "", "0", "000"]))
    own = f"{name}:{space}{zeros}{length}{draw(st.sampled_from(['', ' ', chr(9)]))}"
    lines = draw(st.lists(st.sampled_from(LINES), max_size=3))
    lines.insert(draw(st.integers(0, len(lines))), own)
    lines = [draw(st.sampled_from(STARTS)), *lines, ""]
    text = "".join(line + draw(st.sampled_from(ENDS)) for line in lines) + body
    seen = bytearray(text.encode())
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        seen[draw(st.integers(0, len(seen) - 1))] = draw(st.sampled_from(b"\0\r\n\t :,a5A\xff"))
    return bytes(seen)


def test_gunicorn_waits_for_nothing_of_what_is_answered_at_once(app):
    """It refuses such bytes, or reads them as one whole request with nothing left."""
    at_once, accepted, refused = app.extensions["at_once"], [], []

    @hypothesis.settings(max_examples=2000, deadline=None, database=None, derandomize=True)
    @hypothesis.given(requests_of_all_kinds())
    def check(seen):
        if not at_once(seen):
            return
        ours, peer = socket.socketpair()
        with ours, peer:
            peer.sendall(seen)
            ours.setblocking(False)  # whoever waits raises an OSError
            parser = get_parser(Config(), ours, ("127.0.0.1", 1))
            try:
                request = next(parser)
            except ParseException:
                refused.append(seen)
                return
            assert (request.method, request.uri, request.version) == ("POST", "/predict", (1, 1))
            assert seen.endswith(b"\r\n\r\n" + request.body.read())
            assert parser.finish_body()
            assert parser.unreader.buf.getvalue() == b""
            with pytest.raises(BlockingIOError):
                ours.recv(1)
            accepted.append(seen)

    check()
    assert len(accepted) > 100
    assert len(refused) > 20


def answer(client):
    """Status, headers but the time, and body of the next answer."""
    response = HTTPResponse(client)
    response.begin()
    return response.status, {**response.headers, "Date": ""}, response.read()


def test_both_threads_give_the_same_answers_and_slow_clients_hold_up_neither(start):
    service = start(WEB_CONCURRENCY="1")
    service.ready()
    address = "127.0.0.1", int(service.url.rpartition(":")[2])
    [worker] = service.workers()

    def connect():
        return socket.create_connection(address, timeout=30)

    def seconds():
        """CPU time of the thread that polls, and of the others."""
        used = {
            int(task.name): int((task / "schedstat").read_text().split()[0])
            for task in Path(f"/proc/{worker}/task").iterdir()
        }
        return used.pop(worker) / 1e9, sum(used.values()) / 1e9

    large = json.dumps(GOOD | {"instances": GOOD["instances"] * 100})
    long = written(f"Content-Length: {len(large)}", body=large)
    assert len(long) > 4096
    plain = written(LENGTH)
    parts = [plain[:30], plain[: -len(BODY)], plain[:-9], long[:-1], plain + plain[:-1], b""]
    slow = [connect() for _ in parts]
    for client, part in zip(slow, parts, strict=True):
        client.sendall(part)
    with connect() as client:
        before = seconds()
        for _ in range(300):
            client.sendall(plain)
            assert answer(client)[0] == 200
        polls, others = (now - then for now, then in zip(seconds(), before, strict=True))
        assert polls > others
        assert requests.get(f"{service.url}/health/ready", timeout=10).ok

        for body in (BODY, "no json", json.dumps({"instances": [{"island": 3}]})):
            about = f"Content-Length: {len(body)}", "X-Request-ID: id-1"
            for close in ("keep-alive", "close"):
                given = []
                for odd in ("", "Upgrade: none"):
                    with connect() as other:
                        other.sendall(plain)  # the first one may come after the connection
                        answer(other)
                        headers = *about, f"Connection: {close}", *filter(None, [odd])
                        other.sendall(written(*headers, body=body))
                        given.append(answer(other))
                assert given[0] == given[1]
                assert given[0][0] == {BODY: 200, "no json": 400}.get(body, 422)
                assert given[0][1]["Connection"] == close
    for client, part in zip(slow, parts, strict=True):
        whole = long if part == long[:-1] else plain
        client.sendall(whole[len(part) % len(whole) :])
        assert answer(client)[0] == 200
        client.close()
