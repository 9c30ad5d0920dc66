"""Split, fit, evaluate, describe, save: all that lies between `pipeline` and the model folder."""

import hashlib
import io
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from msgspec.structs import replace
from sklearn.metrics import get_scorer
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from ..model import manifest, predictor
from ..model.batch import Column
from ..model.manifest import (
    NEVER_SEEN,
    Artifact,
    Baseline,
    Feature,
    Golden,
    Manifest,
    Target,
    Training,
    Value,
)
from ..model.reference import Reference, frame
from ..model.schema import InputError, Schema
from . import pipeline

ARTIFACT_FILE = "model.joblib"
PLAN_FILE = "model.plan"
LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "joblib")
THREADS = 1  # a HistGradientBoosting pickle holds the OpenMP thread count
HELD_OUT = 0.25
# scikit-learn's scorers: greater is better, so errors are negative.
SCORERS = {
    "classification": ("accuracy", "balanced_accuracy", "f1_macro", "neg_log_loss"),
    "regression": ("r2", "neg_mean_absolute_error", "neg_root_mean_squared_error"),
}
CASTS = {"number": float, "integer": int, "boolean": bool}


class TrainingError(RuntimeError):
    """The data or the candidate is not fit to serve; the message says what to do."""


@dataclass(frozen=True)
class Split:
    """The data, read through the schema that requests pass, in two parts."""

    train: pd.DataFrame
    train_target: Column
    test: pd.DataFrame
    test_target: Column
    test_rows: list[dict[str, Value]]


def train(folder: Path, *, accept: bool = False) -> tuple[Manifest, Any, Split]:
    """Train the estimator of `pipeline`, and write it with its manifest to `folder`.

    Equal data, seed and libraries give an equal artifact, byte for byte on one machine. Returns
    the manifest, the fitted estimator and the data it was evaluated on.

    Raises TrainingError, and writes nothing, if the data breaks the declared features, if the
    estimator fails on a row that they admit, or if the candidate's gate metric is below the
    recorded one and `accept` is false.
    """
    split = read_data()
    recorded = manifest.read(folder) if (folder / manifest.FILE).exists() else None
    with threadpool_limits(limits=THREADS):
        estimator = pipeline.build_estimator().fit(split.train, split.train_target)
        scorers = [*dict.fromkeys((*SCORERS[pipeline.TASK], pipeline.GATE))]
        if not hasattr(estimator, "predict_proba"):
            scorers = [name for name in scorers if name != "neg_log_loss"]
        metrics = {
            name: float(get_scorer(name)(estimator, split.test, split.test_target))
            for name in scorers
        }
        # Another model's metric says nothing about this one.
        rival = recorded if recorded and recorded.name == pipeline.NAME else None
        before = rival.metrics.get(pipeline.GATE) if rival else None
        if before is not None and metrics[pipeline.GATE] < before and not accept:
            raise TrainingError(
                f"the candidate's {pipeline.GATE} is {metrics[pipeline.GATE]:.4f}, below the "
                f"recorded model's {before:.4f}; that one stays. `train --accept` takes the new"
            )
        description = describe(estimator, split, metrics)
        description = replace(description, golden=golden(description, estimator, split))
    return save(folder, description, estimator, recorded), estimator, split


def read_data() -> Split:
    """Read, check and split the data; rows without a target are left out."""
    data = pipeline.load_data()
    names = [feature.name for feature in pipeline.FEATURES]
    if lost := [name for name in (*names, pipeline.TARGET) if name not in data.columns]:
        raise TrainingError(f"the data has no column {', '.join(lost)}; see training/pipeline.py")
    data = data[data[pipeline.TARGET].notna()]
    target, rows = data[pipeline.TARGET].to_numpy(), data[names].to_dict("records")
    try:
        x = frame(Schema(pipeline.FEATURES).read(rows))
    except InputError as error:
        row, feature, msg = error.faults[0]
        raise TrainingError(
            f"{len(error.faults)} value(s) of the data break the declared features, the first in "
            f"row {row}: {feature} {msg}. Mend the data, or FEATURES in training/pipeline.py"
        ) from None
    parts = {"stratify": target if pipeline.TASK == "classification" else None}
    parts |= {"test_size": HELD_OUT, "random_state": pipeline.SEED}
    kept, held = train_test_split(np.arange(len(x)), **parts)
    return Split(x.iloc[kept], target[kept], x.iloc[held], target[held], [rows[i] for i in held])


