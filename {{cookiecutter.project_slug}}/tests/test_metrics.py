"""/metrics, as Prometheus' own parser reads it."""

from project import load
from prometheus_client.parser import text_string_to_metric_families


def scrape(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    return {sample.name: sample for family in families for sample in family.samples}


def test_the_engine_in_use_is_a_metric(client, predictor):
    sample = scrape(client)["model_engine_info"]
    engine = predictor.engine
    expected = {"engine": engine.name, "step": engine.step or "", "reason": engine.reason}
    assert (sample.labels, sample.value) == (expected, 1.0)


def test_the_metric_says_that_scikit_learn_serves(regression):
    model = load("model.predictor").load(regression, "sklearn")
    app = load("serving.app").create_app(load("serving.settings").Settings(), model)
    labels = scrape(app.test_client())["model_engine_info"].labels
    assert labels == {"engine": "sklearn", "step": "", "reason": "ENGINE=sklearn"}
