"""Rows as a client sends them -> a `Batch` of checked columns, or every fault in them."""

import difflib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from .batch import Batch, Column, Flag
from .manifest import Feature

EXACT = 2**53  # integers beyond this are not exact in float64, in which scikit-learn computes
KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
KINDS |= {list: "an array", dict: "an object", type(None): "null"}
# What JSON may hold for a feature; whether a number has a fraction is seen on the column.
TYPES = {"number": float, "integer": float, "boolean": bool, "category": str}


class Fault(NamedTuple):
    """What is wrong, at which row and feature (None: the row as a whole)."""

    row: int
    feature: str | None
    msg: str


@dataclass
class InputError(ValueError):
    """Rows that break the schema; `faults` holds all of them, row by row."""

    faults: list[Fault]


def is_missing(value: object) -> bool:
    """`null`, NaN and an absent key are one thing."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def fault_of(feature: Feature, value: Any) -> str | None:
    """What is wrong with a value that is not missing."""
    kind = KINDS.get(type(value), type(value).__name__)
    if feature.type == "category":
        return None if isinstance(value, str) else f"must be a string, got {kind}"
    if feature.type == "boolean":
        return None if isinstance(value, bool) else f"must be true or false, got {kind}"
    if kind != "a number":
        return f"must be {'an integer' if feature.type == 'integer' else 'a number'}, got {kind}"
    if abs(value) > sys.float_info.max:
        return "must be a finite number"
    if feature.type == "integer" and value != int(value):
        return "must be an integer, got a number with a fraction"
    if feature.type == "integer" and abs(value) > EXACT:
        return "must lie within -2**53 and 2**53"
    return None


class Schema:
    """Checks rows against the manifest's features."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self.features = list(features)
        self._names = {feature.name: i for i, feature in enumerate(features)}
        self._numbers = [feature for feature in features if feature.type != "category"]
        self._texts = [feature for feature in features if feature.type == "category"]
        self._integers = [i for i, f in enumerate(self._numbers) if f.type == "integer"]
        lows, highs = ([getattr(f, end) for f in self._numbers] for end in ("minimum", "maximum"))
        # NaN where none is known: nothing is below or above it.
        self._low, self._high = np.array(lows, np.float64), np.array(highs, np.float64)
        self._known = [frozenset([None, *(f.categories or ())]) for f in self._texts]
        self._decoder = msgspec.json.Decoder(request_of(self.features))
        self._fields_of_numbers = [self._names[f.name] for f in self._numbers]
        self._fields_of_texts = [self._names[f.name] for f in self._texts]
        self._numbers_of = values_of(self._fields_of_numbers)
        self._texts_of = [attrgetter(f"f{field}") for field in self._fields_of_texts]

    def decode(self, body: bytes) -> Batch | None:
        """The rows of a legal native request, straight into columns.

        None for any other body, which `read` may still take, or say what is wrong with.
        """
        try:
            rows = self._decoder.decode(body).instances
        except (msgspec.DecodeError, RecursionError):
            return None
        shape = len(rows), len(self._numbers)
        # None becomes NaN. JSON has no infinity, and the decoder refuses a number that is one.
        values = chain.from_iterable(map(self._numbers_of, rows))
        numbers = np.fromiter(values, np.float64, shape[0] * shape[1]).reshape(shape)
        texts = [list(map(text, rows)) for text in self._texts_of]
        if self._integers and not are_integers(numbers[:, self._integers]):
            return None
        return self.batch(numbers, texts)

    def batch(self, numbers: npt.NDArray[np.float64], texts: list[list[str | None]]) -> Batch:
        """Checked columns with the flags of their rows."""
        found: list[tuple[int, int, str]] = []
        below, above = numbers < self._low, numbers > self._high
        if np.count_nonzero(below) or np.count_nonzero(above):
            for flag, where in (("below_minimum", below), ("above_maximum", above)):
                rows, columns = (each.tolist() for each in np.nonzero(where))
                fields = [self._fields_of_numbers[column] for column in columns]
                found += zip(rows, fields, [flag] * len(rows), strict=True)
        for field, known, column in zip(self._fields_of_texts, self._known, texts, strict=True):
            if not known.issuperset(column):
                unknown = (i for i, text in enumerate(column) if text not in known)
                found += ((i, field, "unknown_category") for i in unknown)
        flags = [Flag(row, self.features[field].name, flag) for row, field, flag in sorted(found)]
        return Batch(self.features, numbers, texts, flags)

    def read(self, rows: Sequence[object]) -> Batch:
        """Check rows, objects keyed by feature name, and turn them into columns.

        Raises InputError with every fault of every row, if there is any.
        """
        if faults := [fault for i, row in enumerate(rows) for fault in self._faults(i, row)]:
            raise InputError(faults)
        checked: Sequence[Any] = rows
        numbers = np.array(
            [[row.get(f.name) for f in self._numbers] for row in checked], dtype=np.float64
        ).reshape(len(rows), len(self._numbers))
        texts = [[row.get(f.name) for row in checked] for f in self._texts]
        texts = [[None if is_missing(text) else text for text in column] for column in texts]
        return self.batch(numbers, texts)

    def take(self, table: Mapping[str, Any]) -> Batch:
        """Check columns, arrays or lists of equal length by feature name; see `read`.

        A nullable feature may be left out. Raises InputError with every fault.
        """
        rows = min((len(column) for column in table.values()), default=0)
        faults: list[Fault] = []
        checked: dict[str, Any] = {}
        for feature in self.features:
            column = table.get(feature.name)
            values: Any = None if column is None else legal(feature, column)
            if values is None:  # value by value, as in a row
                given = [None] * rows if column is None else plain(column)
                for i, value in enumerate(given):
                    if msg := self._fault(feature, value, given=column is not None):
                        faults.append(Fault(i, feature.name, msg))
                values = [None if is_missing(value) else value for value in given]
            checked[feature.name] = values
        faults += [Fault(0, name, self._unknown(name)) for name in table if name not in self._names]
        if faults:
            raise InputError(sorted(faults, key=lambda fault: fault.row))
        numbers = np.empty((rows, len(self._numbers)))
        for i, feature in enumerate(self._numbers):
            numbers[:, i] = checked[feature.name]
        return self.batch(numbers, [checked[feature.name] for feature in self._texts])

    def _fault(self, feature: Feature, value: Any, *, given: bool) -> str | None:
        """What is wrong with a value, a missing one included."""
        if not is_missing(value):
            return fault_of(feature, value)
        return None if feature.nullable else "must not be null" if given else "is missing"

    def _unknown(self, name: str) -> str:
        """A mistyped name of a nullable feature would count as missing, unseen."""
        near = difflib.get_close_matches(name, self._names, n=1)
        return f"is no feature of this model{f'; did you mean {near[0]!r}?' if near else ''}"

    def _faults(self, i: int, row: object) -> Iterator[Fault]:
        if not isinstance(row, dict):
            kind = KINDS.get(type(row), "something else")
            yield Fault(i, None, f"must be an object of features, got {kind}")
            return
        for feature in self.features:
            given = feature.name in row
            if msg := self._fault(feature, row.get(feature.name), given=given):
                yield Fault(i, feature.name, msg)
        if not row.keys() <= self._names.keys():
            for name in sorted(row.keys() - self._names.keys()):
                yield Fault(i, name, self._unknown(name))


