"""Amazon SageMaker's contract for containers: `/ping` and `/invocations`.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
JSON, CSV without a header, and x-npy, answered in the form that Accept asks for.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from flask import Blueprint, Response, request
from msgspec import json, to_builtins

from ...model.batch import Batch
from ...model.prediction import Prediction
from ..errors import RequestError
from ..predict import FORM, decode
from . import Service, forms

NPY = "application/x-npy"
MOST_MB = 100  # SageMaker's own bound of a payload of batch transform


def routes(service: Service) -> Blueprint:
    """Routes `/ping`, `/invocations` and `/execution-parameters`."""
    sagemaker = Blueprint("sagemaker", __name__)
    native = service.native

    @sagemaker.get("/ping")
    def ping() -> Response:
        service.check_ready()
        return Response(b"", mimetype="text/plain")

    @sagemaker.get("/execution-parameters")
    def parameters() -> dict[str, Any]:
        """What batch transform should use."""
        return {
            "MaxConcurrentTransforms": service.settings.max_concurrent,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": min(service.settings.max_body_mb, MOST_MB),
        }

    def answer(body: bytes) -> Response:
        kind = request.mimetype or "application/json"
        form = request.accept_mimetypes.best_match([*WRITERS], "application/json")
        bare = False
        if kind == "text/csv":
            rows = forms.csv_of(body, service.schema.features, header=None)
            batch = native.batch(rows, status=400)
        elif kind in native.kinds:
            batch = native.batch(native.table(body, kind), status=400)
        elif kind == "application/json":
            batch, bare = read(service, body)
        else:
            known = ", ".join(["application/json", "text/csv", *native.kinds])
            raise RequestError(415, f"Content-Type {kind} is not known here; send {known}")
        prediction = native.predict(batch)
        if bare and form == "application/json":
            return Response(json.encode(prediction.labels), mimetype=form)
        return Response(WRITERS[form](prediction, batch), mimetype=form)

    @sagemaker.post("/invocations")
    def invocations() -> Response:
        return native.serve(answer)

    return sagemaker


def read(service: Service, body: bytes) -> tuple[Batch, bool]:
    """The batch in a JSON body, and whether that is a bare list, which gets a bare list."""
    batch = service.native.decode(body)
    if batch is not None:
        return batch, False
    content = decode(body)
    bare = isinstance(content, list)
    rows = content if bare else content.get("instances") if isinstance(content, dict) else None
    if not isinstance(rows, list) or (not bare and len(content) > 1):
        raise RequestError(400, f"{FORM}, or a list of rows")
    if bare and rows and len(service.names) > 1 and not isinstance(rows[0], (list, dict)):
        rows = [rows]  # one row
    return service.native.batch(forms.rows_of(rows, service.names), status=400), bare


def write_json(prediction: Prediction, batch: Batch) -> bytes:
    """Objects as the native API gives them."""
    return forms.answer_of(prediction.structs(batch))


def write_csv(prediction: Prediction, batch: Batch) -> bytes:
    """A label a line."""
    lines = (cell(label) for label in to_builtins(prediction.labels))
    return "".join(f"{line}\n" for line in lines).encode()


def cell(label: Any) -> str:
    """A label as a cell of CSV."""
    text = str(label)
    quoted = '"' + text.replace('"', '""') + '"'
    return quoted if set(text) & set(',"\r\n') else text


def write_npy(prediction: Prediction, batch: Batch) -> bytes:
    """An array of labels of shape (rows,)."""
    file = io.BytesIO()
    np.save(file, np.array(prediction.labels), allow_pickle=False)
    return file.getvalue()


WRITERS: dict[str, Callable[[Prediction, Batch], bytes]] = {
    "application/json": write_json,
    "text/csv": write_csv,
    NPY: write_npy,
}


def paths(api: Any) -> dict[str, Any]:
    """The routes' part of the OpenAPI document."""
    bare, rows = api.rows, api.object(("instances",), instances=api.rows)
    line = ",".join(api.csv.splitlines()[1:]) + "\n"
    bodies: dict[str, Any] = {
        "application/json": ({"anyOf": [rows, bare]}, {"instances": [api.row]}),
        "text/csv": (api.text, line),
    }
    bodies |= {kind: (api.binary(kind), None) for kind in api.kinds}
    labels = {"type": "array", "items": api.label}
    answers = {
        "application/json": {"anyOf": [api.object(predictions={"type": "array"}), labels]},
        "text/csv": api.text,
        NPY: api.binary(NPY),
    }
    limits = api.object(MaxConcurrentTransforms={"type": "integer"})
    return {
        "/ping": api.get(
            "sagemaker", "Whether the model is ready", api.text, 503, kind="text/plain"
        ),
        "/invocations": api.post("sagemaker", "Predict", bodies, answers, 415),
        "/execution-parameters": api.get("sagemaker", "Bounds for batch transform", limits),
    }
