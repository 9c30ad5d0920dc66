"""The native API: `POST /predict` and `GET /model`."""

import json as lenient_json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, g, request
from msgspec import DecodeError, json, to_builtins

from ..model.batch import Batch
from ..model.prediction import Prediction
from ..model.predictor import Predictor
from ..model.schema import Fault, InputError
from .errors import LISTED, Faults, RequestError
from .limits import Slots, check_rows, read_body, waited

Content = Sequence[Any] | Mapping[str, Any]
Watcher = Callable[[Batch, Prediction, str], None]
Place = Callable[[Fault], list[str | int]]
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


def instances(body: bytes) -> list[Any]:
    """The rows of a native request; raises a 400 for another form."""
    content = decode(body)
    if not isinstance(content, dict) or not isinstance(content.get("instances"), list):
        raise RequestError(400, FORM)
    if unknown := sorted(map(str, content.keys() - {"instances"})):
        raise RequestError(400, f"{FORM}; it also has {', '.join(unknown)}")
    rows: list[Any] = content["instances"]
    return rows


def in_instances(fault: Fault) -> list[str | int]:
    """Where a fault is in a list of rows."""
    return ["instances", fault.row, *([] if fault.feature is None else [fault.feature])]


class Native:
    """The native prediction, from the bytes of a request to those of its answer."""

    def __init__(self, predictor: Predictor, slots: Slots, max_rows: int) -> None:
        self.predictor = predictor
        self.kinds: dict[str, Any] = {}  # media type -> how to read and write it, beside JSON
        self.watchers: list[Watcher] = []  # called with all that was answered
        self._schema = predictor.schema
        self.slots = slots
        self._max_rows = max_rows
        about = {"name": predictor.manifest.name, "version": predictor.manifest.version}
        self._model = b'],"model":' + json.encode(about) + b',"request_id":"'

    def plain(self, body: bytes, request_id: str) -> tuple[bytes | None, int]:
        """The answer and the number of rows; no answer if there is anything to refuse."""
        batch = self._schema.decode(body)
        # Flask waits for a slot.
        if batch is None or len(batch) > self._max_rows or not self.slots.take():
            return None, 0
        try:
            return self.answer(batch, request_id), len(batch)
        finally:
            self.slots.give()

    def predict(self, batch: Batch, request_id: str = "") -> Prediction:
        """The prediction for checked rows, of the current request unless its id is given."""
        prediction = self.predictor.predict(batch)
        for watch in self.watchers:
            watch(batch, prediction, request_id or g.request_id)
        return prediction

    def answer(self, batch: Batch, request_id: str) -> bytes:
        """The JSON answer to checked rows."""
        # msgspec writes NaN and infinities as null: JSON has no word for them.
        rows = json.encode(self.predict(batch, request_id).structs(batch))
        return b'{"predictions":' + rows[:-1] + self._model + request_id.encode() + b'"}'

    def serve(self, respond: Callable[[bytes], Response]) -> Response:
        """Answer the current request, whose body is given, within a slot."""
        late = waited(request.environ)  # before the body is read, which brings new bytes
        body = read_body()
        with self.slots.hold(late):
            return respond(body)

    def batch(self, content: Content, place: Place = in_instances, status: int = 422) -> Batch:
        """Checked rows (objects by feature name), or columns (of equal length, by feature name).

        Raises a 413 for too many of them, and one of `status` with the place of each fault.
        """
        table = content if isinstance(content, Mapping) else None
        g.rows = len(content) if table is None else min(map(len, table.values()), default=0)
        check_rows(g.rows, self._max_rows)
        try:
            return self._schema.read([*content]) if table is None else self._schema.take(table)
        except InputError as error:
            raise refusal(error, place, status) from None

    def decode(self, body: bytes) -> Batch | None:
        """The rows of a legal request in the native form; None for any other body."""
        if (batch := self._schema.decode(body)) is not None:
            g.rows = len(batch)
            check_rows(len(batch), self._max_rows)
        return batch

    def table(self, body: bytes, kind: str) -> Any:
        """The columns of a body of a media type in `kinds`, by feature name."""
        bounds = self._max_rows, request.max_content_length or 0
        return self.kinds[kind].read(body, self._schema.features, *bounds)

    def respond(self, body: bytes) -> Response:
        """The native answer to a body."""
        if request.mimetype in self.kinds:
            batch = self.batch(self.table(body, request.mimetype))
        else:
            decoded = self.decode(body)
            batch = decoded if decoded is not None else self.batch(instances(body))
        # A table is answered by a table, unless the client asks for another form.
        forms = [*dict.fromkeys((request.mimetype, "application/json", *self.kinds))]
        offers = [form for form in forms if form in self.kinds or form == "application/json"]
        form = request.accept_mimetypes.best_match(offers, offers[0])
        if kind := self.kinds.get(form or ""):
            return Response(kind.write(self.predict(batch), batch), mimetype=form)
        return Response(self.answer(batch, g.request_id), mimetype="application/json")


def blueprint(native: Native) -> Blueprint:
    """Routes `/predict` and `/model`."""
    routes = Blueprint("predict", __name__)

    @routes.post("/predict")
    def predict() -> Response:
        return native.serve(native.respond)

    @routes.get("/model")
    def model() -> Response:
        about = to_builtins(native.predictor.manifest)
        about["engine"] = to_builtins(native.predictor.engine)
        return Response(json.format(json.encode(about), indent=2), mimetype="application/json")

    return routes


def refusal(error: InputError, place: Place, status: int) -> RequestError:
    """A refusal with the place of each fault in the request."""
    faults: Faults = [(place(fault), fault.msg) for fault in error.faults]
    listed = "" if len(faults) <= LISTED else f", the first {LISTED} of them"
    rows = len({fault.row for fault in error.faults})
    detail = f"{len(faults)} fault(s) in {rows} row(s); see errors{listed}"
    return RequestError(status, detail, faults, reason="invalid_rows")
