"""Vertex AI's contract for containers: the routes that its AIP_* variables name.

https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
Health and predict may be one path, as GET and POST. Without the variables there is no route.
"""

from typing import Any

from flask import Blueprint, Response

from ..errors import RequestError
from ..predict import decode
from . import Service, forms

FORM = 'the body must be a JSON object {"instances": [row, ...], "parameters": {}}'


def routes(service: Service) -> Blueprint:
    """The routes that AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE name."""
    vertex = Blueprint("vertex", __name__)
    native, settings = service.native, service.settings

    def health() -> Response:
        service.check_ready()
        return Response(b"{}", mimetype="application/json")

    def answer(body: bytes) -> Response:
        batch = native.decode(body)
        if batch is None:
            content = decode(body)
            if not isinstance(content, dict) or not isinstance(content.get("instances"), list):
                raise RequestError(400, FORM)
            # Fields of tools, like `request_id`, are of no harm; parameters would change answers.
            if content.get("parameters"):
                raise RequestError(400, f"{FORM}: this model takes no parameters")
            batch = native.batch(forms.rows_of(content["instances"], service.names), status=400)
        answers = native.predict(batch).structs(batch)
        return Response(forms.answer_of(answers), mimetype="application/json")

    def predict() -> Response:
        return native.serve(answer)

    if settings.aip_health_route:
        vertex.get(settings.aip_health_route)(health)
    if settings.aip_predict_route:
        vertex.post(settings.aip_predict_route)(predict)
    return vertex


def paths(api: Any) -> dict[str, Any]:
    """The routes' part of the OpenAPI document."""
    found: dict[str, Any] = {}
    body = api.object(("instances",), instances=api.rows, parameters={"type": ["object", "null"]})
    bodies: dict[str, Any] = {"application/json": (body, {"instances": [api.row]})}
    answer = {"application/json": api.object(predictions={"type": "array"})}
    if path := api.settings.aip_health_route:
        found[path] = api.get("vertex", "Whether the model is ready", {"type": "object"}, 503)
    if path := api.settings.aip_predict_route:
        post = api.post("vertex", "Predict", bodies, answer)
        found[path] = found.get(path, {}) | post
    return found
