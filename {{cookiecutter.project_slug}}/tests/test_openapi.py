"""The OpenAPI document: valid, complete, and kept by the service."""

import json
import re
import subprocess

import pytest
from clientele import HERE, run
from project import load

VERTEX = {"aip_health_route": "/v", "aip_predict_route": "/v"}


@pytest.mark.clients
@pytest.mark.parametrize("owner", ["mlflow", "sagemaker"])
def test_the_document_and_its_examples_are_valid(client_of, clients, tmp_path, owner):
    path = tmp_path / "openapi.json"
    path.write_bytes(client_of(invocations=owner, **VERTEX).get("/openapi.json").data)
    assert int(run(clients, "with_openapi.py", path).split()[0]) > 10


def test_every_route_is_in_the_document_and_its_examples_are_answered(client_of):
    client = client_of(**VERTEX)
    document = client.get("/openapi.json").get_json()
    names = {"name": "penguins", "version": "1"}
    for rule in client.application.url_map.iter_rules():
        path = re.sub(r"<(\w+)>", lambda found: names[found[1]], rule.rule)
        if not rule.endpoint.startswith(("swagger_ui.", "web.")):  # pages for people
            methods = {method.lower() for method in rule.methods - {"HEAD", "OPTIONS"}}
            assert methods <= document["paths"][path].keys(), path
    answered = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            bodies = operation.get("requestBody", {}).get("content", {"": {"example": b""}})
            for kind, media in bodies.items():
                if "example" in media:
                    body = media["example"]
                    data = body if isinstance(body, (bytes, str)) else json.dumps(body)
                    answer = client.open(path, method=method, data=data, content_type=kind or None)
                    assert answer.status_code == 200, (path, kind, answer.text)
                    assert answer.mimetype in operation["responses"]["200"]["content"]
                    answered += 1
    assert answered >= 6


def test_a_document_that_did_not_change_is_not_sent_again(client):
    first = client.get("/openapi.json")
    again = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_features_of_other_models_are_described(client_of, regression):
    document = client_of(load("model.predictor").load(regression)).get("/openapi.json").get_json()
    row = document["components"]["schemas"]["Row"]
    assert row["properties"]["area"]["type"] == "number"
    assert "In training: 0 to 1." in row["properties"]["area"]["description"]
    assert row["required"] == ["area"]


@pytest.mark.clients
@pytest.mark.parametrize("owner", ["mlflow", "sagemaker"])
def test_no_made_up_request_breaks_the_contract(start, clients, tmp_path, owner):
    """schemathesis: 70 requests for each operation with input, and those of its coverage phase."""
    service = start(WEB_CONCURRENCY="1", INVOCATIONS=owner, AIP_PREDICT_ROUTE="/v")
    service.ready()
    command = ["-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml", "run"]
    options = ["--no-color", "--warnings", "off", f"{service.url}/openapi.json"]
    done = subprocess.run(
        [clients, *command, *options], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-6000:]
    made = int(re.search(r"(\d+) generated", done.stdout)[1])
    assert made >= 1000, made
    assert '"status":500' not in service.output.read_text()
