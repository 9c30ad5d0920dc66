"""The native API in this process: answers, refusals, health, request ids."""

import json
import socket
import time

import msgspec
import numpy as np
import pytest
from project import ROOT, load

GOOD = {"island": "Biscoe", "bill_length_mm": 45.0, "sex": None}


def post(client, body, **kwargs):
    return client.post(
        "/predict", data=body if isinstance(body, bytes) else json.dumps(body), **kwargs
    )


def check_error(answer, status):
    """The one error body, in every refusal."""
    body = answer.get_json()
    assert answer.status_code == status
    assert answer.mimetype == "application/json"
    names = "error error_code message type title status detail request_id errors"
    assert body.keys() == set(names.split())
    assert body["status"] == status
    assert body["error"] == body["message"] == body["detail"] != ""
    assert body["request_id"] == answer.headers["X-Request-ID"]
    return body


def test_a_prediction(client, predictor):
    answer = post(client, {"instances": [GOOD]})
    assert answer.status_code == 200
    body = answer.get_json()
    [prediction] = body["predictions"]
    assert prediction["label"] in predictor.manifest.target.classes
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)
    assert prediction["flags"] == []
    assert body["model"] == {"name": "penguins", "version": "1"}
    assert body["request_id"] == answer.headers["X-Request-ID"]


def test_a_row_answers_the_same_alone_in_a_batch_and_in_any_order(client, rows):
    def ask(instances):
        return post(client, {"instances": instances}).get_json()["predictions"]

    batch = ask(rows)
    assert any(row["sex"] is None for row in rows)  # the known trap is among them
    assert [ask([row])[0] for row in rows] == batch
    assert ask(rows[::-1]) == batch[::-1]
    absent = [{name: value for name, value in row.items() if value is not None} for row in rows]
    assert ask(absent) == batch


def test_the_estimator_gets_the_same_dtypes_whoever_is_in_the_batch(predictor, rows):
    frame = load("model.reference").frame
    dtypes = {
        tuple(map(str, frame(predictor.schema.read(batch)).dtypes))
        for batch in (rows, rows[:1], [{"island": "Dream"}])
    }
    assert dtypes == {("object", "float64", "float64", "float64", "float64", "object")}


def test_answers_are_those_of_scikit_learn(client, rows, table):
    """Against the usual code: joblib, a DataFrame read from the CSV, the pipeline's methods."""
    import joblib

    estimator = joblib.load(ROOT / "models/model.joblib")
    answers = post(client, {"instances": rows}).get_json()["predictions"]
    assert [a["label"] for a in answers] == estimator.predict(table).tolist()
    ours = [[a["probabilities"][name] for name in estimator.classes_] for a in answers]
    np.testing.assert_array_equal(ours, estimator.predict_proba(table))


def test_unknown_and_extreme_values_are_flagged(client):
    row = {"island": "Atlantis", "body_mass_g": 99_999}
    [prediction] = post(client, {"instances": [row]}).get_json()["predictions"]
    assert prediction["flags"] == [
        {"feature": "island", "flag": "unknown_category"},
        {"feature": "body_mass_g", "flag": "above_maximum"},
    ]


def test_a_regression_answers_with_numbers(regression):
    model = load("model.predictor").load(regression)
    assert model.check_golden() <= 1e-9
    app = load("serving.app").create_app(load("serving.settings").Settings(), model)
    answer = post(app.test_client(), {"instances": [{"area": 0.5}]}).get_json()
    assert answer["predictions"] == [{"label": pytest.approx(11.5), "flags": []}]


def test_no_rows_no_answers(client):
    assert post(client, {"instances": []}).get_json()["predictions"] == []


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_any_content_type(client, content_type):
    assert post(client, {"instances": [GOOD]}, content_type=content_type).status_code == 200


def test_a_bare_nan_is_missing(client):
    bare = post(client, b'{"instances": [{"island": "Biscoe", "body_mass_g": NaN}]}')
    null = post(client, {"instances": [{"island": "Biscoe", "body_mass_g": None}]})
    assert bare.get_json()["predictions"] == null.get_json()["predictions"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"instances": [{"island": "\\ud800"}]}', "surrogates not allowed"),
        (b'{"instances": [{"\\ud800": 1}]}', "surrogates not allowed"),
        (b'{"instances": [{"body_mass_g": ' + b"9" * 5000 + b"}]}", "no JSON"),
        ([], "must be a JSON object"),
        ({}, "must be a JSON object"),
        ({"instances": GOOD}, "must be a JSON object"),
        ({"instances": [GOOD], "params": {}}, "it also has params"),
    ],
)
def test_another_form_is_400(client, body, words):
    assert words in check_error(post(client, body), 400)["error"]


def test_faults_are_422_with_every_place(client):
    body = check_error(
        post(client, {"instances": [GOOD, {"island": 3, "bill_lenght_mm": 1}, 7, {"sex": "male"}]}),
        422,
    )
    assert body["error"].startswith("4 fault(s) in 3 row(s)")
    assert [fault["loc"] for fault in body["errors"]] == [
        ["instances", 1, "island"],
        ["instances", 1, "bill_lenght_mm"],
        ["instances", 2],
        ["instances", 3, "island"],
    ]
    assert "did you mean 'bill_length_mm'?" in body["errors"][1]["msg"]


