"""SageMaker's contract, as its documents have it."""

import io

import numpy as np
import pytest
import requests

CSV = {"Content-Type": "text/csv"}


@pytest.fixture
def client(client_of):
    return client_of(invocations="sagemaker")


def test_a_ping_is_an_empty_200(client):
    answer = client.get("/ping")
    assert (answer.status_code, answer.data) == (200, b"")


def test_execution_parameters(client_of):
    client = client_of(invocations="sagemaker", max_concurrent=3, max_body_mb=200)
    assert client.get("/execution-parameters").get_json() == {
        "MaxConcurrentTransforms": 3,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": 100,
    }


def test_a_bare_list_gets_a_bare_list(client, rows):
    several = client.post("/invocations", json=rows[:3]).get_json()
    assert len(several) == 3
    one = client.post("/invocations", json=list(rows[0].values())).get_json()
    assert one == several[:1]
    assert client.post("/invocations", json=[]).get_json() == []


def test_accept_chooses_the_form(client):
    def ask(accept):
        headers = {"Accept": accept, **CSV}
        return client.post("/invocations", data="Biscoe,,,,,\nDream,,,,,\n", headers=headers)

    labels = ask("text/csv").text.splitlines()
    assert len(labels) == 2
    npy = np.load(io.BytesIO(ask("application/x-npy").data), allow_pickle=False)
    assert npy.tolist() == labels
    answers = ask("*/*").get_json()["predictions"]
    assert [answer["label"] for answer in answers] == labels


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        ("Biscoe,1", CSV, 400, "2 cells"),
        ("Biscoe,far,,,,", CSV, 400, "fault"),
        ("{}", {}, 400, "list of rows"),
        ('{"instances": [], "more": 1}', {}, 400, "list of rows"),
        ("[[1]]", {}, 400, "row 0 has 1 values"),
        ("<a/>", {"Content-Type": "text/xml"}, 415, "text/csv"),
    ],
)
def test_what_is_malformed_is_refused(client, body, headers, status, words):
    answer = client.post("/invocations", data=body, headers=headers)
    assert answer.status_code == status
    assert words in answer.get_json()["error"]


def test_the_contract_over_http(start, rows):
    """`serve --invocations sagemaker`, as `docker run IMAGE serve` does in the image for it."""
    service = start(WEB_CONCURRENCY="1", INVOCATIONS="sagemaker")
    service.ready()
    assert requests.get(f"{service.url}/ping", timeout=2).status_code == 200
    answer = requests.post(
        f"{service.url}/invocations",
        data="Biscoe,45.0,15.0,215,5000,male\n",
        headers={"Content-Type": "text/csv", "Accept": "text/csv"},
        timeout=10,
    )
    assert (answer.status_code, answer.text) == (200, "Gentoo\n")
