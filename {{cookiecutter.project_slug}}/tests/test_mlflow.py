"""MLflow's scoring server: its forms, and the messages that its own tests ask for."""

import pytest

ROW = {"island": "Biscoe"}


def invoke(client, body, **headers):
    if isinstance(body, (bytes, str)):
        return client.post("/invocations", data=body, headers=headers)
    return client.post("/invocations", json=body, headers=headers)


def test_probes_and_version(client):
    for path in ("/ping", "/health"):
        assert (client.get(path).status_code, client.get(path).data) == (200, b"\n")
    assert client.get("/version").text.split(".")[0].isdigit()


def test_a_missing_content_type_means_json(client):
    answer = client.post("/invocations", data=b'{"instances": [{"island": "Biscoe"}]}')
    assert answer.get_json() == {"predictions": ["Adelie"]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([ROW], "The input must be a JSON dictionary with exactly one of the input fields {"),
        ({}, "with exactly one of the input fields"),
        ({"inputs": [ROW], "instances": [ROW]}, "with exactly one of the input fields"),
        ({"instances": [ROW], "signature_name": "x"}, "it also has signature_name"),
        ({"dataframe_split": [1]}, "Dataframe split format must be a dictionary. Got list."),
        (
            {"dataframe_records": {"island": ["Biscoe"]}},
            "Dataframe records format must be a list of records. Got dictionary.",
        ),
        (
            {"dataframe_split": {"data": 3}},
            "Provided dataframe_split field is not a valid dataframe representation",
        ),
        ({"dataframe_split": {"columns": ["island"], "data": [[1, 2]]}}, "row 0 of data"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}}, "not a valid dataframe"),
        ({"inputs": 3}, "Expected a list of rows"),
        ({"inputs": [ROW], "params": {"k": 3}}, "predict_method"),
        ({"inputs": [ROW], "params": {"predict_method": "transform"}}, "predict_proba"),
    ],
)
def test_its_messages(client, body, words):
    answer = invoke(client, body)
    content = answer.get_json()
    assert (answer.status_code, content["error_code"]) == (400, "BAD_REQUEST")
    assert words in content["message"]


def test_a_frame_without_columns_is_in_the_order_of_the_features(client, rows):
    split = {"data": [list(rows[0].values())]}
    named = invoke(client, {"dataframe_records": rows[:1]}).get_json()
    assert invoke(client, {"dataframe_split": split}).get_json() == named


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/json; charset=utf-16", "text/csv; header=none"]
)
def test_another_content_type_is_a_415(client, kind):
    assert invoke(client, "{}", **{"Content-Type": kind}).status_code == 415


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('island\n"Biscoe', "CSV"),
        ("island,sex\nBiscoe", "row 1 has 1 cells"),
        ("island,island\nBiscoe,Dream", "each differently"),
        ("island\nBiscoe\n\xff", "UTF-8"),
        ("sex\nmale", "fault"),
        ("islandd,island\nBiscoe,Dream", "fault"),
    ],
)
def test_broken_csv_is_a_400(client, text, words):
    answer = invoke(client, text.encode("latin-1"), **{"Content-Type": "text/csv"})
    assert answer.status_code == 400
    assert words in answer.get_json()["message"]


def test_a_table_of_no_rows_has_no_predictions(client):
    headers = {"Content-Type": "text/csv"}
    for text in ("", "island\n", "island,sex\r\n\r\n"):
        assert invoke(client, text, **headers).get_json() == {"predictions": []}


def test_faults_have_their_place(client):
    body = {"dataframe_split": {"columns": ["island", "sex"], "data": [["Dream", None], [3, "x"]]}}
    errors = invoke(client, body).get_json()["errors"]
    assert errors == [
        {"loc": ["dataframe_split", 1, "island"], "msg": "must be a string, got a number"}
    ]
