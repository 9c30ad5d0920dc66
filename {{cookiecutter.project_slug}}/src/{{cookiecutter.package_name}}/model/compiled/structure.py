"""Pipeline, ColumnTransformer, FeatureUnion: which columns go through which step."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from sklearn.utils import check_array, get_tags

from . import categories, imputing, linear, numeric, trees
from .plan import Answer, Array, CannotCompile, Column, Plan

Columns = list[Column]
FINALS = linear.FINALS | trees.FINALS
UNKNOWN = "is no step that this engine knows"


def name_of(step: Any) -> str:
    """The class of a step; one that is not scikit-learn's own, a subclass too, with its module."""
    kind = type(step)
    own = kind.__module__.partition(".")[0] == "sklearn"
    return kind.__name__ if own else f"{kind.__module__}.{kind.__qualname__}"


def read(plan: Plan, estimator: Any, columns: Columns, names: list[str]) -> None:
    """Read a whole fitted estimator; the final one, known or not, comes last."""
    final, name = estimator, name_of(estimator)
    if name == "Pipeline":
        *steps, final = (step for _, step in estimator.steps)
        for step in steps:
            columns, names = transform(plan, step, columns, names), []
        name = name_of(final)
        if name == "Pipeline":
            return read(plan, final, columns, names)
    if name.startswith("HistGradientBoosting") and final._preprocessor is not None:
        columns = transform(plan, final._preprocessor, columns, names)
    reason = None
    if name in FINALS:
        try:
            answer = FINALS[name](plan, final)
            plan.steps.append(f"{name} (compiled)")
            return plan.finish(columns, allows_nan(final), answer)
        except CannotCompile as error:
            reason = error
    # A final that was fitted on a frame (`set_output`) warns about any other input.
    if final is estimator or hasattr(final, "feature_names_in_"):
        raise reason or CannotCompile(name, UNKNOWN if final is estimator else "takes a DataFrame")
    plan.steps.append(f"{name} (scikit-learn's own{f': {reason}' if reason else ''})")
    sparse, has_shares = any(column.sparse for column in columns), hasattr(final, "predict_proba")
    answer = partial(own, final=final, sparse=sparse, has_shares=has_shares)
    return plan.finish(columns, True, answer)


def allows_nan(step: Any) -> bool:
    """Whether a fitted step takes NaN."""
    return bool(get_tags(step).input_tags.allow_nan)


def own(x: Array, *, final: Any, sparse: bool, has_shares: bool) -> Answer:
    """What scikit-learn's final estimator answers after planned steps."""
    if sparse:
        from scipy.sparse import csr_array

        x = csr_array(x)
    return final.predict(x), final.predict_proba(x) if has_shares else None


def transform(plan: Plan, step: Any, columns: Columns, names: list[str]) -> Columns:
    """The columns that a fitted transformer makes of these."""
    name = "passthrough" if step is None or isinstance(step, str) else name_of(step)
    if name == "passthrough":
        return columns
    if name in STRUCTURES:
        return STRUCTURES[name](plan, step, columns, names)
    plan.steps.append(name)
    if hasattr(step, "get_support") and type(step).__module__.startswith("sklearn.feature_selec"):
        return selected(plan, step, columns)
    if name == "FunctionTransformer" and is_nothing(step.func):
        return columns
    if name in categories.ENCODERS:
        return categories.encode(plan, step, columns)
    if any(column.sparse for column in columns):
        raise CannotCompile(name, "takes a sparse matrix, on which scikit-learn computes otherwise")
    if name == "SimpleImputer":
        return imputing.impute(plan, step, columns)
    if name == "FunctionTransformer":
        return called(plan, step, columns)
    if name not in numeric.STEPS:
        raise CannotCompile(name, UNKNOWN)
    function, grows = numeric.STEPS[name](step), name in numeric.GROWING
    made = plan.apply(function, columns, allows_nan(step), grows=grows)
    sparse = name == "KBinsDiscretizer" and step.encode == "onehot"
    return [replace(column, sparse=sparse) for column in made]


