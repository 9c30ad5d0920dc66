"""Encoders of categories, tabulated: at load, scikit-learn's own step encodes every category.

What an encoder answers depends on one column's value alone: a known category, a missing value,
or any other text. So each column's codes are looked up once a row, and one table holds what all
steps after it make of each code.
"""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..batch import Batch
from ..manifest import Feature
from .plan import Array, CannotCompile, Column, Plan, Unsure, Values

ENCODERS = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
UNKNOWN = "\0any other text"
STEPS = ("transform", "steps", "_preprocessor")  # what has one may hold categories
LARGEST = 4_000_000  # numbers in the tables of one encoder: 32 MB


def first_columns(plan: Plan, estimator: object, features: list[Feature]) -> list[Column]:
    """The batch's columns, in the order of the features."""
    known = {*texts_in(estimator, set())}.union(*(f.categories or () for f in features))
    domain = np.array([*sorted(known - {UNKNOWN}), np.nan, UNKNOWN], dtype=object)
    codes: dict[str | None, int] = {text: i for i, text in enumerate(domain[:-2])}
    codes[None] = len(domain) - 2
    columns, numbers, texts = [], 0, 0
    for feature in features:
        if feature.type == "category":
            slot = plan.add(partial(code_text, at=texts, codes=codes, unknown=len(domain) - 1))
            columns.append(Column(slot, table=domain, missing=feature.nullable))
            texts += 1
        else:
            columns.append(Column(0, numbers, missing=feature.nullable))
            numbers += 1
    return columns


def texts_in(thing: object, seen: set[int]) -> Iterator[str]:
    """Every text in the fitted state of transformers: what could be a category to them."""
    if isinstance(thing, str):
        yield thing
    elif isinstance(thing, np.ndarray):
        if thing.dtype.kind in "OU":
            for each in thing.ravel().tolist():
                yield from texts_in(each, seen)
    elif isinstance(thing, list | tuple):
        for each in thing:
            yield from texts_in(each, seen)
    elif id(thing) not in seen and any(hasattr(thing, name) for name in STEPS):
        seen.add(id(thing))
        for each in vars(thing).values():
            yield from texts_in(each, seen)


def code_text(
    values: Values, batch: Batch, *, at: int, codes: dict[str | None, int], unknown: int
) -> Array:
    """The codes of the batch's text column number `at`."""
    get = codes.get
    return np.array([get(text, unknown) for text in batch.texts[at]], dtype=np.intp)


def code_number(values: Values, batch: Batch, *, slot: int, at: int, domain: Array) -> Array:
    """The codes of a column of numbers: its place in `domain`, then missing, then any other."""
    count, x = len(domain), values[slot][:, at]
    found = domain.searchsorted(x)
    same = domain.take(found, mode="clip") == x
    return np.where(same, found, np.where(np.isnan(x), count, count + 1))


def refuse(values: Values, batch: Batch, *, slot: int, raising: Array) -> Array:
    """The same codes, unless the encoder raises on one of them."""
    codes = values[slot]
    if raising.take(codes).any():
        raise Unsure
    return codes


def encode(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    """The columns that an encoder makes of these, tabulated."""
    name, known = type(step).__name__, step.categories_
    columns = [tabled(plan, column, known[i]) for i, column in enumerate(columns)]
    tables = [column.table for column in columns if column.table is not None]
    outputs = sum(map(len, known)) if name == "OneHotEncoder" else len(columns)
    if (most := max(map(len, tables))) * outputs > LARGEST:
        raise CannotCompile(name, f"{most} values for {outputs} columns are too many")
    made: dict[int, Column] = {}
    first, constant = columns[0], np.empty(0)
    for i, column in enumerate(columns):
        results = encoded(step, tables, i)
        raising = np.array([result is None for result in results])
        answered = [result for result in results if result is not None]
        if not answered:
            raise CannotCompile(name, f"encodes no value of column {i}")
        constant = answered[0]
        rows = np.full((len(results), len(constant)), np.nan)
        rows[~raising] = answered
        if raising.any():
            column = Column(
                plan.add(partial(refuse, slot=column.slot, raising=raising)), table=column.table
            )
        first = column if i == 0 else first
        same = (rows == constant) | (np.isnan(rows) & np.isnan(constant)) | raising[:, None]
        for at in np.flatnonzero(~same.all(axis=0)).tolist():
            missing = bool(np.isnan(rows[~raising, at]).any())
            made[at] = Column(column.slot, table=rows[:, at], missing=missing)
    for at, value in enumerate(constant):
        if at not in made:  # it is the same for every value of every column
            table = np.full(len(tables[0]), value)
            made[at] = Column(first.slot, table=table, missing=bool(np.isnan(value)))
    sparse = getattr(step, "sparse_output", False)
    return [replace(made[at], sparse=sparse) for at in sorted(made)]


def tabled(plan: Plan, column: Column, known: Array) -> Column:
    """The column as codes and a table, whether it holds text or numbers."""
    if column.table is not None:
        return column
    domain = np.unique(np.array([0.0, *(each for each in known if each is not None)], dtype=float))
    domain = domain[np.isfinite(domain)]
    slot = plan.add(partial(code_number, slot=column.slot, at=column.at, domain=domain))
    other = np.nextafter(domain[-1], np.inf)
    return Column(slot, table=np.array([*domain, np.nan, other]), missing=column.missing)


def encoded(step: Any, tables: list[Array], varied: int) -> list[Array | None]:
    """The encoder's answer for each value of one column; None where it raises."""
    import pandas as pd

    names = getattr(step, "feature_names_in_", range(len(tables)))

    def run(values: Array) -> Array:
        # The other columns hold a category that the encoder knows.
        given = {
            name: values if i == varied else np.repeat(step.categories_[i][:1], len(values))
            for i, name in enumerate(names)
        }
        series = {
            name: pd.Series(each, dtype=tables[i].dtype)
            for i, (name, each) in enumerate(given.items())
        }
        frame = pd.DataFrame(series)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unknown categories
            found = step.transform(
                frame if hasattr(step, "feature_names_in_") else frame.to_numpy()
            )
        return np.asarray(found.toarray() if hasattr(found, "toarray") else found, dtype=float)

    table = tables[varied]
    try:
        return list(run(table))
    except ValueError:  # handle_unknown="error"
        answers: list[Array | None] = []
        for i in range(len(table)):
            try:
                answers.append(run(table[i : i + 1])[0])
            except ValueError:
                answers.append(None)
        return answers
