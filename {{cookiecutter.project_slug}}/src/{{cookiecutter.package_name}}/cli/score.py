"""`score`: predict every row of a file, in chunks, with the service's own validation."""

import os
from collections import defaultdict
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ..model import predictor
from ..model.cells import value_of
from ..model.manifest import Feature, ModelError
from ..model.predictor import Predictor
from ..model.schema import InputError
from . import models_option, tables
from .tables import Row, TableError, Writer

SOME_REJECTED = 3  # exit code
REJECTS = pa.schema([("row", pa.int64()), ("reasons", pa.string())])
FILE = click.Path(dir_okay=False, path_type=Path)


def check_columns(schema: pa.Schema, answers: pa.Schema, features: list[Feature]) -> None:
    """Refuse a table that cannot be scored as a whole."""
    if lost := [f.name for f in features if f.name not in schema.names and not f.nullable]:
        has = ", ".join(schema.names)
        raise TableError(f"the table has no column {', '.join(lost)}; it has {has}")
    if taken := [name for name in answers.names if name in schema.names]:
        raise TableError(f"the table has a column {', '.join(taken)} already; rename it first")


def answer_schema(model: Predictor) -> pa.Schema:
    """The columns that are added to each row."""
    classes = model.manifest.target.classes or []
    label = pa.scalar(classes[0]).type if classes else pa.float64()
    shares = [(f"probability_{name}", pa.float64()) for name in classes if model.has_shares]
    return pa.schema([("prediction", label), *shares, ("flags", pa.string())])


def score(rows: list[Row], model: Predictor) -> dict[int, str]:
    """Add its answers to each row that the service takes; why it refuses each of the others."""
    features, reasons = model.schema.features, defaultdict[int, list[str]](list)
    reasons |= {i: [row[None]] for i, row in enumerate(rows) if None in row}
    fit = [i for i in range(len(rows)) if i not in reasons]
    given = [{f.name: value_of(f, rows[i].get(f.name)) for f in features} for i in fit]
    try:
        batch = model.schema.read(given)
    except InputError as error:
        for fault in error.faults:
            reasons[fit[fault.row]].append(f"{fault.feature} {fault.msg}")
        given = [row for i, row in zip(fit, given, strict=True) if i not in reasons]
        fit = [i for i in fit if i not in reasons]
        batch = model.schema.read(given)
    for name, column in model.predict(batch).columns(batch).items():
        values = column if isinstance(column, list) else column.tolist()
        for i, value in zip(fit, values, strict=True):
            rows[i][name] = None if value != value else value  # NaN is no answer
    return {i: "; ".join(why) for i, why in reasons.items()}


@click.command("score")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=FILE)
@click.option("--rejects", type=FILE, help="Default: OUTPUT, ending in .rejects.csv instead.")
@click.option("--chunk", default=10_000, type=click.IntRange(1), help="Rows in memory at once.")
@click.option("--separator", default=",", show_default=True, help="Of cells, in a CSV source.")
@models_option
def command(
    source: Path, output: Path, rejects: Path | None, chunk: int, separator: str, folder: Path
) -> None:
    """Predict every row of SOURCE into OUTPUT, each a .csv or .parquet file.

    Columns that are no features pass through. Rows that the service would refuse go to the
    rejects file with the reasons, the rest is scored, and the exit code is 3.
    """
    rejects = rejects or output.with_suffix(".rejects.csv")
    part, console = output.with_name(output.name + ".part"), Console(stderr=True)
    bar = (TextColumn("{task.fields[rows]:,} rows"), BarColumn(), TaskProgressColumn())
    total = rejected = 0
    try:
        suffix, model = tables.suffix_of(output), predictor.load(folder)
        model.prove()
        schema, chunks = tables.read(source, chunk, separator)
        answers = answer_schema(model)
        check_columns(schema, answers, model.schema.features)
        rejects.unlink(missing_ok=True)
        with ExitStack() as stack:
            whole = pa.schema([*schema, *answers])
            writer = stack.enter_context(closing(Writer(part, suffix, whole)))
            progress = stack.enter_context(Progress(*bar, TimeRemainingColumn(), console=console))
            task = progress.add_task("", total=1.0, rows=0)
            reject_writer: Any = None
            for rows, done in chunks:
                reasons = score(rows, model)
                writer.write([row for i, row in enumerate(rows) if i not in reasons])
                if reasons and reject_writer is None:
                    names = pa.schema([*REJECTS, *schema])
                    reject_writer = stack.enter_context(closing(Writer(rejects, ".csv", names)))
                for i, why in sorted(reasons.items()):
                    own = {name: rows[i].get(name) for name in schema.names}
                    reject_writer.write([{"row": total + i + 1, "reasons": why, **own}])
                total, rejected = total + len(rows), rejected + len(reasons)
                progress.update(task, completed=done, rows=total)
        # Under its final name only when complete: half a file is never taken for a result.
        os.replace(part, output)
    except (TableError, ModelError, OSError) as error:
        part.unlink(missing_ok=True)
        raise click.ClickException(str(error)) from error
    console.print(f"{total - rejected:,} rows scored into {output}")
    if rejected:
        console.print(f"[yellow]{rejected:,} rows rejected, with the reasons in {rejects}")
        raise SystemExit(SOME_REJECTED)
