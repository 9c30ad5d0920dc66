"""The manifest: all that the service knows about its model.

Training writes it beside the artifact. Features, validation, the self-check and the answers'
form come from it, so another model is another folder and not another code.
"""

from pathlib import Path
from typing import Any, Literal

import msgspec

FILE = "manifest.json"
NEVER_SEEN = "(never seen in training)"  # a category for checks
Task = Literal["classification", "regression"]
Label = str | int | float | bool
Value = bool | int | float | str | None


class ModelError(RuntimeError):
    """The model folder cannot be served; the message is one line for an operator."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the manifest: immutable, and strict about names."""


class Feature(Part, frozen=True):
    """One input column; training fills the last four fields from the data."""

    name: str
    type: Literal["number", "integer", "boolean", "category"]
    description: str
    unit: str | None = None
    nullable: bool = False
    categories: list[str] | None = None
    minimum: float | None = None
    maximum: float | None = None
    example: Value = None


class Target(Part, frozen=True):
    """What is predicted; `classes` in scikit-learn's order, None for a regression."""

    name: str
    classes: list[Label] | None = None


class Artifact(Part, frozen=True):
    """A file beside the manifest."""

    file: str
    sha256: str
    bytes: int


class Training(Part, frozen=True):
    """What made the artifact; a new candidate must reach the metric named by `gate`."""

    rows: int
    rows_held_out: int
    data_sha256: str
    seed: int
    threads: int
    gate: str


class Baseline(Part, frozen=True):
    """A feature in the training rows: its deciles, or the share of each category.

    `bins` has the shares of the values up to each of `edges`, and beyond the last.
    """

    missing_share: float
    quantiles: list[float] | None = None
    bins: list[float] | None = None
    shares: dict[str, float] | None = None

    @property
    def edges(self) -> list[float]:
        """The inner deciles below the maximum, equal ones once; if there is none, the minimum."""
        lowest, *inner, highest = self.quantiles or [0.0, 0.0]
        return sorted({q for q in inner if q < highest}) or [q for q in [lowest] if q < highest]


class Golden(Part, frozen=True):
    """A row and the answer that training got for it, as the native API writes them."""

    input: dict[str, Value]
    output: dict[str, Any]


class Manifest(Part, frozen=True, kw_only=True):
    """Format 1 of `models/manifest.json`."""

    format: Literal[1] = 1
    name: str
    version: str
    task: Task
    created: str
    features: list[Feature]
    target: Target
    metrics: dict[str, float]
    artifact: Artifact
    plan: Artifact | None = None  # of the compiled engine, where the pipeline has one
    libraries: dict[str, str]
    python: str
    training: Training
    baseline: dict[str, Baseline]
    golden: list[Golden]


def read(folder: Path) -> Manifest:
    """Read a model folder's manifest; ModelError if it is missing or not of format 1."""
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; run `make train` to write it") from None
    except msgspec.DecodeError as error:
        raise ModelError(f"{path} is no manifest of format 1: {error}") from None


def encode(manifest: Manifest) -> bytes:
    """The manifest as indented JSON: the same bytes for the same content."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
