"""MLflow's scoring server: `/invocations` in its four JSON forms, CSV and Parquet.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/
"""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request
from werkzeug.http import parse_options_header

from ...model.batch import Batch
from ..errors import RequestError
from ..predict import Place, decode
from . import Service, forms

CONTRACT = "3.17.2"  # the version whose answers these are
PARQUET = "application/vnd.apache.parquet"
FIELDS = ("dataframe_split", "dataframe_records", "instances", "inputs")
METHODS = ("predict", "predict_proba")
FORM = (
    "Invalid input. The input must be a JSON dictionary with exactly one of the input fields "
    "{'dataframe_split', 'dataframe_records', 'instances', 'inputs'}"
)


def routes(service: Service) -> Blueprint:
    """Routes `/ping`, `/health`, `/version` and `/invocations`."""
    mlflow = Blueprint("mlflow", __name__)
    native = service.native

    @mlflow.get("/ping")
    @mlflow.get("/health")
    def ping() -> Response:
        service.check_ready()
        return Response("\n", mimetype="text/plain")

    @mlflow.get("/version")
    def version() -> Response:
        return Response(CONTRACT, mimetype="text/plain")

    def answer(body: bytes) -> Response:
        kind, method = media_type(), "predict"
        if kind == "text/csv":
            batch = native.batch(
                forms.csv_of(body, service.schema.features, header=True), place, 400
            )
        elif kind == "application/json":
            batch, method = read(service, body)
        elif kind in native.kinds:
            batch = native.batch(native.table(body, kind), place, 400)
        else:
            raise RequestError(415, f"Content-Type {kind} is not known here; {KNOWN}")
        prediction = native.predict(batch)
        if method == "predict":
            return Response(forms.answer_of(prediction.labels), mimetype="application/json")
        if prediction.probabilities is None:
            raise RequestError(400, "this model gives no probabilities")
        shares = prediction.probabilities.tolist()
        return Response(forms.answer_of(shares), mimetype="application/json")

    @mlflow.post("/invocations")
    def invocations() -> Response:
        return native.serve(answer)

    return mlflow


KNOWN = f"send application/json, text/csv or {PARQUET}, in UTF-8"


def media_type() -> str:
    """The body's media type, JSON where none is named; raises a 415 for odd parameters."""
    kind, parameters = parse_options_header(request.headers.get("Content-Type", ""))
    if parameters.pop("charset", "utf-8").lower() not in ("utf-8", "utf8") or parameters:
        raise RequestError(415, f"Content-Type {request.content_type} is not known here; {KNOWN}")
    return kind or "application/json"


def place(fault: Any) -> list[str | int]:
    """Where a fault is in a table."""
    return [fault.row, *([] if fault.feature is None else [fault.feature])]


def within(field: str) -> Place:
    """Where a fault is in a field of the body."""
    return lambda fault: [field, *place(fault)]


def read(service: Service, body: bytes) -> tuple[Batch, str]:
    """The batch in a JSON body, and the wanted method. Raises a 400."""
    decoded = service.native.decode(body)
    if decoded is not None:
        return decoded, "predict"
    content = decode(body)
    fields = [] if not isinstance(content, dict) else [f for f in FIELDS if f in content]
    if len(fields) != 1:
        raise RequestError(400, FORM)
    if unknown := sorted(content.keys() - {*FIELDS, "params"}):
        raise RequestError(400, f"{FORM}; it also has {', '.join(unknown)}")
    params = content.get("params") or {}
    if not isinstance(params, dict) or params.keys() - {"predict_method"}:
        raise RequestError(400, "Invalid input. params may hold predict_method alone")
    method = params.get("predict_method", "predict")
    if method not in METHODS:
        raise RequestError(400, f"predict_method must be one of {', '.join(METHODS)}")
    table = READERS[fields[0]](content[fields[0]], service.names)
    return service.native.batch(table, within(fields[0]), 400), method


def split(table: Any, names: list[str]) -> Any:
    """`dataframe_split`: rows of values, beside the columns' names."""
    if not isinstance(table, dict):
        kind = "list" if isinstance(table, list) else type(table).__name__
        detail = f"Dataframe split format must be a dictionary. Got {kind}."
        raise RequestError(400, f"Invalid input. {detail}")
    columns, rows = table.get("columns", names), table.get("data")
    legal = isinstance(columns, list) and all(isinstance(name, str) for name in columns)
    if not legal or len(set(columns)) < len(columns) or not isinstance(rows, list):
        return unfit('it needs "data", rows of values, and different "columns"')
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            return unfit(f"row {i} of data is no list of {len(columns)} values")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def unfit(reason: str) -> None:
    """Raise what MLflow says of a broken `dataframe_split`."""
    detail = "Provided dataframe_split field is not a valid dataframe representation"
    raise RequestError(400, f"Invalid input. {detail}: {reason}")


def records(table: Any, names: list[str]) -> Any:
    """`dataframe_records`: rows as objects."""
    if not isinstance(table, list):
        kind = "dictionary" if isinstance(table, dict) else type(table).__name__
        detail = f"Dataframe records format must be a list of records. Got {kind}."
        raise RequestError(400, f"Invalid input. {detail}")
    return table


def tensor(table: Any, names: list[str]) -> Any:
    """`instances` and `inputs`: rows, as objects or lists, or columns by name."""
    if isinstance(table, dict):
        return forms.columns_of(table)
    if not isinstance(table, list):
        raise RequestError(400, "Invalid input. Expected a list of rows, or columns by name")
    return forms.rows_of(table, names)


READERS: dict[str, Callable[[Any, list[str]], Any]] = {
    "dataframe_split": split,
    "dataframe_records": records,
    "instances": tensor,
    "inputs": tensor,
}


def paths(api: Any) -> dict[str, Any]:
    """The routes' part of the OpenAPI document."""
    table = api.object(("data",), columns=api.strings, index={"type": "array"}, data=api.lists)
    shapes = {"dataframe_split": table, "dataframe_records": api.rows}
    shapes |= {"instances": api.rows, "inputs": {"anyOf": [api.columns, api.rows, api.lists]}}
    params = api.object((), predict_method={"type": "string", "enum": list(METHODS)})
    body = {"anyOf": [api.object((f,), **{f: s}, params=params) for f, s in shapes.items()]}
    example = {"dataframe_split": {"columns": list(api.row), "data": [list(api.row.values())]}}
    bodies: dict[str, Any] = {"application/json": (body, example), "text/csv": (api.text, api.csv)}
    bodies |= {PARQUET: (api.binary(PARQUET), None)} if PARQUET in api.kinds else {}
    answer = {"application/json": api.object(predictions={"type": "array"})}
    ping = api.get("mlflow", "Whether the model is ready", api.text, 503, kind="text/plain")
    return {
        "/ping": ping,
        "/health": ping,
        "/version": api.get("mlflow", "MLflow's version", api.text, kind="text/plain"),
        "/invocations": api.post("mlflow", "Predict", bodies, answer, 415),
    }
