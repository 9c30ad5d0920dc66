"""Decision trees, forests and boosted trees, as scikit-learn keeps them, for `bits` to evaluate."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .bits import BitVectors, Tree, cuts_of
from .linear import identity, inverse_of, softmax, two
from .plan import Answer, Array, CannotCompile, Final, Function, Plan, Unsure


def single(x: Array) -> Array:
    """X in float32, in which sklearn.tree compares; beyond its range scikit-learn raises."""
    with np.errstate(over="ignore"):
        narrow = x.astype(np.float32)
    if np.isinf(narrow).any():
        raise Unsure
    return narrow


def grown(fitted: Any) -> Tree:
    """A tree of `sklearn.tree`."""
    tree = fitted.tree_
    if tree.n_outputs != 1:
        raise CannotCompile(type(fitted).__name__, "has several targets")
    # A float32 is at most a float64 if it is at most the float32 at or next below that.
    threshold = tree.threshold.astype(np.float32)
    above = threshold > tree.threshold
    threshold[above] = np.nextafter(threshold[above], np.float32(-np.inf))
    left, right = tree.children_left, tree.children_right
    missing = tree.missing_go_to_left.astype(bool)
    return Tree(tree.feature, threshold, left, right, missing, tree.value[:, 0, :], {})


def forest(plan: Plan, final: Any) -> Final:
    """A tree, or the mean of a forest."""
    fitted = list(getattr(final, "estimators_", [final]))
    trees = [grown(tree) for tree in fitted]
    cuts = cuts_of(trees)
    plan.ties = cuts, single
    try:
        total: Function = partial(BitVectors(trees, cuts).sums, stages=len(trees))
    except CannotCompile:
        total = partial(walked, trees=[tree.tree_ for tree in fitted])
    classes = getattr(final, "classes_", None)
    return partial(averaged, total=total, count=len(trees), classes=classes)


def averaged(x: Array, *, total: Function, count: int, classes: Array | None) -> Answer:
    """The mean of the trees' values, and the class of the largest."""
    mean = total(single(x))
    if count > 1:
        mean = mean / count
    if classes is None:
        return mean[:, 0], None
    return classes.take(mean.argmax(axis=1)), mean


def walked(x: Array, *, trees: list[Any]) -> Array:
    """Large trees: scikit-learn's compiled walk through each, without the checks around it."""
    found = trees[0].predict(x)
    for tree in trees[1:]:
        found += tree.predict(x)
    return np.asarray(found)


def gradient_boosting(plan: Plan, final: Any) -> Final:
    """GradientBoosting: a constant start, then scaled trees, then the inverse link."""
    if final.init not in (None, "zero"):
        raise CannotCompile(type(final).__name__, "starts from an estimator of its own")
    start = final._raw_predict_init(np.zeros((1, final.n_features_in_), dtype=np.float32))[0]
    trees = [grown(tree) for tree in final.estimators_.ravel()]
    trees = [tree._replace(value=final.learning_rate * tree.value) for tree in trees]
    return boosted(plan, final, trees, start, single, at_zero=True)


def hist_gradient_boosting(plan: Plan, final: Any) -> Final:
    """HistGradientBoosting: in float64, with missing values and native categories."""
    known, rows = final._bin_mapper.make_known_categories_bitsets()
    trees = []
    for predictor in (each for stage in final._predictors for each in stage):
        nodes, sets = predictor.nodes, {}
        for node in np.flatnonzero(nodes["is_categorical"] & (nodes["is_leaf"] == 0)).tolist():
            left = booleans(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]])
            in_training = booleans(known[rows[nodes["feature_idx"][node]]])
            sets[node] = np.where(left, 1, np.where(in_training, 0, -1))
        left = np.where(nodes["is_leaf"], -1, nodes["left"].astype(np.int64))
        missing, value = nodes["missing_go_to_left"].astype(bool), nodes["value"][:, None]
        feature, threshold, right = nodes["feature_idx"], nodes["num_threshold"], nodes["right"]
        trees.append(Tree(feature, threshold, left, right, missing, value, sets))
    start = final._baseline_prediction[0]
    return boosted(plan, final, trees, start, identity, at_zero=False)


def booleans(words: Array) -> Array:
    """A bitset of eight 32-bit words as 256 booleans."""
    return np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little").astype(bool)


def boosted(
    plan: Plan, final: Any, trees: list[Tree], start: Array, prepare: Function, at_zero: bool
) -> Final:
    """Trees in stages of one a class."""
    for k, first in enumerate(start):  # the start is added first, so it goes into the first stage
        trees[k] = trees[k]._replace(value=first + trees[k].value)
    cuts = cuts_of(trees)
    plan.ties = cuts, prepare
    total = partial(BitVectors(trees, cuts).sums, stages=len(trees) // len(start))
    classes, inverse = getattr(final, "classes_", None), inverse_of(final._loss)
    return partial(
        scored,
        total=total,
        prepare=prepare,
        inverse=inverse,
        classes=classes,
        at_zero=at_zero,
    )


def scored(
    x: Array,
    *,
    total: Function,
    prepare: Function,
    inverse: Function,
    classes: Array | None,
    at_zero: bool,
) -> Answer:
    """Predictions from summed scores; `at_zero`: whether zero means the second of two classes."""
    raw = total(prepare(x))
    if classes is None:
        return inverse(raw[:, 0]), None
    if raw.shape[1] == 1:
        line = raw[:, 0]
        second = line >= 0 if at_zero else line > 0
        return classes.take(second.astype(np.intp)), two(inverse(line))
    return classes.take(raw.argmax(axis=1)), softmax(raw)


FINALS: dict[str, Callable[[Plan, Any], Final]] = {
    f"{kind}{task}": reader
    for kind, reader in (
        ("DecisionTree", forest),
        ("ExtraTree", forest),
        ("RandomForest", forest),
        ("ExtraTrees", forest),
        ("GradientBoosting", gradient_boosting),
        ("HistGradientBoosting", hist_gradient_boosting),
    )
    for task in ("Classifier", "Regressor")
}