def selected(plan: Plan, step: Any, columns: Columns) -> Columns:
    """The columns that SelectKBest, VarianceThreshold, RFE or the like chose."""
    if not allows_nan(step) and any(column.missing for column in columns):
        # It refuses NaN in those that it drops, too.
        made = plan.apply(numeric.scaled, columns, allow_nan=False)
        columns = [replace(c, sparse=old.sparse) for c, old in zip(made, columns, strict=True)]
    return [column for column, kept in zip(columns, step.get_support(), strict=True) if kept]


def pipeline(plan: Plan, step: Any, columns: Columns, names: list[str]) -> Columns:
    """Each transformer in turn."""
    for _, each in step.steps:
        columns, names = transform(plan, each, columns, names), []
    return columns


def column_transformer(plan: Plan, step: Any, columns: Columns, names: list[str]) -> Columns:
    """Each transformer on its own columns, their results side by side."""
    fitted, made = list(getattr(step, "feature_names_in_", [])), []
    if fitted and names:  # it may have been fitted on other columns too, in another order
        columns = [columns[names.index(name)] for name in fitted]
    weights = step.transformer_weights or {}
    for name, each, spec in step.transformers_:
        chosen = positions(spec, fitted, len(columns))
        if (isinstance(each, str) and each == "drop") or not chosen:
            continue
        part = [fitted[i] for i in chosen] if fitted else []
        results = transform(plan, each, [columns[i] for i in chosen], part)
        made += weighted(plan, results, weights.get(name))
    return [replace(column, sparse=step.sparse_output_) for column in made]


def union(plan: Plan, step: Any, columns: Columns, names: list[str]) -> Columns:
    """Each transformer on all columns, their results side by side."""
    made, weights = [], step.transformer_weights or {}
    for name, each in step.transformer_list:
        if not (isinstance(each, str) and each == "drop"):
            made += weighted(plan, transform(plan, each, columns, names), weights.get(name))
    sparse = any(column.sparse for column in made)
    return [replace(column, sparse=sparse) for column in made]


def weighted(plan: Plan, columns: Columns, weight: float | None) -> Columns:
    """`transformer_weights` of one transformer."""
    if weight is None:
        return columns
    made = plan.apply(partial(np.multiply, weight), columns, allow_nan=True)
    return [replace(new, sparse=old.sparse) for new, old in zip(made, columns, strict=True)]


def positions(spec: Any, names: list[str], count: int) -> list[int]:
    """The column positions that a fitted ColumnTransformer's specification means."""
    if isinstance(spec, str):
        return [names.index(spec)]
    if isinstance(spec, slice):
        if isinstance(spec.start, str) or isinstance(spec.stop, str):
            first = names.index(spec.start) if spec.start is not None else None
            # A slice of names includes its end, as in pandas.
            last = names.index(spec.stop) + 1 if spec.stop is not None else None
            spec = slice(first, last, spec.step)
        return [*range(count)[spec]]
    each: list[Any] = [spec] if np.isscalar(spec) else list(spec)
    if each and all(isinstance(one, bool | np.bool_) for one in each):
        return [i for i, chosen in enumerate(each) if chosen]
    return [names.index(one) if isinstance(one, str) else range(count)[int(one)] for one in each]


def is_nothing(function: Any) -> bool:
    """Whether a FunctionTransformer's function returns what it gets."""
    # HistGradientBoosting puts a check of its own before numbers.
    return function is None or (isinstance(function, partial) and function.func is check_array)


def called(plan: Plan, step: Any, columns: Columns) -> Columns:
    """FunctionTransformer with a NumPy function of one value."""
    function = step.func
    if not (isinstance(function, np.ufunc) and function.nin == function.nout == 1) or step.kw_args:
        name = getattr(function, "__name__", repr(function))
        raise CannotCompile("FunctionTransformer", f"{name} is no NumPy function of one value")
    quiet = partial(numeric.quietly, function=function)
    made = plan.apply(quiet, columns, allow_nan=True, grows=True)
    return [replace(column, missing=True) for column in made]


STRUCTURES: dict[str, Callable[[Plan, Any, Columns, list[str]], Columns]] = {
    "Pipeline": pipeline,
    "ColumnTransformer": column_transformer,
    "FeatureUnion": union,
}
