"""`drift`: how far the logged rows have moved from the training data, as table, page and JSON."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..model import manifest
from ..model.manifest import Feature, Manifest, ModelError
from ..operations import drift
from . import models_option
from .history import OTHER_MODEL, OTHER_TIME, UNREADABLE, History, Line, Timeline

DRIFTED = 4  # exit code
MOST_BINS = 15  # on the page, of a feature
CHUNK = 5_000  # lines in memory at once
LEFT_OUT = {
    OTHER_MODEL: "of another model or version",
    OTHER_TIME: "of another time",
    UNREADABLE: "that are torn or no lines of the log",
}
ORDER = ("drifted", "moved", "too few rows", "stable", "not measured")
COLORS = {"drifted": "red", "moved": "yellow", "not measured": "dim"}
FILE = click.Path(dir_okay=False, path_type=Path)
TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])


class Observed:
    """The logged rows of a feature, in the bins of its baseline."""

    def __init__(self, feature: Feature, about: Manifest) -> None:
        self.feature = feature
        self.bins = drift.bins_of(about.baseline.get(feature.name), about.training.rows)
        self.now = np.zeros(len(self.bins.labels) if self.bins else 0)
        self.unknown, self.is_hashed = 0, False
        self._known = {None, *(feature.categories or ())}

    def count(self, lines: list[Line]) -> None:
        """Count the lines that hold the feature in clear."""
        name = self.feature.name
        held = [line for line in lines if name in line.input]
        values: list[Any] = [line.input[name] for line in held]
        if self.bins is None or not values:
            return
        if self.feature.type == "category":
            # The service flags every unknown category, so one without a flag is a hash.
            odd = {*values} - self._known
            self.unknown += sum(value in odd for value in values) if odd else 0
            flags = ("unknown_category", name)
            is_hashed = odd and any(
                line.input[name] in odd
                and flags not in {(each.flag, each.feature) for each in line.output.flags}
                for line in held
            )
        else:
            is_hashed = str in {*map(type, values)}
            values = [] if is_hashed else np.array(values, np.float64)  # type: ignore[assignment]
        self.is_hashed = self.is_hashed or bool(is_hashed)
        if not self.is_hashed:
            self.now += self.bins.count(values)

    def found(self, threshold: float, features: int) -> dict[str, Any]:
        """What is known of the feature, as in the JSON report."""
        about = {name: getattr(self.feature, name) for name in ("name", "type", "unit")}
        reason = ""
        if self.bins is None:
            reason = "the manifest has no baseline of it: train the model again"
        elif self.is_hashed:
            reason = "the log has hashes of it (LOG_HASH)"
        elif not self.now.any():
            reason = "the log leaves it out (LOG_OMIT)"
        if self.bins is None or reason:
            return {**about, "verdict": "not measured", "reason": reason}
        index = drift.psi(self.bins.then, self.now)
        by_chance = drift.chance(self.bins.then, self.now, features)
        total = float(self.now.sum())
        shares = [(counts / counts.sum()).tolist() for counts in (self.bins.then, self.now)]
        triples = zip(self.bins.labels, *shares, strict=True)
        bins = [{"bin": label, "training": then, "logged": now} for label, then, now in triples]
        return {
            **about,
            "verdict": drift.verdict(index, by_chance, threshold),
            "psi": index,
            "psi_by_chance": by_chance,
            "rows": int(total),
            "missing": {name: bins[-1][name] for name in ("training", "logged")},
            "unknown": self.unknown / total if self.feature.type == "category" else None,
            "bins": bins,
        }


def chunks(lines: Iterable[Line], last: int | None) -> Iterator[list[Line]]:
    """The lines, or the last of them, in chunks."""
    each = iter(deque(lines, last) if last else lines)
    while chunk := [*islice(each, CHUNK)]:
        yield chunk


def compare(about: Manifest, history: History, last: int | None, threshold: float) -> Any:
    """The whole report as plain values; raises ClickException if no row can be compared."""
    observed = [Observed(feature, about) for feature in about.features]
    timeline, rows = Timeline(of_classes=about.task == "classification"), 0
    first, newest = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)
    for lines in chunks(history, last):
        rows += len(lines)
        first = min(first, *(line.time for line in lines))
        newest = max(newest, *(line.time for line in lines))
        timeline.add(lines)
        for each in observed:
            each.count(lines)
    left_out = {reason: history.left_out[reason] for reason in LEFT_OUT}
    if not rows:
        others = ", ".join(f"{n:,} {LEFT_OUT[reason]}" for reason, n in left_out.items())
        raise click.ClickException(f"the log has no row to compare; it has lines: {others}")
    features = [each.found(threshold, len(observed)) for each in observed]
    features.sort(key=lambda f: (ORDER.index(f["verdict"]), -f.get("psi", 0)))
    if features[0]["verdict"] == "not measured":
        raise click.ClickException(f"no feature can be measured: {features[0]['reason']}")
    return {
        "model": {"name": about.name, "version": about.version, "task": about.task},
        "rows": rows,
        "training_rows": about.training.rows,
        "files": history.files,
        "first": first.isoformat(timespec="seconds"),
        "last": newest.isoformat(timespec="seconds"),
        "left_out": left_out,
        "threshold": threshold,
        "drifted": [f["name"] for f in features if f["verdict"] == "drifted"],
        "features": features,
        "predictions": {
            "target": about.target.name,
            "classes": [str(label) for label in about.target.classes or ()],
            "seconds": timeline.seconds,
            "steps": timeline.steps(),
        },
    }


def shown(bins: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The bins that have rows; of many, those that changed most."""
    used = [each for each in bins if each["training"] or each["logged"]]
    used.sort(key=lambda each: -abs(each["logged"] - each["training"]))
    return [each for each in bins if each in used[:MOST_BINS]]


