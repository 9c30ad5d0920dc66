"""The model card: what the model is, how good, and what it learned from, for people to read."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.inspection import permutation_importance
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score
from threadpoolctl import threadpool_limits

from ..model.batch import Column
from ..model.manifest import Manifest
from . import plots
from .fit import THREADS, Split

PLOTS = ("confusion", "roc", "calibration", "residuals", "importance")
MOST = 20  # features in a plot, or categories in a cell

CARD = """# Model card: {m.name} {m.version}

A {m.task} of `{m.target.name}`{classes}. Written by `make train`.

## How good it is

On {m.training.rows_held_out} held-out rows; greater is better in each line. A new candidate must
reach this `{m.training.gate}`.

{metrics}

{quality}

### What it relies on

![How far {m.training.gate} falls when a feature is shuffled](importance.png)

How far `{m.training.gate}` falls when a feature of the held-out rows is shuffled: mean and standard
deviation of 10 times (Breiman 2001). Most for `{first}`.

## What it takes

{features}

A value outside what was seen is answered, and flagged in the answer.

## What it learned from

{m.training.rows} rows; {m.training.rows_held_out} more were held out.

{target}

## How it was made

{facts}
"""
CLASSES = """### By class

{table}

![Confusion matrix: {right} held-out rows are on its diagonal](confusion.png)
"""
ROC = """
![ROC curves of each class against the rest, with the areas of the table](roc.png)

The area under a curve (AUC) is the chance that a row of the class gets a higher score than another.
"""
CALIBRATION = """
![Share of rows that are of a class by its probability, and their number](calibration.png)

Probabilities are honest where a curve follows the diagonal. Brier score {brier:.4f}: the squared
error of a row's probabilities, 0 to 2 (Brier 1950). Expected calibration error {error:.4f}: of the
predicted class, in 10 bins (Guo and others 2017). Less is better in both.
"""
RESIDUALS = """### Residuals

![Actual values and residuals by predicted value; none is off on the dashed lines](residuals.png)

