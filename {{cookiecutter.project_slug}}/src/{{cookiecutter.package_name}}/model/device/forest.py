"""Forests and boosted trees by nvforest (RAPIDS), which reads them through Treelite."""

import copy
from typing import Any

import numpy as np

from ..compiled.linear import inverse_of, two
from ..compiled.plan import Answer, Array, Final, Plan
from ..compiled.trees import single
from ..predictor import Predictor
from .gpu import Device, NoEngine

NAME = "nvforest"
FINALS = frozenset(
    f"{kind}{task}"
    for kind in ("RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting")
    for task in ("Classifier", "Regressor")
)


def cut(
    steps: list[Any], plan: Plan, model: Predictor, device: Device
) -> tuple[Plan, list[str], Final]:
    """All steps but the last on the host, where their plan is; the trees on the device."""
    return plan, [type(steps[-1]).__name__], Forest(steps[-1], device)


class Forest:
    """Answers a matrix of the last step's columns; raises NoEngine if it cannot."""

    def __init__(self, final: Any, device: Device) -> None:
        import nvforest

        name, by_bins = type(final).__name__, type(final).__name__.startswith("Hist")
        if getattr(final, "loss", None) == "exponential":
            raise NoEngine(f"{name} with exponential loss has another link than nvforest's")
        loaded = nvforest.load_from_treelite_model(read(final), device=device.kind)
        self._device = device
        self._classes: Array | None = getattr(final, "classes_", None)
        self._run = loaded.predict if self._classes is None else loaded.predict_proba
        # sklearn.tree compares in float32, HistGradientBoosting in float64.
        self._prepare = np.asarray if by_bins else single
        # What nvforest leaves out: the inverse link of a regression.
        self._inverse = inverse_of(final._loss) if by_bins else np.asarray
        # Two boosted classes that are as likely: the second one in GradientBoosting alone.
        self._half_is_second = name == "GradientBoostingClassifier"

    def __call__(self, x: Array) -> Answer:
        """Labels, and probabilities or None."""
        # In float64, nvforest's own form of these models: it would cast without waiting, too.
        sent = self._device.up(np.ascontiguousarray(self._prepare(x), dtype=np.float64))
        found: Array = self._device.down(self._run(sent))
        if self._classes is None:
            return self._inverse(found.reshape(len(x))), None
        if found.shape[1] > 1:
            return self._classes.take(found.argmax(axis=1)), found
        share = found[:, 0]  # of the second class
        second = share >= 0.5 if self._half_is_second else share > 0.5
        return self._classes.take(second.astype(np.intp)), two(share)


def read(final: Any) -> Any:
    """The fitted trees in Treelite's form."""
    import treelite

    if hasattr(final, "_preprocessor"):
        # Of HistGradientBoosting, for its categories: a step of the host's plan.
        final = copy.copy(final)
        final._preprocessor = None
    made = treelite.sklearn.import_model(final)
    if type(final).__name__.startswith(("RandomForest", "ExtraTrees")):
        # Treelite leaves out where these send a missing value.
        for i, tree in enumerate(final.estimators_):
            to_left = tree.tree_.missing_go_to_left.astype(np.uint8)
            made.get_tree_accessor(i).set_field("default_left", to_left)
    return made
