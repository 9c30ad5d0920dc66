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
from ..model.manifest import Feature, Manifest
from ..model.prediction import Prediction
from ..operations import logs
from .settings import Settings, SettingsError

FILE = "predictions.jsonl"
CASTS: dict[str, Callable[[Any], Any]] = {"integer": int, "boolean": bool}


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
        self._hashed = named("LOG_HASH", settings.log_hash, names)
        self._kept = [feature.name not in omitted for feature in about.features]
        self._key = (settings.log_hash_key or about.artifact.sha256).encode()[:64]
        self._share = settings.log_predictions
        self._model = about.name, about.version
        self._volume = volume
        self._encode = msgspec.json.Encoder().encode_lines
        # Structs, as for answers: a third of the time that dicts take.
        kept = {f"f{i}": name for i, name in enumerate(names) if self._kept[i]}
        self._input = msgspec.defstruct("Input", [*kept], rename=kept, gc=False)
        fields = ["time", "request_id", "model", "version", "row", "input", "output"]
        self._line = msgspec.defstruct("Line", fields, gc=False)

    def __call__(self, batch: Batch, prediction: Prediction, request_id: str) -> None:
        """Log an answered request, all its rows or none."""
        if not len(batch) or (self._share < 1 and random.random() >= self._share):
            return
        numbers, texts = iter(batch.numbers.T.tolist()), iter(batch.texts)
        columns: list[list[Any]] = []
        for feature, kept in zip(batch.features, self._kept, strict=True):
            values = next(texts) if feature.type == "category" else next(numbers)
            if kept:
                columns.append(self._values(feature, values))
        given = zip(*columns, strict=True) if columns else repeat((), len(batch))
        about = datetime.now(UTC), request_id, *self._model
        answers = prediction.structs(batch)
        lines = [
            self._line(*about, i, self._input(*row), answer)
            for i, (row, answer) in enumerate(zip(given, answers, strict=True))
        ]
        self._volume.append(self._encode(lines))

    def _values(self, feature: Feature, values: list[Any]) -> list[Any]:
        """A column as clients send it, or hashed; a missing value stays null."""
        cast = CASTS.get(feature.type)
        if feature.name in self._hashed:
            cast = self._hash
        if cast is None:
            return values  # JSON has null for NaN
        missing = (None if value is None or value != value else cast(value) for value in values)
        return [*missing]

    def _hash(self, value: Any) -> str:
        """The same for the same value and key, so that it can be counted and joined."""
        return hashlib.blake2b(str(value).encode(), digest_size=16, key=self._key).hexdigest()


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
