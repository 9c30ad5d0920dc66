"""V1 of TF Serving and KServe."""

import pytest

PREDICT = "/v1/models/penguins:predict"
ROW = {"island": "Biscoe"}


def test_the_state_of_the_model(client):
    assert client.get("/v1/models").get_json() == {"models": ["penguins"]}
    state = client.get("/v1/models/penguins").get_json()
    assert (state["name"], state["ready"]) == ("penguins", True)
    assert state["model_version_status"][0]["state"] == "AVAILABLE"
    assert client.get("/v1/models/penguins/versions/1").get_json() == state
    assert client.get("/v1/models/penguins/versions/2").status_code == 404


def test_inputs_are_answered_for_both_kinds_of_clients(client):
    answer = client.post(PREDICT, json={"inputs": {"island": ["Biscoe", "Dream"]}}).get_json()
    assert answer["outputs"] == answer["predictions"]
    assert len(answer["outputs"]) == 2
    assert client.post(PREDICT, json={"inputs": [ROW]}).get_json()["outputs"]
    assert client.post(PREDICT, json={"instances": [ROW]}).get_json().keys() == {"predictions"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"instances": [ROW], "inputs": [ROW]}, "either"),
        ({"instances": ROW}, "list of rows"),
        ({"instances": [ROW], "inputz": 1}, "inputz"),
        ({"instances": [ROW], "signature_name": "embed"}, "predict_proba"),
        ({"instances": [["Biscoe", 1]]}, "row 0 has 2 values"),
        ({"inputs": {"island": "Biscoe"}}, "column island"),
        ({"inputs": {"island": ["Biscoe"], "sex": []}}, "differ in length"),
        ([ROW], "object"),
    ],
)
def test_what_is_malformed_is_a_400(client, body, words):
    answer = client.post(PREDICT, json=body)
    assert answer.status_code == 400
    assert words in answer.get_json()["error"]


def test_faults_have_their_place(client):
    errors = client.post(PREDICT, json={"inputs": {"island": ["Biscoe", 3]}}).get_json()["errors"]
    assert errors == [{"loc": ["inputs", "island", 1], "msg": "must be a string, got a number"}]
    errors = client.post(PREDICT, json={"instances": [ROW, {}]}).get_json()["errors"]
    assert errors == [{"loc": ["instances", 1, "island"], "msg": "is missing"}]
