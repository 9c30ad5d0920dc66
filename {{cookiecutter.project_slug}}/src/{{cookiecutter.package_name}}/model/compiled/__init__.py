"""The fast engine: a plan read once from a fitted pipeline, run on arrays without pandas.

scikit-learn spends most of a small request on checks and column look-ups. A plan makes those
decisions at load: which columns feed which step, and what each category becomes. What it does
not know for certain it leaves to the pipeline: a step of another class (`CannotCompile`), a row
on which the pipeline would raise (`Unsure`). It serves only after `proof` found it equal.

Reading a plan takes scikit-learn; running a stored one does not, unless a step of it does.

A removable room: without this folder the pipeline serves.
"""

from ..manifest import Manifest
from ..reference import Reference
from .plan import CannotCompile, Plan, Unsure
from .proof import prove, prove_recorded
from .store import pack, stored

__all__ = [
    "CannotCompile",
    "Plan",
    "Unsure",
    "compile_estimator",
    "pack",
    "prove",
    "prove_recorded",
    "stored",
]


def compile_estimator(reference: Reference, manifest: Manifest) -> Plan:
    """The plan of a fitted estimator; raises CannotCompile, which names the step and the reason.

    Threads may share it. It never predicts here, so a master may compile before it forks.
    """
    from . import categories, structure

    estimator, features = reference.estimator, manifest.features
    plan = Plan(reference.has_shares)
    try:
        columns = categories.first_columns(plan, estimator, features)
        structure.read(plan, estimator, columns, [feature.name for feature in features])
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        # Another scikit-learn may keep its fitted state elsewhere.
        name = plan.steps[-1] if plan.steps else type(estimator).__name__
        raise CannotCompile(name, f"its state is not as known: {error!r}") from None
    return plan
