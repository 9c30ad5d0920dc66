"""`predictions.jsonl`: each row that was answered and its answer, beside `service.jsonl`.

A removable room: without this file and its name in `app.ROOMS` no such file is written.
"""

import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask

from ..model.batch import Batch
from ..model.manifest import Manifest
from ..model.prediction import Prediction
from ..operations import logs
from .settings import Settings, SettingsError

FILE = "predictions.jsonl"
Cast = Callable[[Any], Any]
CASTS: dict[str, Cast] = {"integer": int, "boolean": bool}


def named(setting: str, text: str, known: list[str]) -> set[str]:
    """The features in a list by commas; raises SettingsError for another name."""
    names = {name.strip() for name in text.split(",")} - {""}
    if unknown := sorted(names - {*known}):
        raise SettingsError(f"{setting}={text!r}: the model has no feature {', '.join(unknown)}")
    return names


class PredictionLog:
    """Writes a line for each row of a share of the requests."""

    def __init__(self, volume: logs.VolumeHandler, about: Manifest, settings: Settings) -> None:
        names = [feature.name for feature in about.features]
        omitted = named("LOG_OMIT", settings.log_omit, names)
        hashed = named("LOG_HASH", settings.log_hash, names)
        # Where a feature's column is among the numbers and, behind them, the texts; and what makes
        # of its values those that clients send, or hashes. JSON has null for NaN.
        ordered = sorted(about.features, key=lambda feature: feature.type == "category")
        self._kept = [
            (ordered.index(each), self._hash if each.name in hashed else CASTS.get(each.type))
            for each in about.features
            if each.name not in omitted
        ]
        self._key = (settings.log_hash_key or about.artifact.sha256).encode()[:64]
        self._share = settings.log_predictions
        self._model = about.name, about.version
        self._volume = volume
        self._encode = msgspec.json.Encoder().encode_lines
        # Structs, as for answers: a third of the time that dicts take.
        kept = {f"f{i}": name for i, name in enumerate(names) if name not in omitted}
        self._input = msgspec.defstruct("Input", [*kept], rename=kept, gc=False)
        fields = ["time", "request_id", "model", "version", "row", "input", "output"]
        self._line = msgspec.defstruct("Line", fields, gc=False)

    def __call__(self, batch: Batch, prediction: Prediction, request_id: str) -> None:
        """Log an answered request, all its rows or none."""
        if not len(batch) or (self._share < 1 and random.random() >= self._share):
            return
        columns: list[list[Any]] = batch.numbers.T.tolist() + batch.texts
        kept = [columns[i] if cast is None else known(cast, columns[i]) for i, cast in self._kept]
        given = zip(*kept, strict=True) if kept else repeat((), len(batch))
        about = datetime.now(UTC), request_id, *self._model
        answers = prediction.structs(batch)
        lines = [
            self._line(*about, i, self._input(*row), answer)
            for i, (row, answer) in enumerate(zip(given, answers, strict=True))
        ]
        self._volume.append(self._encode(lines))

    def _hash(self, value: Any) -> str:
        """The same for the same value and key, so that it can be counted and joined."""
        return hashlib.blake2b(str(value).encode(), digest_size=16, key=self._key).hexdigest()


def known(cast: Cast, values: list[Any]) -> list[Any]:
    """A column with each value cast; a missing one stays null."""
    return [None if value is None or value != value else cast(value) for value in values]


def install(app: Flask) -> None:
    """Log what is answered, if there is a folder to log to."""
    native, settings = app.extensions["native"], app.extensions["settings"]
    folder, about = settings.log_dir, native.predictor.manifest
    bounds = settings.log_max_mb * 1024**2, settings.log_keep
    volume = logs.VolumeHandler(Path(folder, FILE), *bounds)
    volume.setFormatter(logs.json_formatter())
    watch = PredictionLog(volume, about, settings)
    if folder and settings.log_predictions:
        app.extensions["volumes"].append(volume)
        native.watchers.append(watch)
