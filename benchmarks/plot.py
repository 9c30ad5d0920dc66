"""results.png: a row of panels a model, a column a measure; a point is a median."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from report import LOADS, Measured

COLOURS = dict(zip(LOADS, ("#0072b2", "#56b4e9", "#009e73", "#d55e00"), strict=True))
Values = Callable[[Measured, str, str], list[float]]
# The title, and each round's values.
BY_LOAD: list[tuple[str, Values]] = [
    (
        "req/s, service's over its",
        lambda m, target, load: m.ratios("service", target, "rate", load),
    ),
    ("CPU, ms a request", lambda m, target, load: m.each(target, "cpu_ms", load)),
    ("p50, ms", lambda m, target, load: m.each(target, "p50", load)),
    ("p99, ms", lambda m, target, load: m.each(target, "p99", load)),
]
BY_START = [("PSS, MiB", "mib"), ("start, s", "seconds")]


def draw(record: dict[str, Any], path: Path) -> None:
    """Write the picture."""
    models, targets = list(record["models"]), list(record["targets"])
    columns = len(BY_LOAD) + len(BY_START)
    size = (3.2 * columns, 0.4 + len(models) * (0.6 + 0.34 * len(targets)))
    figure, grid = plt.subplots(
        len(models),
        columns,
        figsize=size,
        squeeze=False,
        sharey=True,
        sharex="col",
        layout="constrained",
    )
    for model, panels in zip(models, grid, strict=True):
        measured = Measured(record, model)
        for panel, (_, values) in zip(panels, BY_LOAD, strict=False):
            by_load(panel, measured, values)
            panel.set_xscale("log")
            panel.xaxis.set_major_formatter("{x:g}")
        for panel, (_, key) in zip(panels[len(BY_LOAD) :], BY_START, strict=True):
            by_start(panel, measured, key)
        panels[0].axvline(1, color="black", linewidth=0.8)
        panels[0].set_ylabel(model, fontweight="bold")
        panels[0].set_yticks(range(len(targets)), record["targets"].values())
    for panel, (title, _) in zip(grid[0], (*BY_LOAD, *BY_START), strict=True):
        panel.set_title(title, fontsize=10)
    grid[0, 0].invert_yaxis()
    for panel in grid.flat:
        panel.grid(axis="x", alpha=0.3)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(LOADS), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def by_load(panel: Any, measured: Measured, values: Values) -> None:
    """A point for each target and load, with a line from the least to the greatest round."""
    for i, load in enumerate(measured.loads):
        found = {y: values(measured, target, load) for y, target in enumerate(measured.titles)}
        shown = {y + (i - 1.5) * 0.18: each for y, each in found.items() if each}
        panel.hlines(
            list(shown),
            [min(each) for each in shown.values()],
            [max(each) for each in shown.values()],
            color=COLOURS[load],
            linewidth=1.2,
        )
        middles = [median(each) for each in shown.values()]
        panel.plot(middles, list(shown), "o", color=COLOURS[load], markersize=4, label=LOADS[load])


def by_start(panel: Any, measured: Measured, key: str) -> None:
    """A bar for each target, with a line from the least to the greatest start."""
    for y, target in enumerate(measured.titles):
        found = measured.each(target, key)
        if found:
            panel.barh(y, median(found), height=0.6, color="#bbbbbb")
            panel.hlines(y, min(found), max(found), color="black", linewidth=1.2)
