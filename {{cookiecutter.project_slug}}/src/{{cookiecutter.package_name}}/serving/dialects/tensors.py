"""Tensors of the Open Inference Protocol: JSON or binary data <-> columns."""

import struct
import zlib
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from flask import Response, request

from ...model.manifest import Feature, Label
from ...model.prediction import Prediction
from ..errors import RequestError
from ..limits import CODINGS

DATATYPES = {
    "BOOL": np.dtype("?"),
    **{f"{sign}{8 * size}": np.dtype(f"<{kind}{size}")
       for sign, kind in (("INT", "i"), ("UINT", "u")) for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
}  # fmt: skip
# Types that JSON data may have; null is a missing value.
JSON = {"BOOL": {bool, type(None)}, "BYTES": {str, type(None)}}
NUMBERS = {int, float, type(None)}
# Names of the outputs, with KServe's one for the labels.
OUTPUTS = {"predict": "predict", "output-0": "predict", "predict_proba": "predict_proba"}
Object = dict[str, Any]
Values = npt.NDArray[Any] | list[Any]


def datatype_of(feature: Feature) -> str:
    """The datatype of a feature's tensor; a null of an integer needs a float's NaN."""
    integer = "FP64" if feature.nullable else "INT64"
    kinds = {"number": "FP64", "integer": integer, "boolean": "BOOL", "category": "BYTES"}
    return kinds[feature.type]


def read(tensor: Any, tail: bytes, start: int) -> tuple[str, list[int], Values, int]:
    """Name, shape, values in row-major order, and where the next one's binary data begins.

    Raises a 400 that names the tensor.
    """
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise RequestError(400, "each of inputs must be an object with a name")
    name, shape, datatype = tensor["name"], tensor.get("shape"), tensor.get("datatype")
    legal = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not isinstance(shape, list) or not legal:
        raise RequestError(400, f"input {name}: shape must be an array of integers, 0 or more")
    if not isinstance(datatype, str) or datatype not in (*DATATYPES, "BYTES"):
        known = ", ".join([*DATATYPES, "BYTES"])
        raise RequestError(400, f"input {name}: datatype must be one of {known}")
    parameters = tensor.get("parameters") or {}
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    count = prod(shape)  # of Python's integers, which do not overflow
    if size is None:
        values = from_json(name, datatype, tensor.get("data"))
        if len(values) != count:
            raise mismatch(name, shape, len(values))
        return name, shape, values, start
    if type(size) is not int or not 0 <= size <= len(tail) - start:
        left = len(tail) - start
        raise RequestError(400, f"input {name}: binary_data_size {size}, but {left} bytes are left")
    data = tail[start : start + size]
    values = from_bytes(name, data) if datatype == "BYTES" else numbers(name, datatype, data)
    if len(values) != count:
        raise mismatch(name, shape, len(values))
    return name, shape, values, start + size


def mismatch(name: str, shape: list[int], count: int) -> RequestError:
    """400 for data that does not fill its shape."""
    return RequestError(
        400, f"input {name}: shape {shape} has another size than the {count} values"
    )


def from_json(name: str, datatype: str, data: Any) -> Values:
    """Values of flat or nested lists."""
    if not isinstance(data, list):
        raise RequestError(400, f"input {name}: it has neither data nor binary_data_size")
    flat: list[Any] = data
    while flat and isinstance(flat[0], list):
        if not all(isinstance(part, list) for part in flat):
            raise RequestError(400, f"input {name}: data is nested unevenly")
        flat = [value for part in flat for value in part]
    if not set(map(type, flat)) <= JSON.get(datatype, NUMBERS):
        raise RequestError(400, f"input {name}: data has values that are no {datatype}")
    if datatype in JSON:
        return flat
    try:
        values: Values = np.array(flat, np.float64)  # None becomes NaN
        return values
    except OverflowError:
        raise RequestError(400, f"input {name}: data has a number beyond float64") from None


def numbers(name: str, datatype: str, data: bytes) -> Values:
    """Values of little-endian bytes."""
    dtype = DATATYPES[datatype]
    if len(data) % dtype.itemsize:
        raise RequestError(
            400, f"input {name}: {len(data)} bytes are no whole number of {datatype}"
        )
    return np.frombuffer(data, dtype)


def from_bytes(name: str, data: bytes) -> list[str | None]:
    """Texts, each after its length as a u32; an empty one is a missing value."""
    texts: list[str | None] = []
    at, end = 0, len(data)
    # A slice of one text costs a fraction of a slice of bytes and its decoding.
    whole = data.decode("ascii") if data.isascii() else None
    length_at = struct.Struct("<I").unpack_from
    try:
        while at < end:
            start = at + 4
            at = start + length_at(data, at)[0]
            text = whole[start:at] if whole is not None else str(data[start:at], "utf-8")
            texts.append(text or None)
        if at > end:
            raise RequestError(400, f"input {name}: a text ends beyond the data")
    except (struct.error, UnicodeDecodeError) as error:
        raise RequestError(400, f"input {name}: the data is no BYTES tensor: {error}") from None
    return texts


def columns(
    tensors: Sequence[tuple[str, list[int], Values]], features: Sequence[Feature]
) -> Mapping[str, Any]:
    """Columns by feature name: of a tensor a feature, or of a matrix of all of them."""
    names = [feature.name for feature in features]
    if len(tensors) == 1 and (tensors[0][0] not in names or len(tensors[0][1]) == 2):
        name, shape, values = tensors[0]
        if len(shape) == 2 and shape[1] == len(names):
            return {each: values[i :: len(names)] for i, each in enumerate(names)}
        if name not in names:
            detail = f"input {name} of shape {shape} is neither a feature nor a matrix"
            raise RequestError(400, f"{detail} of shape (rows, {len(names)}): {', '.join(names)}")
    found: dict[str, Any] = {}
    for name, shape, values in tensors:
        if not shape or prod(shape) != shape[0]:
            raise RequestError(400, f"input {name}: shape {shape} is neither (rows) nor (rows, 1)")
        if name in found:
            raise RequestError(400, f"input {name} is there twice")
        found[name] = values
    if len({len(values) for values in found.values()}) > 1:
        raise RequestError(400, "the inputs differ in their number of rows")
    return found


def pack(values: Any, datatype: str) -> bytes:
    """Binary data of an output."""
    if datatype != "BYTES":
        return np.asarray(values, DATATYPES[datatype]).tobytes()
    packed = {}  # labels are few
    for value in set(values):
        text = str(value).encode()
        packed[value] = struct.pack("<I", len(text)) + text
    return b"".join(map(packed.__getitem__, values))


def datatype_of_labels(classes: list[Label] | None) -> str:
    """The datatype of `predict`."""
    kinds = {str: "BYTES", bool: "BOOL", int: "INT64"}
    return kinds.get(type(classes[0]), "FP64") if classes else "FP64"


def write(name: str, is_binary: bool, prediction: Prediction, labels: str) -> tuple[Object, bytes]:
    """An output, and its binary data."""
    values: Any = prediction.labels
    datatype, shape, shares = labels, [len(values)], prediction.probabilities
    if OUTPUTS[name] == "predict_proba" and shares is not None:
        datatype, shape, values = "FP64", [*shares.shape], shares.ravel()
    output: Object = {"name": name, "datatype": datatype, "shape": shape}
    if not is_binary:
        return output | {"data": values if isinstance(values, list) else values.tolist()}, b""
    data = pack(values, datatype)
    return output | {"parameters": {"binary_data_size": len(data)}}, data


def compressed(response: Response) -> Response:
    """Packed, if that is the one form that the client asks for: many libraries offer several."""
    coding = request.headers.get("Accept-Encoding", "")
    if coding in CODINGS:
        packer = zlib.compressobj(1, wbits=CODINGS[coding])
        response.set_data(packer.compress(response.get_data()) + packer.flush())
        response.headers["Content-Encoding"] = coding
    return response
