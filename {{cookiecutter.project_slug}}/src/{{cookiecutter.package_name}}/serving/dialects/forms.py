"""Forms of rows, and of answers, that several protocols share."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import json

from ...model.cells import value_of
from ...model.manifest import Feature
from ..errors import RequestError


def rows_of(content: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Rows as objects; one that is a list has its values in the order of the features.

    A bare value is a row of a model that has one feature. Raises a 400.
    """
    rows = []
    for i, row in enumerate(content):
        if len(names) == 1 and not isinstance(row, (dict, list)):
            row = [row]
        if isinstance(row, list):
            if len(row) != len(names):
                detail = f"row {i} has {len(row)} values, the model {len(names)} features"
                raise RequestError(400, f"{detail}: {', '.join(names)}")
            row = dict(zip(names, row, strict=True))
        rows.append(row)
    return rows


def columns_of(content: Mapping[str, Any]) -> Mapping[str, list[Any]]:
    """Columns by feature name, all of the same length. Raises a 400."""
    lengths = {}
    for name, column in content.items():
        if not isinstance(column, list):
            raise RequestError(400, f"the column {name} is no array")
        lengths[name] = len(column)
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise RequestError(400, f"the columns differ in length: {listed}")
    return content


def csv_of(
    body: bytes, features: Sequence[Feature], *, header: bool | None
) -> list[dict[str, Any]]:
    """Rows of a CSV text, with or without a header; None: a first line of all names is one.

    Raises a 400.
    """
    try:
        lines = lines_of(body)
    except ValueError as error:
        raise RequestError(400, f"the body cannot be read as CSV: {error}") from None
    known = {feature.name: feature for feature in features}
    names = list(known)
    if header or (header is None and lines and lines[0] == names):
        names, lines = (lines[0], lines[1:]) if lines else ([], [])
        if len(set(names)) < len(names):
            raise RequestError(400, "the first line must name each column, each differently")
    elif lines and len(lines[0]) != len(names):
        detail = f"a row has {len(lines[0])} cells, the model {len(names)} features"
        raise RequestError(400, f"{detail}: {', '.join(names)}")
    # A column that is no feature stays as it is, for the schema to refuse.
    readers = [(name, known.get(name)) for name in names]
    return [
        {
            name: value_of(feature, cell) if feature else cell
            for (name, feature), cell in zip(readers, line, strict=True)
        }
        for line in lines
    ]


def lines_of(body: bytes) -> list[list[str]]:
    """The cells of a CSV text; raises ValueError if it is none, or its lines differ in length."""
    try:
        # utf-8-sig: spreadsheets write a byte order mark, which is no part of the first cell.
        reader = csv.reader(body.decode("utf-8-sig").splitlines(keepends=True), strict=True)
        lines = [cells for cells in reader if cells]  # an empty line is no row
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no UTF-8 text: {error.reason}") from None
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from None
    for i, cells in enumerate(lines):
        if len(cells) != len(lines[0]):
            raise ValueError(f"row {i} has {len(cells)} cells, the first one {len(lines[0])}")
    return lines


def answer_of(values: Any, key: str = "predictions") -> bytes:
    """A JSON answer of one field; NaN becomes null."""
    return json.encode({key: values})
