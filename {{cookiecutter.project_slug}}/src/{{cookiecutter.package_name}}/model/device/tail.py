"""Linear models with the scalers and the PCA before them, by scikit-learn's Array API on CuPy.

Experimental: scikit-learn calls its own support so, and one matrix product of few columns takes a
CPU less time than a GPU needs for the way there and back.
"""

import copy
from typing import Any

import numpy as np

from ..compiled import CannotCompile, Unsure, compile_estimator
from ..compiled.plan import Answer, Array, Final, Function, Plan
from ..compiled.structure import name_of
from ..predictor import Predictor
from ..reference import Reference
from .gpu import Device, NoEngine

NAME = "array-api"
FINALS = frozenset(
    (
        "LogisticRegression",
        "LinearRegression",
        "Ridge",
        "Lasso",
        "PoissonRegressor",
        "LinearDiscriminantAnalysis",
        "GaussianNB",
    )
)
STEPS = frozenset(("StandardScaler", "MinMaxScaler", "Normalizer", "PolynomialFeatures", "PCA"))


class Rest:
    """Stands for the device's steps where the host's plan ends."""


def cut(
    steps: list[Any], plan: Plan, model: Predictor, device: Device
) -> tuple[Plan, list[str], Final]:
    """The last step and the scalers before it on the device, the others in a plan of their own."""
    from scipy._lib import _array_api
    from sklearn.pipeline import Pipeline

    # scikit-learn asks for it too, but only once it predicts.
    if not _array_api.SCIPY_ARRAY_API:
        raise NoEngine("SCIPY_ARRAY_API=1 was not set before SciPy was loaded")
    first = len(steps) - 1
    while first and name_of(steps[first - 1]) in STEPS:
        first -= 1
    tail = steps[first:]
    host = [(f"s{i}", step) for i, step in enumerate(["passthrough", *steps[:first], Rest()])]
    reference = Reference(lambda: Pipeline(host))
    try:
        plan = compile_estimator(reference, model.manifest)
    except CannotCompile as error:
        raise NoEngine(f"its preprocessing has no plan for the host: {error}") from None
    return plan, [type(step).__name__ for step in tail], Tail(tail, device)


def moved(step: Any, up: Function) -> Any:
    """A copy of a fitted step whose arrays lie on the device.

    scikit-learn's own mover also takes counts and names, at which array libraries raise:
    https://github.com/scikit-learn/scikit-learn/issues/34046
    """
    twin = copy.copy(step)
    for name, value in vars(step).items():
        if isinstance(value, np.floating):
            setattr(twin, name, float(value))
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f" and name != "classes_":
            setattr(twin, name, up(value))
    vars(twin).pop("feature_names_in_", None)
    return twin


class Tail:
    """Answers a matrix by steps whose arrays lie on the device."""

    def __init__(self, steps: list[Any], device: Device) -> None:
        self._device = device
        self._classes: Array | None = getattr(steps[-1], "classes_", None)
        *self._scalers, self._final = (moved(step, device.up) for step in steps)

    def __call__(self, x: Array) -> Answer:
        """Labels, and probabilities or None; raises Unsure where scikit-learn would raise."""
        from sklearn import config_context

        # Within the call: scikit-learn keeps this setting for each thread.
        with config_context(array_api_dispatch=True):
            try:
                found = self._device.up(np.ascontiguousarray(x))
                for step in self._scalers:
                    found = step.transform(found)
                if self._classes is None:
                    return self._device.down(self._final.predict(found)), None
                shares: Array = self._device.down(self._final.predict_proba(found))
            except ValueError as error:
                raise Unsure from error
        return self._classes.take(shares.argmax(axis=1)), shares
