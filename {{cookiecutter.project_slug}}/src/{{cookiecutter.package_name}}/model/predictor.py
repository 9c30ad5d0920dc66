"""`Batch` -> `Prediction`, with the answers that scikit-learn itself gives."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from . import artifact, manifest
from .manifest import Label, Manifest, ModelError
from .schema import Batch, Column, Schema

TOLERANCE = 1e-9  # of a golden row's numbers: another CPU may round the last bits otherwise


@dataclass(frozen=True)
class Prediction:
    """Answers for a batch of n rows.

    `labels`, of length n, holds classes, or floats for a regression. `probabilities` has shape
    (n, classes) in the order of `classes`; None where the estimator has none.
    """

    labels: list[Label]
    probabilities: npt.NDArray[np.float64] | None
    classes: list[Label]

    def rows(self, batch: Batch) -> list[dict[str, Any]]:
        """One JSON-ready object a row, as the native API answers."""
        answers: list[dict[str, Any]] = [{"label": label} for label in self.labels]
        if self.probabilities is not None:
            names = [str(label) for label in self.classes]
            for answer, shares in zip(answers, self.probabilities.tolist(), strict=True):
                answer["probabilities"] = dict(zip(names, shares, strict=True))
        for answer in answers:
            answer["flags"] = []
        for row, feature, flag in batch.flags:
            answers[row]["flags"].append({"feature": feature, "flag": flag})
        return answers


def frame(columns: dict[str, Column]) -> pd.DataFrame:
    """The DataFrame, of the same dtypes, that training and serving give the estimator."""
    # With its dtype said: pandas would infer one from the values, so from who else is in the batch.
    return pd.DataFrame({k: pd.Series(v, dtype=v.dtype) for k, v in columns.items()}, copy=False)


class Predictor:
    """A loaded model: its manifest, schema and estimator. Threads may share it."""

    def __init__(self, description: Manifest, estimator: Any) -> None:
        self.manifest = description
        self.schema = Schema(description.features)
        # `predict` and `predict_proba` of a pipeline each preprocess; once gives the same.
        whole = type(estimator) is not Pipeline or len(estimator) == 1
        self._prepare = None if whole else estimator[:-1].transform
        self._final = estimator if whole else estimator[-1]
        self.has_shares = bool(description.target.classes) and hasattr(estimator, "predict_proba")

    def predict(self, batch: Batch) -> Prediction:
        """Predict a batch of any number of rows, none included."""
        classes = self.manifest.target.classes or []
        if batch.rows == 0:
            return Prediction([], np.empty((0, len(classes))) if self.has_shares else None, classes)
        data = frame(batch.columns)
        prepared = self._prepare(data) if self._prepare else data
        labels = self._final.predict(prepared).tolist()
        shares = self._final.predict_proba(prepared) if self.has_shares else None
        return Prediction(labels, shares, classes)

    def check_golden(self) -> float:
        """Predict each golden row alone; returns the largest difference from training's answer.

        Raises ModelError if a label differs, or a number by more than 1e-9.
        """
        worst = 0.0
        for i, golden in enumerate(self.manifest.golden):
            try:
                batch = self.schema.read([golden.input])
                answer = self.predict(batch).rows(batch)[0]
            except Exception as error:  # an estimator may raise anything
                raise ModelError(f"golden row {i} cannot be answered: {error!r}") from error
            difference = distance(answer, golden.output)
            if not difference <= TOLERANCE:
                raise ModelError(
                    f"golden row {i} of model {self.manifest.name} is answered with {answer} "
                    f"instead of {golden.output}; this installation does not compute what "
                    f"training did: compare `model-service check` with the manifest's libraries"
                )
            worst = max(worst, difference)
        return worst


def distance(answer: dict[str, Any], expected: dict[str, Any]) -> float:
    """The largest difference of two answers' numbers; infinite if anything else differs."""
    numbers = [dict(each.get("probabilities", {})) for each in (answer, expected)]
    rest = [{**each, "probabilities": None} for each in (answer, expected)]
    if isinstance(expected["label"], float) and isinstance(answer["label"], float):
        for i in range(2):  # of a regression
            numbers[i]["label"] = rest[i].pop("label")
    if rest[0] != rest[1] or numbers[0].keys() != numbers[1].keys():
        return math.inf
    return max((abs(numbers[0][key] - numbers[1][key]) for key in numbers[1]), default=0.0)


def load(folder: Path) -> Predictor:
    """Load a model folder as a worker does, short of the golden rows; raises ModelError."""
    description = manifest.read(folder)
    return Predictor(description, artifact.load(folder, description))
