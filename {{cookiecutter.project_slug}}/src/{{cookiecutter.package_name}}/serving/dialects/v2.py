"""V2, the Open Inference Protocol, with the binary tensor extension.

https://github.com/kserve/open-inference-protocol and
https://docs.nvidia.com/deeplearning/triton-inference-server (extension binary_tensor_data)
"""

from typing import Any

from flask import Blueprint, Response, g, request
from msgspec import json
from werkzeug.http import parse_options_header

from ...model.batch import Batch
from ..errors import RequestError
from ..predict import decode
from . import Service, tensors

LENGTH = "Inference-Header-Content-Length"
OCTETS = "application/octet-stream"
Object = dict[str, Any]


def routes(service: Service) -> Blueprint:
    """Routes below `/v2`."""
    v2, native, about = Blueprint("v2", __name__), service.native, service.manifest
    classes = about.target.classes
    labels = tensors.datatype_of_labels(classes)
    inputs = [
        {"name": f.name, "datatype": tensors.datatype_of(f), "shape": [-1]} for f in about.features
    ]
    outputs: list[Object] = [{"name": "predict", "datatype": labels, "shape": [-1]}]
    if native.predictor.has_shares:
        shape = [-1, len(classes or ())]
        outputs.append({"name": "predict_proba", "datatype": "FP64", "shape": shape})
    known = [output["name"] for output in outputs]

    def answer(body: bytes) -> Response:
        content, tail = parts(service, body)
        wanted = outputs_of(content, known)
        batch = batch_of(service, content, tail)
        prediction = native.predict(batch)
        given = content.get("id")
        header: Object = {"model_name": about.name, "model_version": about.version}
        header |= {"id": given if isinstance(given, str) else g.request_id}
        written = [tensors.write(*each, prediction, labels) for each in wanted]
        header["outputs"] = [output for output, _ in written]
        packed, text = b"".join(data for _, data in written), json.encode(header)
        binary = any(is_binary for _, is_binary in wanted)
        response = Response(text + packed, mimetype=OCTETS if binary else "application/json")
        if binary:
            response.headers[LENGTH] = str(len(text))
        return tensors.compressed(response)

    @v2.get("/v2", strict_slashes=False)
    def server() -> Object:
        extensions = ["binary_tensor_data", "model_repository"]
        return {"name": about.name, "version": about.version, "extensions": extensions}

    @v2.get("/v2/health/live")
    def live() -> Object:
        return {"live": True}

    @v2.get("/v2/health/ready")
    def ready() -> Object:
        service.check_ready()
        return {"ready": True, "live": True}  # one client reads the one, one the other

    @v2.get("/v2/models")
    def models() -> Object:
        return {"models": [about.name]}

    @v2.post("/v2/repository/index")
    def index() -> list[Object]:
        state = "READY" if service.readiness.report()["ready"] else "UNAVAILABLE"
        return [{"name": about.name, "version": about.version, "state": state, "reason": ""}]

    for prefix in ("/v2/models/<name>", "/v2/models/<name>/versions/<version>"):

        @v2.get(prefix, endpoint=f"metadata {prefix}")
        def metadata(name: str, version: str | None = None) -> Object:
            service.check_model(name, version)
            facts = {"name": name, "versions": [about.version], "platform": "sklearn"}
            return facts | {"inputs": inputs, "outputs": outputs}

        @v2.get(f"{prefix}/ready", endpoint=f"ready {prefix}")
        def model_ready(name: str, version: str | None = None) -> Object:
            service.check_model(name, version)
            service.check_ready()
            return {"name": name, "ready": True}

        @v2.post(f"{prefix}/infer", endpoint=f"infer {prefix}")
        def infer(name: str, version: str | None = None) -> Response:
            service.check_model(name, version)
            return native.serve(answer)

    return v2


def parts(service: Service, body: bytes) -> tuple[Object, bytes]:
    """A request's JSON object and its binary data. Raises a 400."""
    options = parse_options_header(request.headers.get("Content-Type", ""))[1]
    given = request.headers.get(LENGTH, options.get("json-header-size"))
    length = len(body) if given is None else int(given) if given.isdecimal() else -1
    if not 0 <= length <= len(body):
        raise RequestError(400, f"{LENGTH}: {given!r} is no length within the body's {len(body)}")
    if given is not None and length == 0:  # the bare bytes of a model's only tensor
        return bare(service, len(body)), body
    content = decode(body[:length])
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), list):
        raise RequestError(
            400, 'the request must be a JSON object with "inputs", a list of tensors'
        )
    if not isinstance(content.get("parameters") or {}, dict):
        raise RequestError(400, "parameters must be an object")
    return content, body[length:]


