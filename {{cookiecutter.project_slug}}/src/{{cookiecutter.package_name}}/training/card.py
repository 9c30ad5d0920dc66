"""The model card: what the model is and how good, with two plots, for people to read."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sklearn.inspection import permutation_importance
from sklearn.metrics import ConfusionMatrixDisplay, PredictionErrorDisplay
from threadpoolctl import threadpool_limits

from ..model.manifest import Manifest
from .fit import THREADS, Split

CARD = """# Model card: {m.name} {m.version}

A {m.task} of `{m.target.name}`{classes}. Written by `make train`.

## How good it is

On {m.training.rows_held_out} held-out rows; greater is better in each line. A new candidate must
reach this `{m.training.gate}`.

| metric | value |
| --- | --- |
{metrics}

![quality on the held-out rows](quality.png)

![importance of the features](importance.png)

## What it takes

| feature | type | unit | seen in training | may be null | description |
| --- | --- | --- | --- | --- | --- |
{features}

A value outside what was seen is answered, and flagged in the answer.

## How it was made

| | |
| --- | --- |
| rows | {m.training.rows} to learn from, {m.training.rows_held_out} held out |
| data | sha256 `{m.training.data_sha256}` |
| seed, threads | {m.training.seed}, {m.training.threads} |
| libraries | {libraries} |
| artifact | `{m.artifact.file}`, sha256 `{m.artifact.sha256}` |
"""


def write(folder: Path, manifest: Manifest, estimator: Any, split: Split) -> None:
    """Write `card.md` and its plots to the model folder; equal models give equal bytes."""
    plot_quality(folder / "quality.png", manifest, estimator, split)
    plot_importance(folder / "importance.png", manifest, estimator, split)
    features = []
    for f in manifest.features:
        seen = ", ".join(f.categories or ()) or f"{f.minimum:g} to {f.maximum:g}"
        null = "yes" if f.nullable else "no"
        cells = (f"`{f.name}`", f.type, f.unit or "", seen, null, f.description)
        features.append(f"| {' | '.join(cells)} |")
    classes = ", ".join(str(label) for label in manifest.target.classes or ())
    text = CARD.format(
        m=manifest,
        classes=f" ({classes})" if classes else "",
        metrics="\n".join(f"| {name} | {value:.4f} |" for name, value in manifest.metrics.items()),
        features="\n".join(features),
        libraries=", ".join(f"{name} {version}" for name, version in manifest.libraries.items()),
    )
    (folder / "card.md").write_text(text, encoding="utf-8", newline="\n")


def plot_quality(path: Path, manifest: Manifest, estimator: Any, split: Split) -> None:
    """Confusion matrix of a classification, actual against predicted of a regression."""
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    axes, data = figure.add_subplot(), (estimator, split.test, split.test_target)
    if manifest.task == "classification":
        ConfusionMatrixDisplay.from_estimator(*data, ax=axes, cmap="Blues", colorbar=False)
    else:
        PredictionErrorDisplay.from_estimator(*data, ax=axes, kind="actual_vs_predicted")
    axes.set_title(f"{manifest.training.rows_held_out} held-out rows")
    # Without the metadata matplotlib writes its version, and each update changes the bytes.
    figure.savefig(path, dpi=110, metadata={"Software": None})


def plot_importance(path: Path, manifest: Manifest, estimator: Any, split: Split) -> None:
    """By how much the gate metric falls when one feature is shuffled (Breiman 2001)."""
    gate, seed = manifest.training.gate, manifest.training.seed
    with threadpool_limits(limits=THREADS):
        result = permutation_importance(
            estimator, split.test, split.test_target, scoring=gate, n_repeats=10, random_state=seed
        )
    order = result.importances_mean.argsort()
    figure = Figure(figsize=(6.4, 1.2 + 0.35 * len(order)), layout="constrained")
    axes, names = figure.add_subplot(), [split.test.columns[i] for i in order]
    mean, deviation = result.importances_mean[order], result.importances_std[order]
    axes.barh(names, mean, xerr=deviation, color="#4878a8")
    axes.set_xlabel(f"fall of {gate} when shuffled (mean and s.d. of 10)")
    figure.savefig(path, dpi=110, metadata={"Software": None})
