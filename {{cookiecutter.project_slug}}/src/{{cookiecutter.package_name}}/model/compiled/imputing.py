"""SimpleImputer, on numbers and on text."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from .plan import Array, CannotCompile, Column, Plan


def impute(plan: Plan, step: Any, columns: list[Column]) -> list[Column]:
    """Replace missing values by the fitted statistics, then append the indicators."""
    marker = step.missing_values
    if not isinstance(marker, int | float | str):
        raise CannotCompile("SimpleImputer", f"missing_values={marker!r}")
    takes_nan = is_nan(marker)
    if not takes_nan and any(column.missing and column.table is not None for column in columns):
        raise CannotCompile("SimpleImputer", f"refuses null, which is not {marker!r}")
    made = dict(enumerate(columns))
    loose = []  # columns that need work at run time
    for i, column in made.items():
        if column.table is not None:
            table = column.table.copy()
            table[is_marker(table, marker)] = step.statistics_[i]
            made[i] = replace(column, table=table, missing=False)
        elif column.missing or not takes_nan:
            loose.append(i)
    if loose:
        statistics = np.array([step.statistics_[i] for i in loose], dtype=float)
        fill = partial(filled, marker=marker, statistics=statistics)
        results = plan.apply(fill, [columns[i] for i in loose], takes_nan)
        made |= {i: replace(new, missing=False) for i, new in zip(loose, results, strict=True)}
    # A column without any value in training has no statistic, and is dropped.
    kept = [
        c for i, c in made.items() if step.keep_empty_features or not is_nan(step.statistics_[i])
    ]
    if step.add_indicator:
        kept += [indicator(plan, columns[i], marker, takes_nan) for i in step.indicator_.features_]
    return kept


def is_nan(value: Any) -> bool:
    """Whether the one value is NaN, whatever its type."""
    return bool(value != value)


def is_marker(values: Array, marker: Any) -> Array:
    """Where values are missing, as a boolean array."""
    return np.asarray(values != values if is_nan(marker) else values == marker, dtype=bool)


def filled(x: Array, *, marker: Any, statistics: Array) -> Array:
    """The matrix with each column's statistic where a value is missing."""
    return np.where(is_marker(x, marker), statistics, x)


def indicator(plan: Plan, column: Column, marker: Any, takes_nan: bool) -> Column:
    """1.0 where the column was missing, else 0.0."""
    if column.table is not None:
        return replace(column, table=is_marker(column.table, marker).astype(float), missing=False)
    [made] = plan.apply(partial(is_marker, marker=marker), [column], takes_nan)
    return replace(made, missing=False)
