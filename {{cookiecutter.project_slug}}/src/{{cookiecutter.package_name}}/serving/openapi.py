"""`GET /openapi.json`: the OpenAPI 3.1 document, made from the manifest.

A removable room: without this file and its name in `app.ROOMS` there is no such route.
"""

import hashlib
import re
from typing import Any, ClassVar

from flask import Flask, Response, request
from msgspec import json

from ..model import manifest
from ..model.predictor import Predictor
from .settings import Settings

Object = dict[str, Any]
TYPES = {"number": "number", "integer": "integer", "boolean": "boolean", "category": "string"}
TITLES = {
    400: "The request is malformed.",
    413: "The body is too large, or has too many rows.",
    415: "The body's Content-Type or Content-Encoding is not known.",
    422: "Rows break the model's schema; `errors` lists every fault.",
    503: "Not ready, or all prediction slots are busy; see Retry-After.",
}
ERROR = {"$ref": "#/components/schemas/Error"}
PREDICT = "Predict rows"


def to_schema(feature: manifest.Feature) -> Object:
    """A feature's JSON Schema; what training saw is said, not demanded, as the rest is flagged."""
    kind = TYPES[feature.type]
    unit = f" In {feature.unit}." if feature.unit else ""
    seen = f" In training: {', '.join(feature.categories)}." if feature.categories else ""
    if feature.minimum is not None:
        seen = f" In training: {feature.minimum:g} to {feature.maximum:g}."
    return {
        "type": [kind, "null"] if feature.nullable else kind,
        "description": f"{feature.description}{unit}{seen}",
        "examples": [feature.example],
    }


class Api:
    """What the parts of the document are made with."""

    text: ClassVar[Object] = {"type": "string"}
    strings: ClassVar[Object] = {"type": "array", "items": {"type": "string"}}
    lists: ClassVar[Object] = {"type": "array", "items": {"type": "array"}}
    rows: ClassVar[Object] = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}}

    def __init__(self, predictor: Predictor, settings: Settings, kinds: list[str]) -> None:
        self.model = predictor.manifest
        self.settings = settings
        self.kinds = kinds  # media types of tables
        self.has_shares = predictor.has_shares
        self.row = {feature.name: feature.example for feature in self.model.features}
        self.columns = self.object((), **{name: {"type": "array"} for name in self.row})
        classes = self.model.target.classes
        self.label: Object = {"enum": classes} if classes else {"type": ["number", "null"]}

    @property
    def csv(self) -> str:
        """The example as CSV with a header."""
        lines = self.row, self.row.values()
        return "".join(
            f"{','.join(json.encode(cell).decode() for cell in line)}\n" for line in lines
        )

    @staticmethod
    def object(required: tuple[str, ...] = (), **properties: Object) -> Object:
        """The schema of an object."""
        return {"type": "object", "properties": properties, "required": [*required]}

    @staticmethod
    def binary(kind: str) -> Object:
        """The schema of bytes; that it has no type lets a page offer a file."""
        return {"contentMediaType": kind}

    def get(self, tag: str, summary: str, schema: Object, *codes: int, kind: str = "") -> Object:
        """A GET that answers with a schema, or with an error of these codes."""
        answers = {kind or "application/json": schema}
        return {"get": self._operation(tag, summary, answers, codes)}

    def post(self, tag: str, summary: str, bodies: Object, answers: Object, *codes: int) -> Object:
        """A POST: (schema, example or None) of bodies and schemas of answers, by media type."""
        content = {}
        for kind, (schema, example) in bodies.items():
            content[kind] = {"schema": schema} | ({} if example is None else {"example": example})
        operation = self._operation(tag, summary, answers, (400, 413, 415, 503, *codes))
        return {"post": operation | {"requestBody": {"required": True, "content": content}}}

    def _operation(self, tag: str, summary: str, answers: Object, codes: tuple[int, ...]) -> Object:
        fine = {"description": "Fine.", "content": {k: {"schema": s} for k, s in answers.items()}}
        error = {
            "application/json": {"schema": ERROR},
            "application/problem+json": {"schema": ERROR},
        }
        refused = {str(c): {"description": TITLES[c], "content": error} for c in sorted({*codes})}
        return {"tags": [tag], "summary": summary, "responses": {"200": fine} | refused}


