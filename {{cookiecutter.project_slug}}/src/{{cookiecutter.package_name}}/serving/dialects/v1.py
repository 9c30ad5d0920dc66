"""V1 of TF Serving and KServe: `/v1/models/M:predict` with `instances` or `inputs`.

https://www.tensorflow.org/tfx/serving/api_rest and
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
"""

from typing import Any

from flask import Blueprint, Response
from msgspec import json

from ..errors import RequestError
from ..predict import decode
from . import Service, forms

FORM = 'the body must be a JSON object with either "instances", a list of rows, or "inputs"'
SIGNATURES = ("serving_default", "predict", "predict_proba")


def routes(service: Service) -> Blueprint:
    """Routes `/`, and below `/v1/models`."""
    v1 = Blueprint("v1", __name__)
    native = service.native

    def answer(body: bytes) -> Response:
        batch, columnar, wants = native.decode(body), False, "predict"
        if batch is None:
            content = decode(body)
            columnar, wants = check(content)
            if columnar and isinstance(content["inputs"], dict):
                batch = native.batch(forms.columns_of(content["inputs"]), in_columns, 400)
            else:
                rows = content["inputs" if columnar else "instances"]
                if not isinstance(rows, list):
                    raise RequestError(400, FORM)
                batch = native.batch(forms.rows_of(rows, service.names), status=400)
        prediction = native.predict(batch)
        values: Any = prediction.labels
        if wants == "predict_proba":
            if prediction.probabilities is None:
                raise RequestError(400, "this model gives no probabilities")
            values = prediction.probabilities.tolist()
        # TF Serving answers `inputs` with `outputs`, KServe with `predictions`.
        names = ("predictions", "outputs") if columnar else ("predictions",)
        return Response(json.encode(dict.fromkeys(names, values)), mimetype="application/json")

    @v1.get("/")
    def alive() -> dict[str, Any]:
        return {"status": "alive"}  # KServe's probe

    @v1.get("/v1/models")
    def models() -> dict[str, Any]:
        return {"models": [service.manifest.name]}

    @v1.get("/v1/models/<name>")
    @v1.get("/v1/models/<name>/versions/<version>")
    def model(name: str, version: str | None = None) -> dict[str, Any]:
        service.check_model(name, version)
        service.check_ready()
        state = {"version": service.manifest.version, "state": "AVAILABLE"}
        status = {"error_code": "OK", "error_message": ""}
        about = {"model_version_status": [state | {"status": status}]}  # TF Serving's
        return {"name": name, "ready": True} | about

    @v1.post("/v1/models/<name>:predict")
    @v1.post("/v1/models/<name>/versions/<version>:predict")
    def predict(name: str, version: str | None = None) -> Response:
        service.check_model(name, version)
        return native.serve(answer)

    return v1


def check(content: Any) -> tuple[bool, str]:
    """Whether a body has `inputs`, and what it wants; raises a 400."""
    if not isinstance(content, dict) or ("instances" in content) == ("inputs" in content):
        raise RequestError(400, FORM)
    if unknown := sorted(content.keys() - {"instances", "inputs", "signature_name"}):
        raise RequestError(400, f"{FORM}; it also has {', '.join(unknown)}")
    wants = content.get("signature_name", "predict")
    if wants not in SIGNATURES:
        raise RequestError(400, f"signature_name must be one of {', '.join(SIGNATURES)}")
    return "inputs" in content, wants


def in_columns(fault: Any) -> list[str | int]:
    """Where a fault is in `inputs`."""
    return ["inputs", *([] if fault.feature is None else [fault.feature]), fault.row]


def paths(api: Any) -> dict[str, Any]:
    """The routes' part of the OpenAPI document."""
    name, version = api.model.name, api.model.version
    model = f"/v1/models/{name}"
    answers = {"application/json": api.object(predictions={"type": "array"})}
    wants = {"type": "string", "enum": list(SIGNATURES)}
    by_rows = api.object(("instances",), instances=api.rows, signature_name=wants)
    by_columns = api.object(("inputs",), inputs=api.columns, signature_name=wants)
    body = {"application/json": ({"anyOf": [by_rows, by_columns]}, {"instances": [api.row]})}
    state = api.object(name={"type": "string"}, ready={"type": "boolean"})
    predict = api.post("v1", "Predict rows or columns", body, answers)
    one = api.get("v1", "The state of the model", state, 503)
    return {
        "/": api.get("v1", "Whether the server answers", api.object(status=api.text)),
        "/v1/models": api.get(
            "v1", "The names of the models", api.object(models={"type": "array"})
        ),
        model: one,
        f"{model}/versions/{version}": one,
        f"{model}:predict": predict,
        f"{model}/versions/{version}:predict": predict,
    }
