"""Tables in chunks: CSV and Parquet, never a whole file in memory."""

import csv
from collections.abc import Iterable, Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq


class TableError(ValueError):
    """A file that cannot be read as the table it claims to be."""


class Reject(NamedTuple):
    """A row that cannot be scored: its number, counted from 1, why, and its cells as found."""

    number: int
    reason: str
    cells: list[object]


class Chunk(NamedTuple):
    """Some rows as Arrow (text, where the file has no types); `numbers` counts them from 1.

    `misfits` are CSV rows with more or fewer cells than the first line; `done` is the share of
    the file that has been read, 0 to 1.
    """

    table: pa.Table
    numbers: list[int]
    misfits: list[Reject]
    done: float


class CsvWriter:
    """Writes a CSV file; a missing value is an empty cell."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(names)

    def write_rows(self, rows: Iterable[Iterable[object]]) -> None:
        """Append rows of cells."""
        self._writer.writerows(rows)

    def write_table(self, table: pa.Table) -> None:
        """Append a table, as a ParquetWriter does."""
        self.write_rows(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def suffix_of(path: Path) -> str:
    """`.csv` or `.parquet`."""
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise TableError(f"{path}: the name must end in .csv or .parquet")
    return suffix


def read(path: Path, size: int, separator: str) -> Iterator[Chunk]:
    """A file in chunks of up to `size` rows; one chunk even if it has no row."""
    is_csv = suffix_of(path) == ".csv"
    return read_csv(path, size, separator) if is_csv else read_parquet(path, size)


def writer(path: Path, suffix: str, schema: pa.Schema) -> Any:
    """An object with `write_table` and `close`."""
    return CsvWriter(path, schema.names) if suffix == ".csv" else pq.ParquetWriter(path, schema)


def read_csv(path: Path, size: int, separator: str) -> Iterator[Chunk]:
    """A first line of names, then rows; values are text."""
    total = path.stat().st_size or 1
    with path.open("rb") as raw:
        # utf-8-sig: spreadsheets write a byte order mark, which is no part of the first name.
        lines = csv.reader(TextIOWrapper(raw, "utf-8-sig", newline=""), delimiter=separator)
        try:
            names = next(lines, [])
            if not names or len(set(names)) < len(names):
                raise TableError(f"{path}: the first line must name each column, each differently")
            schema, first = pa.schema([(name, pa.string()) for name in names]), 1
            while (rows := list(islice(lines, size))) or first == 1:
                good, misfits = [], []
                for number, row in enumerate(rows, first):
                    if len(row) == len(names):
                        good.append((number, row))
                    elif row:  # an empty line is no row
                        reason = f"has {len(row)} cells, the first line has {len(names)}"
                        misfits.append(Reject(number, reason, list(row)))
                columns = [pa.array([row[i] for _, row in good]) for i in range(len(names))]
                table = pa.table([column.cast(pa.string()) for column in columns], schema)
                yield Chunk(table, [number for number, _ in good], misfits, raw.tell() / total)
                first += max(1, len(rows))
        except UnicodeDecodeError as error:
            raise TableError(f"{path} is no UTF-8 text: {error.reason}; save it as such") from None
        except csv.Error as error:
            raise TableError(f"{path}, line {lines.line_num}: {error}") from None


def read_parquet(path: Path, size: int) -> Iterator[Chunk]:
    """Row groups, cut to `size`; values keep their types."""
    try:
        with pq.ParquetFile(path) as file:
            total, first = file.metadata.num_rows, 1
            empty = file.schema_arrow.empty_table()
            for batch in file.iter_batches(size) if total else empty.to_batches() or [empty]:
                table, last = pa.table(batch), first + batch.num_rows
                yield Chunk(table, list(range(first, last)), [], (last - 1) / (total or 1))
                first = last
    except pa.ArrowException as error:
        raise TableError(f"{path} is no readable Parquet file: {error}") from None
