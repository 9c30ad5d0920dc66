"""The proof: before a plan serves, it answers made-up rows as the pipeline does."""

import contextlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..batch import Batch
from ..manifest import NEVER_SEEN, Feature, Manifest
from ..reference import Reference
from ..schema import Schema
from .plan import Answer, Plan, Unsure

RELATIVE = 1e-12  # the largest difference of a number
FLOOR = 1e-3  # of the largest number of its column: below that a difference is relative to this
ROWS = 256
TIES = 512  # thresholds, each with the two floats around it
MOST_TIED = 16 * TIES  # rows with such a float
Numbers = npt.NDArray[np.float64]


class Verdict(NamedTuple):
    """Why the plan may not serve (None: it may), and what was compared."""

    fault: str | None
    rows: int
    difference: float | None
    proof: str = "equal to scikit-learn's pipeline on all rows of the proof"


def prove(plan: Plan, reference: Reference, schema: Schema, manifest: Manifest) -> Verdict:
    """Compare a plan with the pipeline, on the golden rows and on rows made for it.

    An equal plan keeps the rows and the answers: stored with it, they prove it elsewhere.
    """
    try:
        batch = sure(plan, proof_rows(schema, manifest, plan))
        expected = reference.answer(batch)
        verdict = compare(expected, plan.predict(batch))
    except Exception as error:  # an estimator may raise anything
        return Verdict(f"a row of the proof cannot be answered: {error!r}", 0, None)
    plan.recorded = None if verdict.fault else (batch, expected)
    return verdict


def prove_recorded(plan: Plan) -> Verdict:
    """Compare a plan with what the pipeline answered when the plan was stored."""
    assert plan.recorded is not None
    batch, expected = plan.recorded
    try:
        verdict = compare(expected, plan.predict(batch))
    except Exception as error:  # of another NumPy, maybe
        return Verdict(f"a row of the proof cannot be answered: {error!r}", 0, None)
    return verdict._replace(proof="equal to what scikit-learn's pipeline answered in training")


def sure(plan: Plan, batch: Batch) -> Batch:
    """The rows that the plan answers: on the others the pipeline may raise, and will be asked."""
    try:
        plan.predict(batch)
        return batch
    except Unsure:
        kept = []
        for i in range(len(batch)):
            with contextlib.suppress(Unsure):
                plan.predict(rows_of(batch, [i]))
                kept.append(i)
        return rows_of(batch, kept)


def rows_of(batch: Batch, rows: list[int]) -> Batch:
    """Some rows of a batch."""
    texts = [[column[i] for i in rows] for column in batch.texts]
    return Batch(batch.features, batch.numbers[rows], texts, [])


def compare(expected: Answer, answered: Answer) -> Verdict:
    """Labels must be equal, and numbers to 1e-12."""
    rows, differences = len(expected[0]), [0.0]
    for one, other in zip(expected, answered, strict=True):
        if one is None and other is None:
            continue
        if one is None or other is None or one.shape != other.shape:
            return Verdict("probabilities of another shape", rows, None)
        if one.dtype.kind == "f":
            differences.append(distance(one.reshape(rows, -1), other.reshape(rows, -1)))
        elif not (same := one == other).all():
            i = int(same.argmin())
            return Verdict(
                f"{other[i]!s} instead of {one[i]!s} in row {i} of the proof", rows, None
            )
    worst = float(np.max(differences))  # NaN if any is
    if not worst <= RELATIVE:
        return Verdict(f"a number of the proof differs by {worst:.2g}, relative", rows, worst)
    return Verdict(None, rows, worst)


