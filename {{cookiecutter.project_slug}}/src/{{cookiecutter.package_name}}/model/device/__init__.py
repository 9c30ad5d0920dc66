"""Prediction on a GPU: the host prepares the rows by the compiled plan, the GPU does the rest.

Which estimators may go there is a list of classes, never an attempt: nvforest loads an
IsolationForest and answers wrongly. What may go is proven like every fast engine: it serves only
after it answered hundreds of made-up rows as scikit-learn's pipeline does.

A removable room: without this folder the service predicts on the CPU.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from ..batch import Batch
from ..compiled import proof
from ..compiled.plan import Answer, Array, Plan
from ..compiled.structure import name_of
from ..predictor import Engine, Predictor
from ..together import Together
from . import forest, gpu, tail
from .gpu import NoEngine

__all__ = ["NoEngine", "OnDevice", "place"]

TOLERANCE = 1e-9  # relative, of the proof: a GPU adds in another order
# In one call, which holds the interpreter's lock: between two of them health checks are answered.
MOST_ROWS = 16_384


class OnDevice:
    """A plan whose last steps are a device's. Threads may share it; one at a time calls it.

    What queued during a call goes into the next one together, so that a busy service sends the
    GPU larger batches.
    """

    def __init__(self, plan: Plan, answer: Callable[[Array], Answer]) -> None:
        self._plan = plan
        self._answer = answer
        self._together = Together(self._in_parts)
        # What the proof asks of a plan.
        self.matrix, self.ties = plan.matrix, plan.ties
        self.recorded: Any = None

    def predict(self, batch: Batch) -> Answer:
        """Labels and probabilities of at least one row; raises Unsure."""
        return self._together(batch)

    def _in_parts(self, batch: Batch) -> Answer:
        x = self._plan.matrix(batch)
        parts = [self._answer(x[i : i + MOST_ROWS]) for i in range(0, len(x), MOST_ROWS)]
        if len(parts) == 1:
            return parts[0]
        labels, shares = zip(*parts, strict=True)
        return np.concatenate(labels), None if shares[0] is None else np.concatenate(shares)


def place(model: Predictor, plan: Plan | None) -> tuple[OnDevice | Plan | None, Engine]:
    """What predicts on the GPU, and what there is to know of it; else the plan, and why.

    Not in a process that forks afterwards: CUDA does not survive that.
    """
    try:
        return find(model, plan)
    except NoEngine as error:
        why = str(error)
    except Exception as error:  # CUDA's libraries may raise anything
        why = f"the libraries for the GPU raise {error!r}"
    return plan, msgspec.structs.replace(model.engine, device_reason=why)


def find(model: Predictor, plan: Plan | None) -> tuple[OnDevice, Engine]:
    """A proven engine for the GPU of this process; raises NoEngine."""
    device = gpu.find()
    if plan is None:
        raise NoEngine(f"its preprocessing has no plan for the host: {model.engine.reason}")
    steps = flat(model.reference.estimator)
    name = name_of(steps[-1])
    engines: list[Any] = [each for each in (forest, tail) if name in each.FINALS]
    if not engines:
        raise NoEngine(f"{name} has no engine for a GPU")
    [room] = engines
    plan, names, answer = room.cut(steps, plan, model, device)
    placed = OnDevice(plan, answer)
    judged: Any = placed  # it has what the proof asks of a plan
    verdict = proof.prove(judged, model.reference, model.schema, model.manifest)
    if verdict.difference is None or not verdict.difference <= TOLERANCE:
        raise NoEngine(f"the GPU does not answer as scikit-learn does: {verdict.fault}")
    return placed, Engine(
        room.NAME,
        f"within {TOLERANCE:g} of scikit-learn's pipeline on all rows of the proof",
        None,
        tuple(plan.steps[:-1]),
        verdict.rows,
        verdict.difference,
        "cuda",
        f"{', '.join(names)} on {device.gpu}",
        device.gpu,
        tuple(names),
    )


def flat(estimator: Any) -> list[Any]:
    """The steps of a fitted estimator, those of a pipeline that is its last step included."""
    if name_of(estimator) != "Pipeline":
        return [estimator]
    *steps, final = (step for _, step in estimator.steps)
    return [*steps, *flat(final)]
