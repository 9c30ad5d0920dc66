"""Tables as bodies and answers of `/predict`: .npy, Arrow and Parquet, for large batches.

Parsing JSON is what bounds those. Nothing in a body is executed or trusted: no pickles, and no
memory is taken before the announced size was compared with the body.

A removable room: without this file and its name in `app.ROOMS`, `/predict` speaks JSON alone.
"""

from collections.abc import Callable, Mapping
from io import BytesIO
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from flask import Flask

from ..model.batch import Batch
from ..model.manifest import Feature
from ..model.prediction import Prediction
from .errors import RequestError
from .limits import check_rows

Table = Mapping[str, Any]
UNPACKED = 16  # times MAX_BODY_MB: what a compressed table may grow to
HEADERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Kind(NamedTuple):
    """How a media type is read and written."""

    read: Callable[[bytes, list[Feature], int, int], Table]
    write: Callable[[Prediction, Batch], bytes]


def read_npy(body: bytes, features: list[Feature], max_rows: int, max_bytes: int) -> Table:
    """Columns of a structured array, or of a matrix if every feature is a number."""
    file = BytesIO(body)
    try:
        shape, by_columns, dtype = HEADERS[np.lib.format.read_magic(file)](file)
    except (ValueError, KeyError, EOFError, SyntaxError, TypeError, RecursionError) as error:
        raise RequestError(400, f"the body is no .npy file of version 1 or 2: {error}") from None
    if dtype.hasobject:
        raise RequestError(400, "the array holds Python objects; send numbers and text (U or S)")
    rows = shape[0] if shape else 0
    size, given = prod(shape) * dtype.itemsize, len(body) - file.tell()
    if any(length < 0 for length in shape) or size != given:
        raise RequestError(400, f"shape {shape} of {dtype} is {size} bytes, the body has {given}")
    check_rows(rows, max_rows)
    array = np.frombuffer(body, dtype, offset=file.tell()) if size else np.empty(shape, dtype)
    array = array.reshape(shape, order="F" if by_columns else "C")
    if dtype.names and len(shape) == 1:
        return {name: texts(array[name]) for name in dtype.names}
    named = [feature.name for feature in features]
    if len(shape) != 2 or shape[1] != len(named) or dtype.kind not in "fiub":
        raise RequestError(
            400,
            f"an array of shape {shape} and {dtype}; expected a structured array with the fields "
            f"{', '.join(named)}, or (rows, {len(named)}) numbers in that order",
        )
    return dict(zip(named, array.T, strict=True))


def texts(column: npt.NDArray[Any]) -> Any:
    """Text as a list; an empty one is a missing value, which .npy cannot write otherwise."""
    if column.dtype.kind == "S":
        try:
            column = np.strings.decode(column, "utf-8")
        except UnicodeDecodeError as error:
            raise RequestError(400, f"a text of the array is no UTF-8: {error.reason}") from None
    return [text or None for text in column.tolist()] if column.dtype.kind == "U" else column


def write_npy(prediction: Prediction, batch: Batch) -> bytes:
    """A structured array."""
    table = prediction.columns(batch)
    columns = {name: np.asarray(values) for name, values in table.items()}
    dtype = [(name, values.dtype) for name, values in columns.items()]
    array = np.empty(len(next(iter(columns.values()))), dtype)
    for name, values in columns.items():
        array[name] = values
    file = BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def read_arrow(body: bytes, features: list[Feature], max_rows: int, max_bytes: int) -> Table:
    """Columns of an Arrow IPC stream."""
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(body) as stream:
            batches, rows, size = [], 0, 0
            for batch in stream:
                rows, size = rows + batch.num_rows, size + batch.nbytes
                check_size(rows, max_rows, size, max_bytes)
                batches.append(batch)
            return arrays(pa.Table.from_batches(batches, stream.schema))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RequestError(400, f"the body is no Arrow IPC stream: {error}") from None


def read_parquet(body: bytes, features: list[Feature], max_rows: int, max_bytes: int) -> Table:
    """Columns of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(BytesIO(body)) as file:
            about = file.metadata
            size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
            check_size(about.num_rows, max_rows, size, max_bytes)
            return arrays(file.read(use_threads=False))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RequestError(400, f"the body is no Parquet file: {error}") from None


def check_size(rows: int, max_rows: int, size: int, max_bytes: int) -> None:
    """Refuse a table that is larger than its body may become."""
    check_rows(rows, max_rows)
    if size > max_bytes * UNPACKED:
        raise RequestError(413, f"the table takes {size} bytes unpacked; send several requests")


def arrays(table: Any) -> Table:
    """Numbers as arrays, with NaN for null; all else as Python values."""
    import pyarrow as pa

    if len(set(table.column_names)) < table.num_columns:
        raise RequestError(400, "two columns of the table have the same name")
    return {
        name: column.to_numpy()
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
        else column.to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def write_arrow(prediction: Prediction, batch: Batch) -> bytes:
    """An Arrow IPC stream."""
    import pyarrow as pa

    whole, sink = pa.table(prediction.columns(batch)), BytesIO()
    with pa.ipc.new_stream(sink, whole.schema) as stream:
        stream.write_table(whole)
    return sink.getvalue()


def write_parquet(prediction: Prediction, batch: Batch) -> bytes:
    """A Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = BytesIO()
    pq.write_table(pa.table(prediction.columns(batch)), sink)
    return sink.getvalue()


KINDS = {
    "application/x-npy": Kind(read_npy, write_npy),
    "application/vnd.apache.arrow.stream": Kind(read_arrow, write_arrow),
    "application/vnd.apache.parquet": Kind(read_parquet, write_parquet),
}


def install(app: Flask) -> None:
    """Teach `/predict` these forms."""
    app.extensions["native"].kinds.update(KINDS)