def distance(expected: Numbers, answered: Numbers) -> float:
    """The largest relative difference of two matrices, column by column."""
    size = np.where(np.isfinite(expected), abs(expected), 0.0)
    scale = np.maximum(size, FLOOR * size.max(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = abs(expected - answered) / scale
    return float(np.where(expected == answered, 0.0, difference).max())


def proof_rows(schema: Schema, manifest: Manifest, plan: Plan) -> Batch:
    """Golden rows; rows drawn from the baseline, with nulls, unknown and extreme values; ties."""
    random = np.random.default_rng(0)
    golden = schema.read([each.input for each in manifest.golden])
    parts = [golden, draw(schema, manifest, random, ROWS)]
    found = ties(schema, plan)
    # A tree compares a value only where the row's other values lead to it: so several rows each.
    times = max(1, MOST_TIED // max(1, sum(map(len, found.values()))))
    others = draw(schema, manifest, random, times)
    for feature, values in found.items():
        rows = rows_of(others, [*range(times)] * len(values))
        rows.numbers[:, feature] = np.repeat(values, times)
        parts.append(rows)
    return Batch.joined(parts)


def draw(schema: Schema, manifest: Manifest, random: np.random.Generator, count: int) -> Batch:
    """Rows as training saw them, and some that it did not."""
    numbers, texts = [], []
    for feature in schema.features:
        known, missing = manifest.baseline[feature.name], random.random(count) < 0.15
        if feature.type == "category":
            shares = known.shares or {NEVER_SEEN: 1.0}
            names = random.choice(list(shares), count, p=list(shares.values()))
            odd = random.random(count) < 0.1
            column = [NEVER_SEEN if o else str(name) for o, name in zip(odd, names, strict=True)]
            texts.append(
                [
                    None if m and feature.nullable else t
                    for m, t in zip(missing, column, strict=True)
                ]
            )
        else:
            values = spread(feature, known.quantiles or [0.0, 1.0], random, count)
            numbers.append(np.where(missing & feature.nullable, np.nan, values))
    return Batch(
        schema.features, np.column_stack(numbers) if numbers else np.empty((count, 0)), texts, []
    )


def spread(
    feature: Feature, quantiles: list[float], random: np.random.Generator, count: int
) -> Numbers:
    """Values between the deciles, a tenth of them beyond the range on either side."""
    values = np.interp(random.random(count), np.linspace(0, 1, len(quantiles)), quantiles)
    low, high = quantiles[0], quantiles[-1]
    beyond = np.where(random.random(count) < 0.5, low - (high - low) - 1, high + (high - low) + 1)
    if feature.type == "boolean":
        return (values > (low + high) / 2).astype(float)
    values = np.where(random.random(count) < 0.1, beyond, values)
    return np.round(values) if feature.type == "integer" else values


def ties(schema: Schema, plan: Plan) -> dict[int, Numbers]:
    """For each number that trees test: the two neighbouring floats around a threshold.

    What a tree compares may be the value after scaling, so the floats are found by bisection
    through the plan's own steps.
    """
    if plan.ties is None:
        return {}
    cuts, prepare = plan.ties
    features = [feature for feature in schema.features if feature.type != "category"]
    most = TIES // max(1, sum(feature.type == "number" for feature in features))
    middle = schema.read([{feature.name: feature.example for feature in schema.features}])
    found: dict[int, Numbers] = {}
    for at, feature in enumerate(features):
        if feature.type != "number" or feature.minimum is None or feature.maximum is None:
            continue

        def seen(values: Numbers, at: int = at) -> Numbers:
            numbers = np.repeat(middle.numbers, len(values), axis=0)
            numbers[:, at] = values
            batch = Batch(schema.features, numbers, [t * len(values) for t in middle.texts], [])
            return prepare(plan.matrix(batch))

        with contextlib.suppress(Unsure):  # the pipeline may raise on the smallest value
            low, high = seen(np.array([feature.minimum, feature.maximum]))
            moved = [column for column in cuts if low[column] < high[column]]
            limits = [(c, cut) for c in moved for cut in cuts[c] if low[c] <= cut < high[c]]
            limits = limits[:: 1 + len(limits) // max(1, most)]
            found[at] = bisect(seen, limits, feature.minimum, feature.maximum)
    return found


def bisect(seen: Any, limits: list[tuple[int, float]], minimum: float, maximum: float) -> Numbers:
    """The largest floats that are seen at or below a limit in its column, and the next ones."""
    low, high = np.full(len(limits), float(minimum)), np.full(len(limits), float(maximum))
    rows, columns = np.arange(len(limits)), [column for column, _ in limits]
    cuts = np.array([cut for _, cut in limits])
    while True:
        middle = low + (high - low) / 2
        if not ((middle > low) & (middle < high)).any():
            return np.concatenate([low, high])
        below = seen(middle)[rows, columns] <= cuts
        low, high = np.where(below, middle, low), np.where(below, high, middle)
