"""The `Batch`: checked rows as columns, the one form in which every protocol reaches the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .manifest import Feature

Column = npt.NDArray[Any]


class Flag(NamedTuple):
    """A legal value that training never saw."""

    row: int
    feature: str
    flag: str


@dataclass(slots=True, eq=False)
class Batch:
    """Checked rows as columns.

    `numbers`, float64 of shape (rows, features that are no category), has NaN for a missing
    value; `texts`, a list of str for each category, has None. Both in the order of `features`.
    """

    features: Sequence[Feature]
    numbers: npt.NDArray[np.float64]
    texts: list[list[str | None]]
    flags: list[Flag]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def columns(self) -> dict[str, Column]:
        """Each feature's column of shape (rows,): float64, or object; NaN where missing."""
        numbers, texts = iter(self.numbers.T), iter(self.texts)
        return {
            feature.name: objects(next(texts)) if feature.type == "category" else next(numbers)
            for feature in self.features
        }

    @staticmethod
    def joined(batches: Sequence["Batch"]) -> "Batch":
        """The rows of several batches, one after the other; flags are left with each."""
        numbers = np.concatenate([batch.numbers for batch in batches])
        columns = zip(*(batch.texts for batch in batches), strict=True)
        texts = [list(chain.from_iterable(parts)) for parts in columns]
        return Batch(batches[0].features, numbers, texts, [])


def objects(texts: list[str | None]) -> Column:
    """Text as an object array."""
    # NaN, not None: None in an object column is no missing value to SimpleImputer, so a
    # row would answer differently alone (all None) and in a batch (pandas infers `str`).
    column = np.empty(len(texts), dtype=object)
    column[:] = [np.nan if text is None else text for text in texts]
    return column
