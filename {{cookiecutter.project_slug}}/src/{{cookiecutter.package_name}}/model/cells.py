"""Cells of text, as CSV files hold them -> values for the schema."""

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