def page(report: Any) -> str:
    """The report as one page that needs nothing else."""
    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["shown"] = shown
    return environment.get_template("drift.html").render(report=report, left_out=LEFT_OUT)


def show(report: Any, console: Console) -> None:
    """The report as a table."""
    about = report["model"]
    title = f"{about['name']} {about['version']}: {report['rows']:,} logged rows"
    names = ("feature", "verdict", "PSI", "by chance", "missing", "unknown", "rows")
    table = Table(*names, title=escape(title), title_justify="left")
    for f in report["features"]:
        cells = []
        if "psi" in f:
            cells = [f"{f['psi']:.3f}", f"up to {f['psi_by_chance']:.3f}"]
            cells += [f"{f['missing']['training']:.1%} → {f['missing']['logged']:.1%}"]
            cells += ["" if f["unknown"] is None else f"{f['unknown']:.1%}", f"{f['rows']:,}"]
        verdict = f"[{COLORS.get(f['verdict'], 'default')}]{f['verdict']}[/]"
        table.add_row(escape(f["name"]), verdict, *cells)
    console.print(table)
    for f in report["features"]:
        if "reason" in f:
            console.print(f"{escape(f['name'])} is not measured: {f['reason']}")
    for reason, count in report["left_out"].items():
        if count:
            console.print(f"left out: {count:,} lines {LEFT_OUT[reason]}")


@click.command("drift")
@click.option("--log", type=FILE, help="Default: predictions.jsonl in LOG_DIR, or in logs.")
@click.option("--since", type=TIME, help="The first time, as 2026-01-31 or 2026-01-31T14:30; UTC.")
@click.option("--until", type=TIME, help="The time before which it ends.")
@click.option("--last", type=click.IntRange(1), help="So many rows, the newest, alone.")
@click.option("--out", type=FILE, help="Write a page to this file.")
@click.option("--json", "data", type=FILE, help="Write the numbers to this file.")
@click.option(
    "--threshold",
    default=drift.THRESHOLD,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="The PSI of a drifted feature.",
)
@models_option
def command(
    log: Path | None,
    since: datetime | None,
    until: datetime | None,
    last: int | None,
    out: Path | None,
    data: Path | None,
    threshold: float,
    folder: Path,
) -> None:
    """Compare the logged rows of the served model with its training data.

    Reads the prediction log and its rotated files. The exit code is 4 if a feature has drifted,
    1 if there is nothing to compare.
    """
    log = log or Path(os.environ.get("LOG_DIR") or "logs", "predictions.jsonl")
    since, until = (t and (t if t.tzinfo else t.replace(tzinfo=UTC)) for t in (since, until))
    try:
        about = manifest.read(folder)
        history = History(log, (about.name, about.version), since, until)
        if not log.exists():
            raise click.ClickException(f"{log} is not there; the service writes it into LOG_DIR")
        report = compare(about, history, last, threshold)
        if out:
            out.write_text(page(report), encoding="utf-8")
        if data:
            data.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    except (ModelError, OSError) as error:
        raise click.ClickException(str(error)) from error
    console = Console()
    show(report, console)
    for path in filter(None, (out, data)):
        console.print(f"wrote {path}", highlight=False, markup=False)
    names = ", ".join(map(escape, report["drifted"]))
    console.print(f"[red]Drifted: {names}[/]" if names else "[green]Nothing has drifted.")
    raise SystemExit(DRIFTED if names else 0)