def native(api: Api) -> Object:
    """The native routes."""
    number, boolean = {"type": ["number", "null"]}, {"type": "boolean"}
    flag = api.object(("feature", "flag"), feature=api.text, flag=api.text)
    each = {"label": api.label, "flags": {"type": "array", "items": flag}}
    if api.has_shares:
        names = map(str, api.model.target.classes or ())
        each["probabilities"] = api.object((), **dict.fromkeys(names, number))
    about = api.object(("name", "version"), name=api.text, version=api.text)
    answer = api.object(
        ("predictions", "model", "request_id"),
        predictions={"type": "array", "items": api.object(tuple(each), **each)},
        model=about,
        request_id=api.text,
    )
    body = api.object(("instances",), instances=api.rows) | {"additionalProperties": False}
    bodies: Object = {"application/json": (body, {"instances": [api.row]})}
    bodies |= {kind: (api.binary(kind), None) for kind in api.kinds}
    answers = {"application/json": answer} | {kind: api.binary(kind) for kind in api.kinds}
    report = api.object(("ready", "state"), ready=boolean, state=api.text)
    ready = api.get("native", "Whether this worker's model is proven", report, 503)
    ready["get"]["responses"]["503"]["content"] = {"application/json": {"schema": report}}
    live = api.object(("live",), live=boolean)
    return {
        "/predict": api.post("native", PREDICT, bodies, answers, 422),
        "/model": api.get("native", "The model's manifest, and its engine", {"type": "object"}),
        "/health/live": api.get("native", "Whether the process answers", live),
        "/health/ready": ready,
        "/openapi.json": api.get("native", "This document", {"type": "object"}),
    }


def document(api: Api, parts: list[Any]) -> Object:
    """The whole document; a path that two parts have keeps the first one's methods."""
    features = api.model.features
    row = api.object(
        tuple(feature.name for feature in features if not feature.nullable),
        **{feature.name: to_schema(feature) for feature in features},
    )
    fault = api.object(("loc", "msg"), loc={"type": "array"}, msg=api.text)
    words = ("error", "error_code", "message", "type", "title", "detail")
    error = api.object((*words, "status", "errors"), **dict.fromkeys(words, api.text))
    error["properties"] |= {
        "status": {"type": "integer"},
        "request_id": {"type": ["string", "null"]},
        "errors": {"type": "array", "items": fault},
    }
    paths: Object = {}
    for part in (native, *parts):
        for path, item in part(api).items():
            paths[path] = item | paths.get(path, {})
    for path, item in paths.items():
        for method in item:
            name = re.sub(r"\W+", "_", f"{method}{path}").strip("_")
            item[method] = item[method] | {"operationId": name}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": api.model.name,
            "version": api.model.version,
            "description": f"Predicts {api.model.target.name}.",
        },
        "servers": [{"url": "."}],  # relative to this document: right behind a prefix, too
        "paths": paths,
        "components": {"schemas": {"Row": row | {"additionalProperties": False}, "Error": error}},
    }


def install(app: Flask) -> None:
    """Add the route."""
    speaks = app.extensions["native"]

    @app.get("/openapi.json")
    def openapi() -> Response:
        api = Api(speaks.predictor, app.extensions["settings"], [*speaks.kinds])
        body = json.encode(document(api, app.extensions["paths"]))
        response = Response(body, mimetype="application/json")
        response.set_etag(hashlib.sha256(body).hexdigest())
        response.cache_control.no_cache = True  # kept, but asked for again
        response.make_conditional(request)
        return response
