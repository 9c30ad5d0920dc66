"""The native API: `POST /predict` and `GET /model`."""

import json as lenient_json
from typing import Any

from flask import Blueprint, Response, g
from msgspec import DecodeError, json

from ..model import manifest
from ..model.predictor import Predictor
from ..model.schema import InputError
from .errors import LISTED, Faults, RequestError
from .limits import Slots, read_body

FORM = 'the body must be a JSON object {"instances": [{feature: value, ...}, ...]}'


def decode(body: bytes) -> Any:
    """JSON, and a bare NaN, as Python clients write it; raises a 400 with the place."""
    try:
        return json.decode(body)
    except (DecodeError, RecursionError):
        try:
            content = lenient_json.loads(body)
            # This one also lets a lone surrogate through, which is no text and breaks later.
            lenient_json.dumps(content, ensure_ascii=False).encode()
            return content
        except (ValueError, RecursionError) as error:
            raise RequestError(400, f"the body is no JSON: {error}") from None


def instances(body: bytes, max_rows: int) -> list[Any]:
    """The rows of a native request; raises a 400 for another form, a 413 for too many rows."""
    content = decode(body)
    if not isinstance(content, dict) or not isinstance(content.get("instances"), list):
        raise RequestError(400, FORM)
    if unknown := sorted(map(str, content.keys() - {"instances"})):
        raise RequestError(400, f"{FORM}; it also has {', '.join(unknown)}")
    rows: list[Any] = content["instances"]
    if len(rows) > max_rows:
        advice = "send several requests, or use `model-service score` for a file"
        raise RequestError(413, f"{len(rows)} rows, at most {max_rows} (MAX_ROWS); {advice}")
    return rows


def blueprint(predictor: Predictor, slots: Slots, max_rows: int) -> Blueprint:
    """Routes `/predict` and `/model`."""
    routes = Blueprint("predict", __name__)
    about = manifest.encode(predictor.manifest)
    name = {"name": predictor.manifest.name, "version": predictor.manifest.version}

    @routes.post("/predict")
    def predict() -> Response:
        rows = instances(read_body(), max_rows)
        g.rows = len(rows)
        with slots.one():
            try:
                batch = predictor.schema.read(rows)
            except InputError as error:
                raise refusal(error) from None
            answers = predictor.predict(batch).rows(batch)
        content = {"predictions": answers, "model": name, "request_id": g.request_id}
        # msgspec writes NaN and infinities as null: JSON has no word for them.
        return Response(json.encode(content), mimetype="application/json")

    @routes.get("/model")
    def model() -> Response:
        return Response(about, mimetype="application/json")

    return routes


def refusal(error: InputError) -> RequestError:
    """422 with the place of each fault in the request."""
    faults: Faults = []
    for row, feature, msg in error.faults:
        faults.append((["instances", row, *([] if feature is None else [feature])], msg))
    listed = "" if len(faults) <= LISTED else f", the first {LISTED} of them"
    rows = len({fault.row for fault in error.faults})
    detail = f"{len(faults)} fault(s) in {rows} row(s) of instances; see errors{listed}"
    return RequestError(422, detail, faults)
