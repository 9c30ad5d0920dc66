"""Real clients of other servers, in an environment of their own, against the live service."""

import json

import pytest
from clientele import run
from project import load

pytestmark = pytest.mark.clients


@pytest.fixture
def cases(tmp_path, rows, predictor):
    """Rows, with nulls and an unknown category, and what the model answers."""
    given = [*rows, {**rows[0], "island": "Atlantis"}]
    prediction = predictor.predict(predictor.schema.read(given))
    content = {"rows": given, "labels": prediction.labels}
    content["shares"] = prediction.probabilities.tolist()
    content |= {"name": predictor.manifest.name, "version": predictor.manifest.version}
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("client", ["v2 with_triton", "mlflow with_mlflow", "v1 with_kserve"])
def test_a_real_client(client, clients, start, cases):
    dialect, script = client.split()
    if dialect not in load("serving.dialects").DIALECTS:
        pytest.skip("this dialect was taken away")
    service = start(WEB_CONCURRENCY="1")
    service.ready()
    assert "rows" in run(clients, f"{script}.py", service.url.removeprefix("http://"), cases)
