"""Cells of text, as CSV files hold them -> values for the schema."""

import csv
from typing import Any

from .manifest import Feature

# What common tools write for a missing value in CSV.
MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"})
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def value_of(feature: Feature, value: Any) -> Any:
    """The value of a cell; text that does not fit is left for the schema to refuse."""
    if not isinstance(value, str):
        return value
    if feature.type == "category":
        # A category may be named like a missing value: NA is Namibia's country code.
        return None if value in MISSING and value not in (feature.categories or ()) else value
    text = value.strip()
    if text in MISSING or feature.type == "boolean":
        return None if text in MISSING else BOOLEANS.get(text.lower(), text)
    try:
        return float(text)
    except ValueError:
        return text


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
