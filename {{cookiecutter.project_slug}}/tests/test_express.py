"""The express lane answers as Flask does, and leaves to Flask what is not plain."""

import gzip
import json

import pytest
from project import load

GOOD = {"instances": [{"island": "Biscoe", "bill_length_mm": 45.0, "sex": None}]}


@pytest.fixture
def seen(app, monkeypatch):
    """The requests that reach Flask itself."""
    passed, inner = [], app.wsgi_app._app

    def flask(environ, start_response):
        passed.append(environ["PATH_INFO"])
        return inner(environ, start_response)

    monkeypatch.setattr(app.wsgi_app, "_app", flask)
    return passed


def ask(client, content, **headers):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = {"X-Request-ID": "id-1"} | {k.replace("_", "-"): v for k, v in headers.items()}
    return client.post("/predict", data=body, headers=headers)


def test_a_plain_prediction_is_the_one_that_flask_gives(client, seen, capfd, caplog):
    caplog.set_level("INFO")
    lane = ask(client, GOOD)
    assert seen == []
    flask = ask(client, GOOD, Content_Type="text/plain")
    assert seen == ["/predict"]
    assert (lane.data, lane.status_code) == (flask.data, 200)
    assert dict(lane.headers) == dict(flask.headers)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    logged = [{**line, "ms": 0, "time": ""} for line in lines if line["message"] == "request"]
    assert logged[0] == logged[1]
    assert logged[0]["rows"] == 1


@pytest.mark.parametrize("kind", [None, "application/json", "application/json; charset=utf-8"])
@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_what_clients_send_for_json_is_plain(client, seen, kind, accept):
    headers = {"Content_Type": kind, "Accept": accept}
    assert ask(client, GOOD, **{k: v for k, v in headers.items() if v}).status_code == 200
    assert seen == []


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        ({"instances": [{"island": 3}]}, {}, 422),
        ({"instances": [{"island": "Biscoe", "body_mass_g": float("nan")}]}, {}, 200),
        (b"no json", {}, 400),
        (GOOD, {"Accept": "application/x-npy"}, 200),
        (gzip.compress(json.dumps(GOOD).encode()), {"Content_Encoding": "gzip"}, 200),
        (b" " * 17 * 1024**2, {}, 413),
    ],
)
def test_what_is_not_plain_is_left_to_flask(client, seen, content, headers, status):
    answer = ask(client, content, **headers)
    assert seen == ["/predict"]
    assert answer.status_code == status
    assert answer.headers["X-Request-ID"] == "id-1"


def test_an_error_in_the_lane_is_answered_and_logged_by_flask(
    app, client, seen, caplog, monkeypatch
):
    def fail(self, batch):
        raise ZeroDivisionError("secret reason")

    monkeypatch.setattr(load("model.predictor").Predictor, "predict", fail)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    answer = ask(client, GOOD)
    assert seen == ["/predict"]
    assert answer.status_code == 500
    assert answer.get_json()["request_id"] == "id-1"
    assert "secret" not in answer.text
    assert "secret reason" in caplog.text


def test_a_busy_service_answers_503_once_it_waited(predictor, monkeypatch):
    settings = load("serving.settings").Settings(max_concurrent=1, max_wait_seconds=0.1)
    app = load("serving.app").create_app(settings, predictor)
    with app.wsgi_app._native.slots.hold():
        answer = ask(app.test_client(), GOOD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert ask(app.test_client(), GOOD).status_code == 200