def describe(estimator: Any, split: Split, metrics: dict[str, float]) -> Manifest:
    """The manifest of a fitted estimator, but for its artifact and golden rows."""
    classes = estimator.classes_.tolist() if pipeline.TASK == "classification" else None
    return Manifest(
        name=pipeline.NAME,
        version=pipeline.VERSION,
        task=pipeline.TASK,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        features=[learn(f, split.train[f.name].to_numpy()) for f in pipeline.FEATURES],
        target=Target(pipeline.TARGET, classes),
        metrics=metrics,
        artifact=Artifact(ARTIFACT_FILE, sha256="", bytes=0),
        libraries={name: metadata.version(name) for name in LIBRARIES},
        python=platform.python_version(),
        training=Training(
            rows=len(split.train),
            rows_held_out=len(split.test),
            data_sha256=hashlib.sha256(pipeline.DATA.read_bytes()).hexdigest(),
            seed=pipeline.SEED,
            threads=THREADS,
            gate=pipeline.GATE,
        ),
        baseline={f.name: baseline(split.train[f.name].to_numpy()) for f in pipeline.FEATURES},
        golden=[],
    )


def learn(feature: Feature, column: Column) -> Feature:
    """The feature with what its training column shows: categories or range, and an example."""
    present = column[~pd.isna(column)]
    if feature.type == "category":
        names, counts = np.unique(present.astype(str), return_counts=True)
        return replace(feature, categories=names.tolist(), example=str(names[counts.argmax()]))
    # A value that occurs, not a mean: it fits integers and booleans too.
    middle = CASTS[feature.type](np.quantile(present, 0.5, method="nearest"))
    low, high = float(present.min()), float(present.max())
    return replace(feature, minimum=low, maximum=high, example=middle)


def baseline(column: Column) -> Baseline:
    """The distribution of a training column, for comparison with what comes later."""
    missing = pd.isna(column)
    share, present = float(missing.mean()), column[~missing]
    if column.dtype != object:
        found = Baseline(share, quantiles=np.quantile(present, np.linspace(0, 1, 11)).tolist())
        # Counted: where values are alike, deciles do not tell how many there are.
        counts = np.bincount(np.searchsorted(found.edges, present), minlength=len(found.edges) + 1)
        return replace(found, bins=(counts / len(present)).tolist())
    names, counts = np.unique(present.astype(str), return_counts=True)
    shares = (counts / len(present)).tolist()
    return Baseline(share, shares=dict(zip(names.tolist(), shares, strict=True)))


def golden(description: Manifest, estimator: Any, split: Split) -> list[Golden]:
    """Rows for the self-check: ten real ones, with one of each class among them; then an example
    with each feature missing, unknown and extreme."""
    firsts = np.unique(split.test_target, return_index=True)[1].tolist()[:10]
    real = [*dict.fromkeys([*sorted(firsts), *range(len(split.test_rows))])][:10]
    middle: dict[str, Value] = {feature.name: feature.example for feature in description.features}
    rows = [*(split.test_rows[i] for i in real), middle]
    for feature in description.features:
        odd: list[Value] = [None] if feature.nullable else []
        if feature.type == "category":
            odd.append(NEVER_SEEN)
        else:
            ends = (feature.minimum, feature.maximum)
            odd += [CASTS[feature.type](end) for end in ends if end is not None]
        rows += [{**middle, feature.name: value} for value in odd]
    model, answers = predictor.Predictor(description, Reference(lambda: estimator), "sklearn"), []
    for row in rows:
        row = {name: None if pd.isna(value) else value for name, value in row.items()}
        batch = model.schema.read([row])
        try:
            answers.append(Golden(row, model.predict(batch).rows(batch)[0]))
        except Exception as error:
            raise TrainingError(
                f"the estimator fails on a row that FEATURES admits, {row}: {error}. Give it an "
                f"imputer or OneHotEncoder(handle_unknown='ignore'), or declare no `nullable`"
            ) from error
    return answers


def save(folder: Path, described: Manifest, estimator: Any, recorded: Manifest | None) -> Manifest:
    """Write the model folder's files beside their final names, then move them into place."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {ARTIFACT_FILE: packed(estimator)}
    described = replace(described, artifact=artifact(ARTIFACT_FILE, files[ARTIFACT_FILE]))
    model = predictor.Predictor(described, Reference(lambda: estimator))
    if plan := model.pack():
        files[PLAN_FILE] = plan
        described = replace(described, plan=artifact(PLAN_FILE, plan))
    if recorded and (recorded.artifact, recorded.plan) == (described.artifact, described.plan):
        # The same model again: training an unchanged project changes no file.
        described = replace(described, created=recorded.created, python=recorded.python)
    files[manifest.FILE] = manifest.encode(described)
    for name, content in files.items():
        (folder / f"{name}.new").write_bytes(content)
    for name in files:
        os.replace(folder / f"{name}.new", folder / name)
    if PLAN_FILE not in files:
        (folder / PLAN_FILE).unlink(missing_ok=True)
    return described


def packed(estimator: Any) -> bytes:
    """The estimator as a joblib file."""
    file = io.BytesIO()
    joblib.dump(estimator, file, compress=3)
    return file.getvalue()


def artifact(name: str, content: bytes) -> Artifact:
    """What the manifest says of a file."""
    return Artifact(name, hashlib.sha256(content).hexdigest(), len(content))
