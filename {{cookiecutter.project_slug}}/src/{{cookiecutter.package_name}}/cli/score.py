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
from ..model.manifest import Feature, ModelError
from ..model.predictor import Predictor
from ..model.schema import InputError
from . import models_option, tables
from .tables import Chunk, CsvWriter, Reject, TableError

SOME_REJECTED = 3  # exit code
# What common tools write for a missing value in CSV.
MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"})
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
FILE = click.Path(dir_okay=False, path_type=Path)


def value_of(feature: Feature, text: str) -> Any:
    """The value of a CSV cell; text that does not fit is left for the schema to refuse."""
    if feature.type == "category":
        # A category may be named like a missing value: NA is Namibia's country code.
        return None if text in MISSING and text not in (feature.categories or ()) else text
    text = text.strip()
    if text in MISSING or feature.type == "boolean":
        return None if text in MISSING else BOOLEANS.get(text.lower(), text)
    try:
        return float(text)
    except ValueError:
        return text


def rows_of(chunk: Chunk, features: list[Feature]) -> list[dict[str, Any]]:
    """The features of each row, as a client would send them."""
    present = [feature for feature in features if feature.name in chunk.table.column_names]
    if lost := [f.name for f in features if f not in present and not f.nullable]:
        names = ", ".join(chunk.table.column_names)
        raise TableError(f"the table has no column {', '.join(lost)}; it has {names}")
    columns = {}
    for feature in present:
        values = chunk.table[feature.name].to_pylist()
        columns[feature.name] = [value_of(feature, v) if type(v) is str else v for v in values]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def score(chunk: Chunk, model: Predictor) -> tuple[pa.Table, list[Reject]]:
    """The rows that the service takes, with their answers as new columns, and the others."""
    rows = rows_of(chunk, model.schema.features)
    reasons: dict[int, list[str]] = defaultdict(list)
    try:
        batch = model.schema.read(rows)
    except InputError as error:
        for fault in error.faults:
            reasons[fault.row].append(f"{fault.feature} {fault.msg}")
        batch = model.schema.read([row for i, row in enumerate(rows) if i not in reasons])
    answer, flags = model.predict(batch), [""] * batch.rows
    for row, feature, flag in batch.flags:
        flags[row] += f"{' ' if flags[row] else ''}{feature}:{flag}"
    label_type = pa.scalar(answer.classes[0]).type if answer.classes else pa.float64()
    added = {"prediction": pa.array(answer.labels, label_type)}
    if answer.probabilities is not None:
        for i, label in enumerate(answer.classes):
            added[f"probability_{label}"] = pa.array(answer.probabilities[:, i])
    added["flags"] = pa.array(flags, pa.string())
    kept = [i for i in range(len(rows)) if i not in reasons]
    table = chunk.table.take(pa.array(kept, pa.int64()))
    if taken := [name for name in added if name in table.column_names]:
        raise TableError(f"the table has a column {', '.join(taken)} already; rename it first")
    for name, values in added.items():
        table = table.append_column(name, values)
    cells = chunk.table.take(pa.array(list(reasons), pa.int64())).to_pylist()
    rejects = [
        Reject(chunk.numbers[i], "; ".join(why), list(row.values()))
        for (i, why), row in zip(reasons.items(), cells, strict=True)
    ]
    return table, sorted([*chunk.misfits, *rejects], key=lambda reject: reject.number)


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
    scored = rejected = 0
    try:
        suffix = tables.suffix_of(output)
        model = predictor.load(folder)
        rejects.unlink(missing_ok=True)
        with ExitStack() as stack:
            progress = stack.enter_context(Progress(*bar, TimeRemainingColumn(), console=console))
            task, writer = progress.add_task("", total=1.0, rows=0), None
            reject_writer: CsvWriter | None = None
            for each in tables.read(source, chunk, separator):
                table, refused = score(each, model)
                if writer is None:
                    writer = tables.writer(part, suffix, table.schema)
                    stack.callback(writer.close)
                writer.write_table(table)
                if refused and reject_writer is None:
                    names = ["row", "reasons", *each.table.column_names]
                    reject_writer = stack.enter_context(closing(CsvWriter(rejects, names)))
                if reject_writer:
                    reject_writer.write_rows((r.number, r.reason, *r.cells) for r in refused)
                scored, rejected = scored + table.num_rows, rejected + len(refused)
                progress.update(task, completed=each.done, rows=scored + rejected)
        # Under its final name only when complete: half a file is never taken for a result.
        os.replace(part, output)
    except (TableError, ModelError, OSError) as error:
        part.unlink(missing_ok=True)
        raise click.ClickException(str(error)) from error
    console.print(f"{scored:,} rows scored into {output}")
    if rejected:
        console.print(f"[yellow]{rejected:,} rows rejected, with the reasons in {rejects}")
        raise SystemExit(SOME_REJECTED)
