"""Loads the trained estimator, once it is proven to be the one that the manifest describes.

Unpickling runs code from the file, so its digest is compared before. A pickle of another
scikit-learn minor version may load and answer wrongly, so that is refused too:
https://scikit-learn.org/stable/model_persistence.html
"""

import hashlib
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import joblib
from sklearn.exceptions import InconsistentVersionWarning

from .manifest import Manifest, ModelError


def load(folder: Path, manifest: Manifest) -> Any:
    """The fitted estimator of a model folder.

    Raises ModelError if the file is missing, has another digest than the manifest says, was
    written by another scikit-learn minor version, or cannot be unpickled.
    """
    path, wanted = folder / manifest.artifact.file, manifest.artifact.sha256
    trained, here = manifest.libraries.get("scikit-learn", "?"), metadata.version("scikit-learn")
    if trained.split(".")[:2] != here.split(".")[:2]:
        raise ModelError(
            f"{path} was trained with scikit-learn {trained}, but {here} is installed; install "
            f"the locked requirements or run `make train` again"
        )
    try:
        with path.open("rb") as file:
            # Digest and load go through one open file: it cannot be exchanged in between.
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != wanted:
                raise ModelError(
                    f"{path} has sha256 {digest[:12]}..., but the manifest says {wanted[:12]}...; "
                    f"restore the two files or run `make train`"
                )
            file.seek(0)
            with warnings.catch_warnings():
                # A patch release apart is let through; `check` and `doctor` show it.
                warnings.simplefilter("ignore", InconsistentVersionWarning)
                return joblib.load(file)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; run `make train` to write it") from None
    except ModelError:
        raise
    except Exception as error:  # unpickling may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelError(f"{path} cannot be unpickled: {reason}") from error
