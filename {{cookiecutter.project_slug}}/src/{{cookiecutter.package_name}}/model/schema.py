"""Rows as a client sends them -> a `Batch` of checked columns, or every fault in them."""

import difflib
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .manifest import Feature

Column = npt.NDArray[Any]
EXACT = 2**53  # integers beyond this are not exact in float64, in which scikit-learn computes
KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
KINDS |= {list: "an array", dict: "an object", type(None): "null"}


class Fault(NamedTuple):
    """What is wrong, at which row and feature (None: the row as a whole)."""

    row: int
    feature: str | None
    msg: str


class Flag(NamedTuple):
    """A legal value that training never saw."""

    row: int
    feature: str
    flag: str


@dataclass
class InputError(ValueError):
    """Rows that break the schema; `faults` holds all of them, row by row."""

    faults: list[Fault]


@dataclass(frozen=True)
class Batch:
    """Checked rows as columns, the one form in which every protocol reaches the model.

    `columns` maps each feature to an array of shape (rows,): float64, or object with str for
    a category. A missing value is NaN in both.
    """

    rows: int
    columns: dict[str, Column]
    flags: list[Flag]


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
        self._names = {feature.name: None for feature in features}

    def read(self, rows: Sequence[object]) -> Batch:
        """Check rows, objects keyed by feature name, and turn them into columns.

        Raises InputError with every fault of every row, if there is any.
        """
        if faults := [fault for i, row in enumerate(rows) for fault in self._faults(i, row)]:
            raise InputError(faults)
        columns = {feature.name: self._column(feature, rows) for feature in self.features}
        flags = [flag for f in self.features for flag in self._flags(f, columns[f.name])]
        return Batch(len(rows), columns, sorted(flags, key=lambda flag: flag.row))

    def _faults(self, i: int, row: object) -> Iterator[Fault]:
        if not isinstance(row, dict):
            kind = KINDS.get(type(row), "something else")
            yield Fault(i, None, f"must be an object of features, got {kind}")
            return
        for feature in self.features:
            value = row.get(feature.name)
            if is_missing(value):
                if not feature.nullable:
                    given = feature.name in row
                    yield Fault(i, feature.name, "must not be null" if given else "is missing")
            elif msg := fault_of(feature, value):
                yield Fault(i, feature.name, msg)
        if not row.keys() <= self._names.keys():
            for name in sorted(row.keys() - self._names.keys()):
                # A mistyped name of a nullable feature would count as missing, unseen.
                near = difflib.get_close_matches(name, self._names, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                yield Fault(i, name, f"is no feature of this model{hint}")

    def _column(self, feature: Feature, rows: Sequence[Any]) -> Column:
        values = [row.get(feature.name) for row in rows]
        if feature.type != "category":
            return np.array(values, dtype=np.float64)  # None becomes NaN
        # NaN, not None: None in an object column is no missing value to SimpleImputer, so a
        # row would answer differently alone (all None) and in a batch (pandas infers `str`).
        column = np.empty(len(values), dtype=object)
        column[:] = [np.nan if is_missing(value) else value for value in values]
        return column

    def _flags(self, feature: Feature, column: Column) -> Iterator[Flag]:
        if feature.type == "category":
            known = {*(feature.categories or ()), np.nan}
            unknown = [i for i, value in enumerate(column) if value not in known]
            yield from (Flag(i, feature.name, "unknown_category") for i in unknown)
        elif feature.minimum is not None and feature.maximum is not None:
            below, above = column < feature.minimum, column > feature.maximum
            for flag, found in (("below_minimum", below), ("above_maximum", above)):
                yield from (Flag(i, feature.name, flag) for i in np.flatnonzero(found).tolist())
