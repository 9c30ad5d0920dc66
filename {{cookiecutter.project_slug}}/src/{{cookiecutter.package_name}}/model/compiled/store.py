"""A plan as a file beside the artifact: with it a worker serves without loading scikit-learn.

The file holds the plan and what scikit-learn answered to the rows of the proof when it was
trained, so the proof can be repeated wherever it is loaded. It is used only with the very
artifact, engine and libraries it was made by; otherwise a plan is read from the artifact again.
"""

import hashlib
import io
import pickle
import zlib
from importlib import metadata
from pathlib import Path
from typing import Any

from msgspec import json

from ..artifact import opened
from ..manifest import Manifest, ModelError
from .plan import Plan

LIBRARIES = ("numpy", "scikit-learn", "scipy")


class NotStored(Exception):  # noqa: N818
    """A plan that holds a part of scikit-learn itself gains nothing by a file."""


class Pickler(pickle.Pickler):
    """Refuses what would load scikit-learn."""

    def reducer_override(self, thing: Any) -> Any:
        """Called for each object but the plainest."""
        for owner in (thing, type(thing)):
            if str(getattr(owner, "__module__", "")).partition(".")[0] == "sklearn":
                raise NotStored
        return NotImplemented


class Unpickler(pickle.Unpickler):
    """Finds this package whatever it was called where the plan was stored."""

    def find_class(self, module: str, name: str) -> Any:
        """Called for each class and function by name."""
        _, inside, part = module.partition(".model.")
        here = __name__.partition(".model.")[0]
        return super().find_class(f"{here}{inside}{part}" if inside else module, name)


def stamp(manifest: Manifest) -> dict[str, str]:
    """What a stored plan is good for."""
    own = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        own.update(path.read_bytes())
    libraries = {name: metadata.version(name) for name in LIBRARIES}
    return {"artifact": manifest.artifact.sha256, "engine": own.hexdigest(), **libraries}


def pack(plan: Plan, manifest: Manifest) -> bytes | None:
    """A proven plan as bytes; None if a part of it is scikit-learn's own."""
    file = io.BytesIO()
    try:
        Pickler(file, protocol=5).dump(plan)
    except NotStored:
        return None
    return json.encode(stamp(manifest)) + b"\n" + zlib.compress(file.getvalue())


def stored(folder: Path, manifest: Manifest) -> Plan | None:
    """The plan of a model folder, if there is one that is good here.

    Raises ModelError if its file has another digest than the manifest says.
    """
    if manifest.plan is None or not (folder / manifest.plan.file).exists():
        return None
    with opened(folder, manifest.plan) as file:
        if file.readline() != json.encode(stamp(manifest)) + b"\n":
            return None
        try:
            plan: Plan = Unpickler(io.BytesIO(zlib.decompress(file.read()))).load()
        except Exception as error:  # unpickling may raise anything
            path, reason = folder / manifest.plan.file, f"{type(error).__name__}: {error}"
            raise ModelError(f"{path} cannot be unpickled: {reason.splitlines()[0]}") from error
    return plan