def bare(service: Service, size: int) -> Object:
    """The JSON object that a body without one stands for: a matrix of all features in FP64."""
    features = service.manifest.features
    if any(feature.type in ("category", "boolean") for feature in features):
        raise RequestError(400, "a body without JSON needs a model whose features are numbers")
    tensor: Object = {"name": "input-0", "datatype": "FP64"}
    tensor["shape"] = [size // (8 * len(features)), len(features)]
    return {"inputs": [tensor | {"parameters": {"binary_data_size": size}}]}


def batch_of(service: Service, content: Object, tail: bytes) -> Batch:
    """The batch of a request's tensors. Raises a 400, or a 413."""
    if (kind := (content.get("parameters") or {}).get("content_type")) not in (None, "pd", "np"):
        raise RequestError(400, f'parameters.content_type must be "pd" or "np", not {kind!r}')
    found, start = [], 0
    for each in content["inputs"]:
        name, shape, values, start = tensors.read(each, tail, start)
        found.append((name, shape, values))
    if start != len(tail):
        raise RequestError(400, f"{len(tail) - start} bytes of binary data belong to no input")
    table = tensors.columns(found, service.manifest.features)
    return service.native.batch(table, in_inputs, 400)


def in_inputs(fault: Any) -> list[str | int]:
    """Where a fault is in the inputs."""
    return ["inputs", *([] if fault.feature is None else [fault.feature]), fault.row]


def outputs_of(content: Object, known: list[str]) -> list[tuple[str, bool]]:
    """The wanted outputs, each with whether it is to be binary. Raises a 400."""
    all_binary = bool((content.get("parameters") or {}).get("binary_data_output"))
    asked = content.get("outputs") or [{"name": name} for name in known]
    wanted = []
    for each in asked if isinstance(asked, list) else [asked]:
        if not isinstance(each, dict) or tensors.OUTPUTS.get(str(each.get("name"))) not in known:
            raise RequestError(400, f"each of outputs must have a name: {', '.join(known)}")
        parameters = each.get("parameters")
        own = parameters.get("binary_data") if isinstance(parameters, dict) else None
        wanted.append((str(each["name"]), all_binary if own is None else bool(own)))
    return wanted


def paths(api: Any) -> dict[str, Any]:
    """The routes' part of the OpenAPI document."""
    text, flag = api.text, {"type": "boolean"}
    named = {"name": text, "datatype": text, "shape": {"type": "array"}}
    tensor = api.object(("name", "shape", "datatype"), **named, data={}, parameters={})
    body = api.object(("inputs",), id=text, inputs={"type": "array", "items": tensor}, outputs={})
    inputs = [
        {"name": f.name, "shape": [1], "datatype": tensors.datatype_of(f), "data": [f.example]}
        for f in api.model.features
    ]
    bodies: Object = {"application/json": (body, {"id": "42", "inputs": inputs})}
    bodies |= {OCTETS: (api.binary(OCTETS), None)}
    outputs = {"type": "array", "items": api.object(**named)}
    answer = api.object(model_name=text, model_version=text, id=text, outputs=outputs)
    answers = {"application/json": answer, OCTETS: api.binary(OCTETS)}
    infer = api.post("v2", "Infer from tensors", bodies, answers, 415)
    both = api.object(ready=flag, live=flag)
    about = api.object(name=text, versions={"type": "array"}, inputs=outputs, outputs=outputs)
    listed = {"type": "array", "items": api.object(name=text, state=text)}
    found = {
        "/v2": api.get("v2", "The server", api.object(name=text, version=text)),
        "/v2/health/live": api.get("v2", "Whether the server answers", api.object(live=flag)),
        "/v2/health/ready": api.get("v2", "Whether the model is ready", both, 503),
        "/v2/models": api.get("v2", "The models' names", api.object(models={"type": "array"})),
        "/v2/repository/index": {"post": api.get("v2", "The models' states", listed)["get"]},
    }
    model = f"/v2/models/{api.model.name}"
    for prefix in (model, f"{model}/versions/{api.model.version}"):
        found[prefix] = api.get("v2", "The model's tensors", about)
        found[f"{prefix}/ready"] = api.get("v2", "Whether the model is ready", both, 503)
        found[f"{prefix}/infer"] = infer
    return found
