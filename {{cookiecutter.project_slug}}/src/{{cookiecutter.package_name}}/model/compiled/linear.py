"""Finals that are one matrix product: linear models, LDA; and Gaussian naive Bayes."""

from functools import partial
from typing import Any

import numpy as np

from .plan import Answer, Array, CannotCompile, Final, Function, Plan, Unsure


def identity(x: Array) -> Array:
    """What it gets."""
    return x


def expit(x: Array) -> Array:
    """SciPy's logistic function, as scikit-learn calls it."""
    from scipy.special import expit  # slow to import, and needed for two classes alone

    return np.asarray(expit(x))


def twice_expit(x: Array) -> Array:
    """Probability from half the log of the odds."""
    return np.asarray(expit(2 * x))


# From scores to predictions, by scikit-learn's name of the link between the two.
INVERSES: dict[str, Function] = {
    "IdentityLink": identity,
    "LogLink": np.exp,
    "LogitLink": expit,
    "HalfLogitLink": twice_expit,
    "MultinomialLogit": identity,
}


def inverse_of(loss: Any) -> Function:
    """The inverse link of a loss."""
    name = type(loss.link).__name__
    if name not in INVERSES:
        raise CannotCompile(name, "is no link that this engine knows")
    return INVERSES[name]


def finite(scores: Array) -> Array:
    """The scores, unless the numbers went out of range on the way: there scikit-learn raises."""
    if np.count_nonzero(np.isfinite(scores)) < scores.size:
        raise Unsure
    return scores


def softmax(scores: Array) -> Array:
    """Probabilities of shape (rows, classes), stable for large scores."""
    shares = np.exp(scores - np.maximum.reduce(scores, 1, keepdims=True))
    return np.asarray(shares / np.add.reduce(shares, 1, keepdims=True))


def two(share: Array) -> Array:
    """Probabilities of two classes from that of the second."""
    return np.column_stack([1 - share, share])


def one_against_rest(scores: Array) -> Array:
    """Each class's own probability, scaled to a sum of one (Zadrozny and Elkan 2002)."""
    shares = expit(scores)
    none = (shares == 0).all(axis=1)
    shares[none] = 1.0  # equal parts where no class has any
    return np.asarray(shares / shares.sum(axis=1)[:, None])


def classifier(plan: Plan, final: Any) -> Final:
    """A linear classifier, with probabilities where it has them."""
    name, binarizer = type(final).__name__, getattr(final, "_label_binarizer", None)
    if binarizer is not None and binarizer.y_type_.startswith("multilabel"):
        raise CannotCompile(name, "has several targets")
    several: Function | None = None
    if hasattr(final, "predict_proba"):
        by_rest = name.startswith("SGD")
        if by_rest and final.loss != "log_loss":
            raise CannotCompile(name, f"has probabilities of its own for {final.loss}")
        several = one_against_rest if by_rest else softmax
    weights, intercept = np.atleast_2d(final.coef_).T, np.atleast_1d(final.intercept_)
    given = {"weights": weights, "intercept": intercept, "classes": final.classes_}
    return partial(classified, **given, several=several)


def classified(
    x: Array, *, weights: Array, intercept: Array, classes: Array, several: Function | None
) -> Answer:
    """The class of the largest score, or of the sign of the only one."""
    scores = finite(x @ weights + intercept)
    if scores.shape[1] == 1:
        line = scores[:, 0]
        return classes.take((line > 0).astype(np.intp)), two(expit(line)) if several else None
    return classes.take(scores.argmax(axis=1)), several(scores) if several else None


def regressor(plan: Plan, final: Any) -> Final:
    """A linear regression, through the inverse link of a generalized one."""
    if final.coef_.ndim != 1:
        raise CannotCompile(type(final).__name__, "has several targets")
    inverse = inverse_of(final._base_loss) if hasattr(final, "_base_loss") else identity
    return partial(regressed, weights=final.coef_, intercept=final.intercept_, inverse=inverse)


def regressed(x: Array, *, weights: Array, intercept: Array, inverse: Function) -> Answer:
    """The only score, through the inverse link."""
    return inverse(finite(x @ weights + intercept)), None


def gaussian(plan: Plan, final: Any) -> Final:
    """GaussianNB."""
    constant = [-0.5 * np.sum(np.log(2.0 * np.pi * variance)) for variance in final.var_]
    parts = list(zip(np.log(final.class_prior_), constant, final.theta_, final.var_, strict=True))
    return partial(likeliest, classes=final.classes_, parts=parts)


def likeliest(
    x: Array, *, classes: Array, parts: list[tuple[float, float, Array, Array]]
) -> Answer:
    """The class of the largest joint log likelihood; its probability, and the others'."""
    each = [
        prior + (constant - 0.5 * np.sum((x - mean) ** 2 / variance, axis=1))
        for prior, constant, mean, variance in parts
    ]
    joint = finite(np.stack(each).T)
    return classes.take(joint.argmax(axis=1)), np.exp(joint - log_sum(joint))


def log_sum(joint: Array) -> Array:
    """log(sum(exp(joint))) of each row, from the largest term, as scikit-learn sums it."""
    largest = joint.max(axis=1, keepdims=True)
    is_largest = joint == largest
    count = is_largest.sum(axis=1, keepdims=True, dtype=float)
    rest = np.exp(np.where(is_largest, -np.inf, joint) - largest).sum(axis=1, keepdims=True)
    return np.asarray(np.log1p(rest / count) + np.log(count) + largest)


CLASSIFIERS = (
    "LogisticRegression",
    "LogisticRegressionCV",
    "SGDClassifier",
    "RidgeClassifier",
    "RidgeClassifierCV",
    "Perceptron",
    "LinearSVC",
    "LinearDiscriminantAnalysis",
)
REGRESSORS = (
    "LinearRegression",
    "Ridge",
    "RidgeCV",
    "Lasso",
    "LassoCV",
    "LassoLars",
    "LassoLarsCV",
    "LassoLarsIC",
    "ElasticNet",
    "ElasticNetCV",
    "Lars",
    "LarsCV",
    "OrthogonalMatchingPursuit",
    "BayesianRidge",
    "ARDRegression",
    "HuberRegressor",
    "QuantileRegressor",
    "TheilSenRegressor",
    "SGDRegressor",
    "LinearSVR",
    "PoissonRegressor",
    "GammaRegressor",
    "TweedieRegressor",
)
FINALS = (
    dict.fromkeys(CLASSIFIERS, classifier)
    | dict.fromkeys(REGRESSORS, regressor)
    | {"GaussianNB": gaussian}
)
