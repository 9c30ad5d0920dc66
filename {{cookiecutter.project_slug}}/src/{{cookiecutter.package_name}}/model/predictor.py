"""`Batch` -> `Prediction`, with the answers that scikit-learn itself gives."""

import importlib
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from . import artifact, manifest
from .batch import Batch
from .manifest import Manifest, ModelError
from .prediction import Form, Prediction, distance
from .reference import Arrays, Reference
from .schema import Schema
from .together import Together

TOLERANCE = 1e-9  # of a golden row's numbers: another CPU may round the last bits otherwise
EXTREME = 1e15  # larger numbers may overflow in a step, on which scikit-learn raises
# To take the fast engine away, delete its folder and this name.
FAST_ENGINES: tuple[str, ...] = ("compiled",)
# The same for what predicts on a GPU, which needs the compiled engine.
DEVICES: tuple[str, ...] = ("device",)
Choice = Literal["auto", "compiled", "sklearn"]
Device = Literal["cpu", "cuda", "auto"]


class Engine(msgspec.Struct, frozen=True):
    """What predicts, and why."""

    name: str
    reason: str
    step: str | None = None  # the one at which compiling ended
    steps: tuple[str, ...] = ()
    rows: int = 0  # of the proof
    difference: float | None = None  # the largest one, relative, that the proof found
    device: str = "cpu"
    device_reason: str = "no other was tried"
    gpu: str | None = None
    device_steps: tuple[str, ...] = ()  # those on the GPU; `steps` are the host's then

    def about(self) -> dict[str, Any]:
        """All of it, for logs and probes."""
        about = msgspec.structs.asdict(self)
        return {"engine": about.pop("name"), **about}

    def facts(self) -> list[tuple[str, str]]:
        """What people want to know of it, by name."""
        facts = [("engine", f"{self.name}: {self.reason}")]
        if self.steps:
            facts.append(("engine's steps", ", ".join(self.steps)))
        if self.difference is not None:
            proof = f"{self.rows} rows, largest relative difference {self.difference:.3g}"
            facts.append(("engine's proof", proof))
        return [*facts, ("device", f"{self.device}: {self.device_reason}")]


class Predictor:
    """A loaded model: its manifest, schema and engine. Threads may share it.

    scikit-learn predicts until `prove` found a faster engine equal to it.
    """

    def __init__(
        self,
        description: Manifest,
        reference: Reference,
        choice: Choice = "auto",
        folder: Path | None = None,
        device: Device = "cpu",
    ) -> None:
        self.manifest = description
        self.schema = Schema(description.features)
        self.reference = reference
        self._together = Together(reference.answer)
        self.engine = Engine("sklearn", "ENGINE=sklearn" if choice == "sklearn" else "not proven")
        self._choice, self._device = choice, device
        self._plan: Any = None
        self._candidate: Any = None
        self._room: Any = None
        for name in FAST_ENGINES if choice != "sklearn" else ():
            self._room = importlib.import_module(f".{name}", __package__)
            self._candidate = self._room.stored(folder, description) if folder else None
        if self._candidate is None:
            self.compile()
        self.has_shares = self._candidate.has_shares if self._candidate else reference.has_shares
        self._form = Form(description.target.classes or [], has_shares=self.has_shares)

    def compile(self) -> None:
        """Read a plan from the estimator, where there is a room that can."""
        if self._room is None:
            return
        try:
            self._candidate = self._room.compile_estimator(self.reference, self.manifest)
        except self._room.CannotCompile as error:
            self._candidate = None
            self.engine = Engine("sklearn", f"not compiled: {error}", error.step)

    def predict(self, batch: Batch) -> Prediction:
        """Predict a batch of any number of rows, none included."""
        if not len(batch):
            none = np.empty((0, len(self._form.classes))) if self.has_shares else None
            return Prediction([], none, self._form)
        labels, shares = self.answer(batch)
        return Prediction(labels.tolist(), shares if self.has_shares else None, self._form)

    def answer(self, batch: Batch) -> Arrays:
        """Labels, and probabilities or None, of at least one row as arrays."""
        # A number beyond EXTREME was never seen in training, so its row has a flag.
        if self._plan and not (batch.flags and np.nanmax(abs(batch.numbers), initial=0) > EXTREME):
            try:
                found: Arrays = self._plan.predict(batch)
                return found
            except self._room.Unsure:
                pass
        return self._together(batch)

    def prove(self) -> float:
        """Let the fast engine serve if it equals scikit-learn, then check the golden rows.

        Not in a process that forks afterwards: OpenMP and CUDA do not survive that. Returns the
        golden rows' largest difference; raises ModelError if one is off, or if ENGINE=compiled and
        scikit-learn has to serve, or if MODEL_DEVICE=cuda and the CPU has to.
        """
        if self._candidate and self._candidate.recorded:
            self._take(self._room.prove_recorded(self._candidate))
            if self._plan is None:  # another machine may round otherwise: compare here
                self.compile()
        if self._candidate and self._plan is None:
            self._take(self.compare())
        if self._choice == "compiled" and self._plan is None:
            raise ModelError(f"ENGINE=compiled, but {self.engine.reason}; ENGINE=auto would serve")
        for name in DEVICES if self._device != "cpu" else ():
            room = importlib.import_module(f".{name}", __package__)
            self._plan, self.engine = room.place(self, self._plan)
        if self._device == "cuda" and self.engine.device == "cpu":
            why = self.engine.device_reason
            raise ModelError(f"MODEL_DEVICE=cuda, but {why}; MODEL_DEVICE=auto would use the CPU")
        return self.check_golden()

    def compare(self) -> Any:
        """Compare the fast engine with scikit-learn, here and now; a verdict of its room."""
        return self._room.prove(self._candidate, self.reference, self.schema, self.manifest)

    def pack(self) -> bytes | None:
        """The proven plan as a file's content, None if there is none to store."""
        if self._candidate is None or self.compare().fault:
            return None
        content: bytes | None = self._room.pack(self._candidate, self.manifest)
        return content

    def _take(self, verdict: Any) -> None:
        self._plan = None if verdict.fault else self._candidate
        name, reason = ("sklearn" if verdict.fault else "compiled"), verdict.fault or verdict.proof
        steps = tuple(self._candidate.steps)
        self.engine = Engine(name, reason, None, steps, verdict.rows, verdict.difference)

    def check_golden(self) -> float:
        """Predict each golden row alone; returns the largest difference from training's answer.

        Raises ModelError if a label differs, or a number by more than 1e-9.
        """
        worst = 0.0
        for i, golden in enumerate(self.manifest.golden):
            try:
                batch = self.schema.read([golden.input])
                answer = self.predict(batch).rows(batch)[0]
            except Exception as error:  # an estimator may raise anything
                raise ModelError(f"golden row {i} cannot be answered: {error!r}") from error
            difference = distance(answer, golden.output)
            if not difference <= TOLERANCE:
                raise ModelError(
                    f"golden row {i} of model {self.manifest.name} is answered with {answer} "
                    f"instead of {golden.output}; this installation does not compute what "
                    f"training did: compare `model-service check` with the manifest's libraries"
                )
            worst = max(worst, difference)
        return worst


def load(folder: Path, choice: Choice = "auto", device: Device = "cpu") -> Predictor:
    """Load a model folder as a worker does, short of `prove`; raises ModelError."""
    description = manifest.read(folder)
    artifact.check(folder, description)
    reference = Reference(lambda: artifact.load(folder, description))
    return Predictor(description, reference, choice, folder, device)
