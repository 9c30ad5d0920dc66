"""A plan: steps in order, each computing one matrix or one list of codes from earlier ones.

All that a plan runs can be pickled: objects of these modules, and functions with their arrays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..batch import Batch

Array = npt.NDArray[Any]
Values = list[Array]  # what the steps computed so far, by slot
Op = Callable[[Values, Batch], Array]
Function = Callable[[Array], Array]  # of a matrix of shape (rows, columns)
# Labels of shape (rows,), and probabilities of shape (rows, classes) or None.
Answer = tuple[Array, Array | None]
Final = Callable[[Array], Answer]


class CannotCompile(Exception):  # noqa: N818
    """A step that this engine does not know, and why."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step


class Unsure(Exception):  # noqa: N818
    """Rows on which scikit-learn may raise, so the pipeline has to answer."""


@dataclass(frozen=True)
class Column:
    """A column between two steps.

    Either column `at` of the matrix in `slot`, or `table[codes]` with the codes in `slot`: all
    that depends on one category alone is tabulated at load, whatever steps it passes. A table of
    objects still holds text. `missing`: whether NaN may occur. `sparse`: whether scikit-learn
    keeps it in a sparse matrix.
    """

    slot: int
    at: int = 0
    table: Array | None = None
    missing: bool = False
    sparse: bool = False

    @property
    def is_text(self) -> bool:
        """Whether the column holds no numbers yet."""
        return self.table is not None and self.table.dtype == object


class Gather:
    """Puts columns side by side, in float64, with as few copies as they allow."""

    def __init__(self, columns: Sequence[Column], allow_nan: bool) -> None:
        self._width = len(columns)
        self._refuses_nan = not allow_nan and any(column.missing for column in columns)
        places: dict[tuple[int, bool], list[int]] = {}
        for place, column in enumerate(columns):
            places.setdefault((column.slot, column.table is not None), []).append(place)
        self._pieces = []
        for (slot, tabled), target in places.items():
            chosen = [columns[place] for place in target]
            tables = [column.table for column in chosen if column.table is not None]
            table = np.column_stack(tables).astype(float) if tabled else None
            self._pieces.append((slot, table, span([c.at for c in chosen]), span(target)))

    def __call__(self, values: Values) -> Array:
        """The matrix of shape (rows, columns); raises Unsure."""
        if len(self._pieces) == 1:
            slot, table, source, _ = self._pieces[0]
            matrix = values[slot][:, source] if table is None else table.take(values[slot], 0)
        else:
            matrix = np.empty((len(values[0]), self._width))
            for slot, table, source, target in self._pieces:
                found = values[slot]
                matrix[:, target] = found[:, source] if table is None else table.take(found, 0)
        if self._refuses_nan and np.isnan(matrix).any():
            raise Unsure
        return matrix


@dataclass(frozen=True)
class Apply:
    """Passes columns through a function of their matrix."""

    gather: Gather
    function: Function
    grows: bool  # whether numbers may become infinite, at which the next step would raise

    def __call__(self, values: Values, batch: Batch) -> Array:
        """The function's matrix; raises Unsure."""
        made = self.function(self.gather(values))
        if self.grows and np.isinf(made).any():
            raise Unsure
        return made


class Plan:
    """Runs the steps that reading a pipeline added. Slot 0 holds the batch's numbers."""

    def __init__(self, has_shares: bool) -> None:
        self.has_shares = has_shares
        self.steps: list[str] = []  # what was read, for people
        # Thresholds of the final's trees by column, and what they are compared with: for `proof`.
        self.ties: tuple[dict[int, Array], Function] | None = None
        # Rows of the proof, and what scikit-learn answered to them.
        self.recorded: tuple[Batch, Answer] | None = None
        self._ops: list[Op] = []
        self._gather: Gather | None = None
        self._final: Final | None = None

    def add(self, op: Op) -> int:
        """Append a step; returns the slot of its result."""
        self._ops.append(op)
        return len(self._ops)

    def apply(
        self, function: Function, columns: Sequence[Column], allow_nan: bool, *, grows: bool = False
    ) -> list[Column]:
        """Pass columns through a function of their matrix; one that refuses NaN is guarded."""
        width = function(np.ones((1, len(columns)))).shape[1]
        slot = self.add(Apply(self.gather(columns, allow_nan), function, grows))
        missing = allow_nan and any(column.missing for column in columns)
        return [Column(slot, at, missing=missing) for at in range(width)]

    def gather(self, columns: Sequence[Column], allow_nan: bool) -> Gather:
        """What puts columns side by side, for the step that was named last."""
        if any(column.is_text for column in columns):
            raise CannotCompile(self.steps[-1] if self.steps else "columns", "takes text")
        return Gather(columns, allow_nan)

    def finish(self, columns: Sequence[Column], allow_nan: bool, final: Final) -> None:
        """Set what answers: the columns it takes, whether NaN may be among them, the function."""
        self._gather, self._final = self.gather(columns, allow_nan), final

    def matrix(self, batch: Batch) -> Array:
        """What the final estimator gets, of shape (rows, columns); raises Unsure."""
        values: Values = [batch.numbers]
        for op in self._ops:
            values.append(op(values, batch))
        assert self._gather is not None
        return self._gather(values)

    def predict(self, batch: Batch) -> Answer:
        """Labels and probabilities of at least one row; raises Unsure."""
        assert self._final is not None
        return self._final(self.matrix(batch))


def span(places: list[int]) -> slice | list[int]:
    """The places as a slice where they follow each other: NumPy copies nothing then."""
    first = places[0]
    follows = places == list(range(first, first + len(places)))
    return slice(first, first + len(places)) if follows else places
