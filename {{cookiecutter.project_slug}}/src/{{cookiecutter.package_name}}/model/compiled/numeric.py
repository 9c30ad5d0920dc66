"""Steps from numbers to numbers. Each does scikit-learn's arithmetic in the same order."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .plan import Array, Function, Unsure

GROWING = ("PowerTransformer", "PolynomialFeatures")  # a large number may become infinite


def standard(step: Any) -> Function:
    """StandardScaler."""
    center, scale = step.mean_ if step.with_mean else None, step.scale_ if step.with_std else None
    return partial(scaled, center=center, scale=scale)


def robust(step: Any) -> Function:
    """RobustScaler."""
    center = step.center_ if step.with_centering else None
    return partial(scaled, center=center, scale=step.scale_ if step.with_scaling else None)


def max_abs(step: Any) -> Function:
    """MaxAbsScaler."""
    return partial(scaled, scale=step.scale_, clip=(-1.0, 1.0) if step.clip else None)


def scaled(
    x: Array,
    *,
    center: Array | None = None,
    scale: Array | None = None,
    clip: tuple[float, float] | None = None,
) -> Array:
    """(x - center) / scale, either of which may be absent."""
    x = x if center is None else x - center
    x = x if scale is None else x / scale
    return x if clip is None else np.clip(x, *clip)


def min_max(step: Any) -> Function:
    """MinMaxScaler."""
    clip = step.feature_range if step.clip else None
    return partial(stretched, scale=step.scale_, least=step.min_, clip=clip)


def stretched(x: Array, *, scale: Array, least: Array, clip: tuple[float, float] | None) -> Array:
    """x * scale + least."""
    x = x * scale + least
    return x if clip is None else np.clip(x, *clip)


def normalizer(step: Any) -> Function:
    """Normalizer."""
    return partial(normalized, norm=step.norm)


def normalized(x: Array, *, norm: str) -> Array:
    """Each row divided by its norm; a row of zeros, or next to zero, stays as it is."""
    if norm == "l2":
        length = np.sqrt(np.einsum("ij,ij->i", x, x))
    else:
        length = np.abs(x).sum(axis=1) if norm == "l1" else np.abs(x).max(axis=1)
    length[length < 10 * np.finfo(float).eps] = 1.0
    return np.asarray(x / length[:, None])


def power(step: Any) -> Function:
    """PowerTransformer."""
    after = standard(step._scaler) if step.standardize else scaled
    return partial(curved, lambdas=step.lambdas_, positive=step.method == "box-cox", after=after)


def curved(x: Array, *, lambdas: Array, positive: bool, after: Function) -> Array:
    """SciPy's transformation of each column, as scikit-learn calls it."""
    from scipy.special import boxcox  # slow to import, and rarely needed
    from scipy.stats import yeojohnson

    if positive and not np.nanmin(x, initial=1.0) > 0:
        raise Unsure
    curve = boxcox if positive else yeojohnson
    with np.errstate(invalid="ignore", over="ignore"):
        columns = [curve(x[:, i].copy(), each) for i, each in enumerate(lambdas)]
    return after(np.column_stack(columns))


def quantile(step: Any) -> Function:
    """QuantileTransformer: its own interpolation, without the checks around it."""
    return partial(interpolated, step=step)


def interpolated(x: Array, *, step: Any) -> Array:
    """The place of each number among its column's quantiles."""
    return np.asarray(step._transform(x.copy()))


def bins(step: Any) -> Function:
    """KBinsDiscretizer, ordinal or one-hot."""
    inner = [edges[1:-1] for edges in step.bin_edges_]
    eyes = None if step.encode == "ordinal" else [np.eye(int(count)) for count in step.n_bins_]
    return partial(binned, inner=inner, eyes=eyes)


def binned(x: Array, *, inner: list[Array], eyes: list[Array] | None) -> Array:
    """The number of each value's bin, or a column for each bin."""
    codes = [edges.searchsorted(x[:, i], "right") for i, edges in enumerate(inner)]
    if eyes is None:
        return np.column_stack(codes).astype(float)
    return np.hstack([eye.take(code, 0) for eye, code in zip(eyes, codes, strict=True)])


def polynomial(step: Any) -> Function:
    """PolynomialFeatures."""
    return partial(
        products, factors=[np.repeat(np.arange(len(row)), row).tolist() for row in step.powers_]
    )


def products(x: Array, *, factors: list[list[int]]) -> Array:
    """The product of each list of columns, from the right, as scikit-learn builds it."""
    columns = []
    for each in factors:
        column = x[:, each[-1]] if each else np.ones(len(x))
        for i in reversed(each[:-1]):
            column = x[:, i] * column
        columns.append(column)
    return np.column_stack(columns)


def pca(step: Any) -> Function:
    """PCA."""
    components = step.components_.T
    center, scale = step.mean_.reshape(1, -1) @ components, None
    if step.whiten:
        least = np.finfo(step.explained_variance_.dtype).eps
        scale = np.maximum(np.sqrt(step.explained_variance_), least)
    return partial(
        projected, components=components, after=partial(scaled, center=center, scale=scale)
    )


def projected(x: Array, *, components: Array, after: Function) -> Array:
    """Projection, then centering, then whitening."""
    return after(x @ components)


def quietly(x: Array, *, function: Function) -> Array:
    """A NumPy function of one value, without its warnings."""
    with np.errstate(all="ignore"):
        return np.asarray(function(x), dtype=float)


STEPS: dict[str, Callable[[Any], Function]] = {
    "StandardScaler": standard,
    "RobustScaler": robust,
    "MinMaxScaler": min_max,
    "MaxAbsScaler": max_abs,
    "Normalizer": normalizer,
    "PowerTransformer": power,
    "QuantileTransformer": quantile,
    "KBinsDiscretizer": bins,
    "PolynomialFeatures": polynomial,
    "PCA": pca,
}