def legal(feature: Feature, column: Any) -> Column | list[Any] | None:
    """A column that is legal as a whole; None if it has to be looked at in detail."""
    if feature.type == "category" and isinstance(column, list):
        kinds = {str, type(None)} if feature.nullable else {str}
        return column if set(map(type, column)) <= kinds else None
    if not isinstance(column, np.ndarray) or column.dtype.kind not in "fiu":
        return None
    if feature.type not in ("number", "integer"):
        return None
    values = column.astype(np.float64)
    missing = np.isnan(values)
    if np.isinf(values).any() or (missing.any() and not feature.nullable):
        return None
    return None if feature.type == "integer" and not are_integers(values) else values


def are_integers(values: npt.NDArray[np.float64]) -> bool:
    """Whether all are integers, exact ones, or NaN."""
    fractions = (values != np.floor(values)) & (values == values)
    return not (fractions.any() or (abs(values) > EXACT).any())


def plain(column: Any) -> list[Any]:
    """A column as Python values."""
    return column.tolist() if isinstance(column, np.ndarray) else list(column)


def values_of(fields: list[int]) -> Callable[[Any], tuple[Any, ...]]:
    """A function from a decoded row to the values of some fields."""
    if len(fields) < 2:  # `attrgetter` gives no tuple then
        return lambda row: tuple(getattr(row, f"f{field}") for field in fields)
    return attrgetter(*(f"f{field}" for field in fields))


def request_of(features: Sequence[Feature]) -> Any:
    """The type of a native request: `instances`, rows with a field for each feature."""
    fields: list[Any] = []
    for i, feature in enumerate(features):
        kind = TYPES[feature.type]
        fields.append((f"f{i}", kind | None, None) if feature.nullable else (f"f{i}", kind))
    names = {f"f{i}": feature.name for i, feature in enumerate(features)}
    options = {"forbid_unknown_fields": True, "gc": False}
    defined: Any = msgspec.defstruct  # its types know no fields that are made at run time
    row: Any = defined("Row", fields, rename=names, kw_only=True, **options)
    return defined("Request", [("instances", list[row])], **options)
