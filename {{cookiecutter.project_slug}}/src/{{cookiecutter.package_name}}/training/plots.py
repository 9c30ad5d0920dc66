"""The model card's plots: on white, small, and the same bytes for the same numbers."""

from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import ConfusionMatrixDisplay, PredictionErrorDisplay, roc_curve

from ..model.batch import Column
from ..model.manifest import Label

# Okabe and Ito's colours, which colour-blind people tell apart; lines and marks differ as well.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
LINES, MARKS = ("-", "--", "-.", ":", "-", "--", "-."), "osD^vPX"
GREY = "#767676"
EDGES = np.linspace(0, 1, 11)  # of the bins of probabilities
MOST = 20  # classes whose numbers are written into the matrix


def confusion(path: Path, classes: list[Label], truth: Column, predicted: Column) -> None:
    """How many rows of each class were taken for which."""
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(
        truth,
        predicted,
        labels=classes,
        ax=figure.add_subplot(),
        cmap="Blues",
        colorbar=False,
        include_values=len(classes) <= MOST,
        xticks_rotation=45 if max(len(str(label)) for label in classes) > 10 else 0,
    )
    save(figure, path)


def roc(path: Path, names: dict[str, int], hits: Column, scores: Column) -> None:
    """The curve of each class against the rest, by its column in `hits` and `scores`."""
    figure = Figure(figsize=(5.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    for (name, i), color, line in zip(names.items(), COLORS, LINES, strict=False):
        false, true, _ = roc_curve(hits[:, i], scores[:, i])
        axes.plot(false, true, color=color, linestyle=line, label=name)
    axes.set(xlabel="share of other rows taken for it", ylabel="share of its own rows found")
    axes.legend(title="class (area)", loc="lower right")
    save(figure, path)


def calibration(path: Path, names: dict[str, int], hits: Column, shares: Column) -> None:
    """Reliability of each class, by its column, above the number of rows in each bin."""
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    for (name, i), color, line, mark in zip(names.items(), COLORS, LINES, MARKS, strict=False):
        _, probability, found = binned(shares[:, i], hits[:, i])
        style = {"color": color, "linestyle": line}
        above.plot(probability, found, marker=mark, label=name, **style)
        below.stairs(np.histogram(shares[:, i], EDGES)[0], EDGES, **style)
    above.set(ylabel="share of rows that are of it")
    below.set(xlabel="probability of the class", ylabel="rows", yscale="log", ylim=(0.8, None))
    below.yaxis.set_major_formatter("{x:g}")
    figure.legend(loc="outside upper center", ncols=4)
    save(figure, path)


def binned(probabilities: Column, hits: Column) -> tuple[Column, Column, Column]:
    """Of each bin that has rows: their number, mean probability, and the share that are hits."""
    places = np.digitize(probabilities, EDGES[1:-1])
    counts, *sums = (np.bincount(places, each, 10) for each in (None, probabilities, hits))
    used = counts > 0
    return counts[used], sums[0][used] / counts[used], sums[1][used] / counts[used]


def residuals(path: Path, truth: Column, predicted: Column, seed: int) -> None:
    """Actual values, and residuals, by predicted value; 1,000 rows at most."""
    figure = Figure(figsize=(7.6, 3.8), layout="constrained")
    kinds = ("actual_vs_predicted", "residual_vs_predicted")
    for axes, kind in zip(figure.subplots(1, 2), kinds, strict=True):
        style = {"scatter_kwargs": {"color": COLORS[0], "alpha": 0.5, "s": 14}}
        options = {"kind": kind, "subsample": 1000, "random_state": seed}
        PredictionErrorDisplay.from_predictions(truth, predicted, ax=axes, **options, **style)
    save(figure, path)


def importance(path: Path, names: list[str], mean: Column, deviation: Column, gate: str) -> None:
    """Bars of how far the gate metric falls, the longest at the top."""
    figure = Figure(figsize=(6.4, 1.2 + 0.35 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(names, mean, xerr=deviation, color=COLORS[0], ecolor=GREY)
    axes.set_xlabel(f"fall of {gate}")
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """On white, so that it is read on a dark page, too; in 64 colours, a third of the bytes."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=110, facecolor="white")
    # Without metadata: matplotlib writes its version, and each update would change the bytes.
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)