A residual is the actual value less the predicted one: {mean:.4g} on average, and half of them lie
between {low:.4g} and {high:.4g}.
"""


def write(folder: Path, manifest: Manifest, estimator: Any, split: Split) -> None:
    """Write `card.md` and its plots to the model folder; equal models give equal bytes."""
    for name in PLOTS:  # another task has others
        (folder / f"{name}.png").unlink(missing_ok=True)
    with threadpool_limits(limits=THREADS):
        describe = classification if manifest.task == "classification" else regression
        quality = describe(folder, manifest, estimator, split)
        first = importance(folder, manifest, estimator, split)
    features = []
    for f in manifest.features:
        names = f.categories or []
        seen = ", ".join(names[:MOST]) or f"{f.minimum:g} to {f.maximum:g}"
        seen += f" and {len(names) - MOST} more" if len(names) > MOST else ""
        missing, null = manifest.baseline[f.name].missing_share, "yes" if f.nullable else "no"
        cells = (f"`{f.name}`", f.type, f.unit or "", seen, f"{missing:.1%}", null, f.description)
        features.append(cells)
    training, artifact = manifest.training, manifest.artifact
    facts = [
        ("data", f"sha256 `{training.data_sha256}`"),
        ("seed, threads", f"{training.seed}, {training.threads}"),
        ("libraries", ", ".join(f"{name} {v}" for name, v in manifest.libraries.items())),
        ("artifact", f"`{artifact.file}`, sha256 `{artifact.sha256}`"),
    ]
    columns = ("feature", "type", "unit", "seen", "missing", "may be null", "description")
    classes = ", ".join(map(str, manifest.target.classes or ()))
    text = CARD.format(
        m=manifest,
        classes=f" ({classes})" if classes else "",
        metrics=table(("metric", "value"), manifest.metrics.items()),
        quality=quality.strip(),
        first=first,
        features=table(columns, features),
        target=target(manifest, split),
        facts=table(("", ""), facts),
    )
    (folder / "card.md").write_text(text, encoding="utf-8", newline="\n")


def table(head: Any, rows: Any) -> str:
    """A Markdown table; fractions to four places."""
    lines = []
    for row in (head, ["---"] * len(head), *rows):
        cells = [f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in row]
        lines.append(" | ".join(cell.replace("|", r"\|") for cell in cells))
    return "\n".join(f"| {line} |" for line in lines)


def target(manifest: Manifest, split: Split) -> str:
    """How many rows each class has, or between which values those of a regression lie."""
    name, rows = f"`{manifest.target.name}`", []
    parts = {"to learn from": split.train_target, "held out": split.test_target}
    if manifest.task == "regression":
        for key, part in parts.items():
            rows.append([key, *map("{:.4g}".format, np.quantile(part, (0, 0.25, 0.5, 0.75, 1)))])
        return table((name, "lowest", "25 %", "50 %", "75 %", "highest"), rows)
    for label in manifest.target.classes or ():
        counts = [(int((part == label).sum()), len(part)) for part in parts.values()]
        rows.append([str(label), *(f"{count} ({count / all_:.1%})" for count, all_ in counts)])
    return table((name, *parts), rows)


def classification(folder: Path, manifest: Manifest, estimator: Any, split: Split) -> str:
    """A table by class, its confusion matrix, and what scores and probabilities allow."""
    classes, truth = manifest.target.classes or [], split.test_target
    predicted, scores = estimator.predict(split.test), scores_of(estimator, split, len(classes))
    plots.confusion(folder / "confusion.png", classes, truth, predicted)
    options: dict[str, Any] = {"labels": classes, "zero_division": 0.0}
    precision, recall, _, rows = precision_recall_fscore_support(truth, predicted, **options)
    columns = {"held out": rows, "precision": precision, "recall": recall}
    hits = np.column_stack([truth == label for label in classes])
    # The second of two classes, whose mirror the first is; else those with the most rows.
    some = [i for i in np.argsort(-rows, kind="stable").tolist() if 0 < rows[i] < len(truth)]
    drawn = some[: len(plots.COLORS)] if len(classes) > 2 else some and [1]
    text = ""
    if scores is not None and drawn:
        areas = {i: roc_auc_score(hits[:, i], scores[:, i]) for i in some}
        columns["AUC"] = [areas.get(i, "") for i in range(len(classes))]
        names = {f"{classes[i]} ({areas[i]:.3f})": i for i in drawn}
        plots.roc(folder / "roc.png", names, hits, scores)
        text += ROC
    if scores is not None and drawn and hasattr(estimator, "predict_proba"):
        errors = (scores - hits) ** 2
        columns["Brier score"] = errors.mean(axis=0)
        names = {str(classes[i]): i for i in drawn}
        plots.calibration(folder / "calibration.png", names, hits, scores)
        surest = np.take_along_axis(hits, scores.argmax(axis=1)[:, None], axis=1)[:, 0]
        counts, probability, share = plots.binned(scores.max(axis=1), surest)
        gap = (counts * abs(probability - share)).sum() / len(hits)
        text += CALIBRATION.format(brier=errors.sum(axis=1).mean(), error=gap)
    by_class = table(("class", *columns), zip(classes, *columns.values(), strict=True))
    right = f"{(truth == predicted).sum()} of {len(truth)}"
    return CLASSES.format(table=by_class, right=right) + text


def scores_of(estimator: Any, split: Split, classes: int) -> Column | None:
    """Probabilities, or else scores, of shape (held-out rows, classes), where there are any."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(split.test))
    if not hasattr(estimator, "decision_function"):
        return None
    scores = np.asarray(estimator.decision_function(split.test))
    scores = np.column_stack([-scores, scores]) if scores.ndim == 1 else scores
    return scores if scores.shape[1] == classes else None


def regression(folder: Path, manifest: Manifest, estimator: Any, split: Split) -> str:
    """Actual and residual against predicted values."""
    truth, predicted = split.test_target, estimator.predict(split.test)
    plots.residuals(folder / "residuals.png", truth, predicted, manifest.training.seed)
    off = truth - predicted
    low, high = np.quantile(off, (0.25, 0.75))
    return RESIDUALS.format(mean=off.mean(), low=low, high=high)


def importance(folder: Path, manifest: Manifest, estimator: Any, split: Split) -> str:
    """The plot of what the gate metric loses by each feature; the name of the first one."""
    gate, seed = manifest.training.gate, manifest.training.seed
    options = {"scoring": gate, "n_repeats": 10, "random_state": seed}
    found = permutation_importance(estimator, split.test, split.test_target, **options)
    order = found.importances_mean.argsort()[-MOST:]
    names = [str(split.test.columns[i]) for i in order]
    mean, deviation = found.importances_mean[order], found.importances_std[order]
    plots.importance(folder / "importance.png", names, mean, deviation, gate)
    return names[-1]
