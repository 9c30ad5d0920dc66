"""What scikit-learn's own estimator answers: the reference for every faster engine."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .batch import Batch

if TYPE_CHECKING:
    import pandas as pd

# Labels of shape (rows,), and probabilities of shape (rows, classes) or None.
Arrays = tuple[npt.NDArray[Any], npt.NDArray[np.float64] | None]


def frame(batch: Batch) -> "pd.DataFrame":
    """The DataFrame, of the same dtypes, that training and serving give the estimator."""
    import pandas as pd

    # With its dtype said: pandas would infer one from the values, so from who else is in the batch.
    columns = {
        name: pd.Series(values, dtype=values.dtype) for name, values in batch.columns.items()
    }
    return pd.DataFrame(columns, copy=False)


class Reference:
    """A fitted estimator that is loaded when it is first needed."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._estimator: Any = None

    @property
    def estimator(self) -> Any:
        """The fitted estimator; raises ModelError if it cannot be loaded."""
        with self._lock:
            if self._estimator is None:
                self._estimator = self._load()
        return self._estimator

    @property
    def has_shares(self) -> bool:
        """Whether it gives probabilities."""
        return hasattr(self.estimator, "classes_") and hasattr(self.estimator, "predict_proba")

    def answer(self, batch: Batch) -> Arrays:
        """Its answers to at least one row; raises whatever it raises."""
        from sklearn.pipeline import Pipeline

        final, data = self.estimator, frame(batch)
        # `predict` and `predict_proba` of a pipeline each preprocess; once gives the same.
        if type(final) is Pipeline and len(final) > 1:
            final, data = final[-1], final[:-1].transform(data)
        labels = final.predict(data)
        return labels, final.predict_proba(data) if self.has_shares else None