def test_a_refusal_never_repeats_the_payload(client):
    secret = "4111111111111111"
    text = post(client, {"instances": [{"island": "Biscoe", "body_mass_g": secret}]}).text
    assert "body_mass_g" in text
    assert secret not in text


def test_the_list_of_faults_is_bounded_and_says_so(client):
    body = check_error(post(client, {"instances": [{}] * 10_001}), 422)
    assert body["error"].startswith("10001 fault(s)")
    assert body["error"].endswith("the first 10000 of them")
    assert len(body["errors"]) == 10_000


def test_too_many_rows_are_413(client):
    assert "50001 rows" in check_error(post(client, {"instances": [{}] * 50_001}), 413)["error"]


def test_a_body_that_is_too_large_is_413(client):
    assert "MAX_BODY_MB" in check_error(post(client, b" " * (16 * 1024**2 + 1)), 413)["error"]


def test_404_and_405(client):
    assert "/nowhere" in check_error(client.get("/nowhere"), 404)["error"]
    answer = client.get("/predict")
    assert "GET" in check_error(answer, 405)["error"]
    assert "POST" in answer.headers["Allow"]


def test_an_unexpected_error_is_a_500_without_its_reason(app, client, monkeypatch, caplog):
    def fail(self, batch):
        raise RuntimeError("secret reason")

    monkeypatch.setattr(load("model.predictor").Predictor, "predict", fail)
    answer = post(client, {"instances": [GOOD]}, headers={"X-Request-ID": "case-7"})
    assert check_error(answer, 500)["request_id"] == "case-7"
    assert "secret reason" not in answer.text
    assert "secret reason" in caplog.text


def test_problem_json_when_asked_for(client):
    answer = client.get("/nowhere", headers={"Accept": "application/problem+json"})
    assert answer.mimetype == "application/problem+json"
    assert answer.get_json(force=True)["title"] == "Not Found"


@pytest.mark.parametrize(
    ("given", "kept"), [("order-66:a_b.c", True), ("a b", False), ("x" * 129, False)]
)
def test_a_request_id_is_kept_or_made(client, given, kept):
    answer = post(client, {"instances": []}, headers={"X-Request-ID": given})
    assert (answer.headers["X-Request-ID"] == given) is kept
    assert answer.get_json()["request_id"] == answer.headers["X-Request-ID"] != ""


def test_probes_are_logged_at_debug_alone(client, capfd, caplog):
    caplog.set_level("INFO")
    for path in ("/health/live", "/health/ready", "/v2/health/ready", "/ping", "/model"):
        client.get(path)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["path"] for line in lines if line["message"] == "request"] == ["/model"]


def test_the_model_route_is_the_manifest_and_says_which_engine_serves(app, client):
    body = client.get("/model").get_json()
    engine = body.pop("engine")
    assert body == json.loads((ROOT / "models/manifest.json").read_bytes())
    assert engine == json.loads(msgspec.json.encode(app.extensions["native"].predictor.engine))
    assert engine["name"] in ("compiled", "sklearn")


def test_ready_after_the_golden_rows_and_until_the_drain(predictor):
    app = load("serving.app").create_app(load("serving.settings").Settings(), predictor)
    client, readiness = app.test_client(), app.extensions["readiness"]

    def state():
        answer = client.get("/health/ready")
        return answer.status_code, answer.get_json()["state"]

    assert state() == (503, "starting")
    readiness.start()
    assert state() == (200, "ready")
    readiness.drain()
    assert state() == (503, "draining")
    assert client.get("/health/live").get_json() == {"live": True}


def test_when_all_slots_are_busy_the_answer_is_503(predictor):
    settings = load("serving.settings").Settings(max_concurrent=1, max_wait_seconds=0.1)
    limits, errors = load("serving.limits"), load("serving.errors")
    slots = limits.Slots(settings.max_concurrent, settings.max_wait_seconds)
    with slots.hold(), pytest.raises(errors.RequestError) as caught, slots.hold():
        pytest.fail("two held the one slot")
    assert caught.value.status == 503
    assert caught.value.headers["Retry-After"] == "1"
    with slots.hold():
        pass  # given back


def test_the_kernel_says_how_long_a_request_waited():
    waited = load("serving.limits").waited
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        client.sendall(b"GET")
        time.sleep(0.3)
        accepted = server.accept()[0]
        assert 0.25 < waited({"gunicorn.socket": accepted}) < 5
        client.sendall(b" /")
        time.sleep(0.02)
        assert waited({"gunicorn.socket": accepted}) < 0.25
        accepted.close()
    assert waited({"gunicorn.socket": accepted}) == waited({}) == 0  # closed, none


def test_nan_and_infinity_become_null(app, client, monkeypatch):
    prediction, form = load("model.prediction").Prediction, load("model.prediction").Form
    monkeypatch.setattr(
        load("model.predictor").Predictor,
        "predict",
        lambda self, batch: prediction(
            [float("nan")], np.array([[np.inf, 0.5]]), form(["a", "b"], has_shares=True)
        ),
    )
    [answer] = post(client, {"instances": [GOOD]}).get_json()["predictions"]
    assert answer["label"] is None
    assert answer["probabilities"]["a"] is None
