"""Loads the trained estimator, once it is proven to be the one that the manifest describes.

Unpickling runs code from the file, so its digest is compared before. A pickle of another
scikit-learn minor version may load and answer wrongly, so that is refused too:
https://scikit-learn.org/stable/model_persistence.html
"""

import hashlib
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO

from .manifest import Artifact, Manifest, ModelError


def check(folder: Path, manifest: Manifest) -> None:
    """Prove, without unpickling, that the artifact is the manifest's; raises ModelError."""
    check_version(folder, manifest)
    opened(folder, manifest.artifact).close()


def load(folder: Path, manifest: Manifest) -> Any:
    """The fitted estimator of a model folder.

    Raises ModelError if the file is missing, has another digest than the manifest says, was
    written by another scikit-learn minor version, or cannot be unpickled.
    """
    check_version(folder, manifest)
    with opened(folder, manifest.artifact) as file:
        # scikit-learn takes a second and 150 MB, which a worker with a stored plan never needs.
        import joblib
        from sklearn.exceptions import InconsistentVersionWarning

        try:
            with warnings.catch_warnings():
                # A patch release apart is let through; `check` and `doctor` show it.
                warnings.simplefilter("ignore", InconsistentVersionWarning)
                return joblib.load(file)
        except Exception as error:  # unpickling may raise anything
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            path = folder / manifest.artifact.file
            raise ModelError(f"{path} cannot be unpickled: {reason}") from error


def check_version(folder: Path, manifest: Manifest) -> None:
    """Refuse an artifact of another scikit-learn minor version."""
    trained, here = manifest.libraries.get("scikit-learn", "?"), metadata.version("scikit-learn")
    if trained.split(".")[:2] != here.split(".")[:2]:
        raise ModelError(
            f"{folder / manifest.artifact.file} was trained with scikit-learn {trained}, but "
            f"{here} is installed; install the locked requirements or run `make train` again"
        )


def opened(folder: Path, described: Artifact) -> BinaryIO:
    """The file of the described digest, to be read from its start; raises ModelError.

    Digest and load go through one open file: it cannot be exchanged in between.
    """
    path, wanted = folder / described.file, described.sha256
    try:
        file = path.open("rb")
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; run `make train` to write it") from None
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != wanted:
        file.close()
        raise ModelError(
            f"{path} has sha256 {digest[:12]}..., but the manifest says {wanted[:12]}...; "
            f"restore the model folder or run `make train`"
        )
    file.seek(0)
    return file
