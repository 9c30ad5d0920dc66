"""The answers to a batch, and the form in which the native API gives them."""

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from .batch import Batch
from .manifest import Label


class Form:
    """The form of an answer to one row: label, probabilities where the model has them, flags."""

    def __init__(self, classes: list[Label], *, has_shares: bool) -> None:
        self.classes = classes
        fields = [("label", Any), *([("probabilities", Any)] if has_shares else []), ("flags", Any)]
        # Structs without garbage collection: a third of the time that dicts take.
        self.answer = msgspec.defstruct("Answer", fields, gc=False)
        names = {f"c{i}": str(label) for i, label in enumerate(classes)}
        shares = [(field, float) for field in names]
        self.shares = msgspec.defstruct("Shares", shares, rename=names, gc=False)


@dataclass(slots=True, eq=False)
class Prediction:
    """Answers for a batch of n rows.

    `labels`, of length n, holds classes, or floats for a regression. `probabilities` has shape
    (n, classes) in the order of the form's classes; None where the estimator has none.
    """

    labels: list[Label]
    probabilities: npt.NDArray[np.float64] | None
    form: Form

    def structs(self, batch: Batch) -> list[Any]:
        """An object a row, for msgspec to encode."""
        answer, shares = self.form.answer, self.form.shares
        if self.probabilities is None:
            rows = [answer(label, ()) for label in self.labels]
        else:
            pairs = zip(self.labels, self.probabilities.tolist(), strict=True)
            rows = [answer(label, shares(*each), ()) for label, each in pairs]
        for i, feature, flag in batch.flags:
            row: Any = rows[i]
            row.flags = (*row.flags, {"feature": feature, "flag": flag})
        return rows

    def rows(self, batch: Batch) -> list[dict[str, Any]]:
        """The same as dicts, as a client sees them."""
        rows: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(self.structs(batch)))
        return rows

    def columns(self, batch: Batch) -> dict[str, Any]:
        """The same as columns: a table's answer, and what `model-service score` adds to one."""
        table: dict[str, Any] = {"prediction": self.labels}
        if self.probabilities is not None:
            for name, shares in zip(self.form.classes, self.probabilities.T, strict=True):
                table[f"probability_{name}"] = shares
        flags = [""] * len(batch)
        for row, feature, flag in batch.flags:
            flags[row] += f"{' ' if flags[row] else ''}{feature}:{flag}"
        return table | {"flags": flags}


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
