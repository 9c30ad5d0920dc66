"""Vertex AI's contract, and Azure ML's, as their documents have them, over HTTP."""

import pytest
import requests
from project import free_port, load

ROW = {"island": "Biscoe"}


def test_its_variables_name_the_routes(start):
    path = "/v1/endpoints/7/deployedModels/9"
    route = f"{path}:predict"
    port = str(free_port())
    variables = {"AIP_HEALTH_ROUTE": path, "AIP_PREDICT_ROUTE": route, "AIP_HTTP_PORT": port}
    service = start(WEB_CONCURRENCY="1", **variables)
    service.url = f"http://127.0.0.1:{port}"
    service.ready()
    assert requests.get(service.url + path, timeout=5).json() == {}
    body = {"instances": [ROW, ROW], "parameters": {}}
    answer = requests.post(service.url + route, json=body, timeout=5)
    assert [each["label"] for each in answer.json()["predictions"]] == ["Adelie", "Adelie"]


def test_one_path_may_be_both(client_of):
    client = client_of(aip_health_route="/one", aip_predict_route="/one")
    assert client.get("/one").status_code == 200
    # Google's own harness sends no Content-Type.
    answer = client.post("/one", data=b'{"instances": [["Biscoe", null, null, null, null, null]]}')
    assert answer.get_json()["predictions"][0]["label"] == "Adelie"


def test_the_native_routes_may_be_named(client_of):
    client = client_of(aip_health_route="/health/ready", aip_predict_route="/predict")
    assert client.get("/health/ready").get_json()["ready"]
    assert client.post("/predict", json={"instances": [ROW]}).get_json()["predictions"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([ROW], "JSON object"),
        ({"instances": ROW}, "JSON object"),
        ({"instances": [ROW], "parameters": {"k": 1}}, "no parameters"),
    ],
)
def test_what_is_malformed_is_a_400(client_of, body, words):
    answer = client_of(aip_predict_route="/p").post("/p", json=body)
    assert answer.status_code == 400
    assert words in answer.get_json()["error"]


def test_a_route_that_is_none_stops_the_start():
    settings = load("serving.settings")
    with pytest.raises(settings.SettingsError, match="AIP_PREDICT_ROUTE='predict'"):
        settings.Settings.from_environment({"AIP_PREDICT_ROUTE": "predict"})


def test_the_routes_that_azure_ml_is_told(start):
    """`inference_config` of the README: liveness, readiness and scoring on one port."""
    service = start(WEB_CONCURRENCY="1")
    service.ready()
    for path in ("/health/live", "/health/ready"):
        assert requests.get(service.url + path, timeout=5).status_code == 200
    assert service.post([ROW]).status_code == 200
