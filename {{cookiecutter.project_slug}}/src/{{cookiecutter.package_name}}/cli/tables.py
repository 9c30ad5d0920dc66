"""CSV and Parquet files as chunks of rows, never a whole file in memory."""

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str | None, Any]
# One chunk: its rows, and the share of the file that has been read, 0 to 1.
Chunk = tuple[list[Row], float]


class TableError(ValueError):
    """A file that cannot be read as the table it claims to be."""


def suffix_of(path: Path) -> str:
    """`.csv` or `.parquet`."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise TableError(f"{path}: the name must end in .csv or .parquet")
    return path.suffix.lower()


def read(path: Path, size: int, separator: str) -> tuple[pa.Schema, Iterator[Chunk]]:
    """The columns of a file, and its rows in chunks of up to `size`."""
    is_csv = suffix_of(path) == ".csv"
    chunks = read_csv(path, size, separator) if is_csv else read_parquet(path, size)
    schema: pa.Schema = next(chunks)
    return schema, chunks


def read_csv(path: Path, size: int, separator: str) -> Iterator[Any]:
    """First the schema, then chunks of text; a row of another length has what is odd under None."""
    total = path.stat().st_size or 1
    with path.open("rb") as raw:
        # utf-8-sig: spreadsheets write a byte order mark, which is no part of the first name.
        reader = csv.reader(TextIOWrapper(raw, "utf-8-sig", newline=""), delimiter=separator)
        lines = (cells for cells in reader if cells)  # an empty line is no row
        try:
            names = next(lines, [])
            if not names or len(set(names)) < len(names):
                raise TableError(f"{path}: the first line must name each column, each differently")
            yield pa.schema([(name, pa.string()) for name in names])
            while cells := list(islice(lines, size)):
                rows: list[Row] = [dict(zip(names, row, strict=False)) for row in cells]
                for row, found in zip(rows, cells, strict=True):
                    if len(found) != len(names):
                        surplus = "".join(f"; surplus: {cell}" for cell in found[len(names) :])
                        row[None] = f"has {len(found)} cells, not {len(names)}{surplus}"
                yield rows, raw.tell() / total
        except UnicodeDecodeError as error:
            raise TableError(f"{path} is no UTF-8 text: {error.reason}; save it as such") from None
        except csv.Error as error:
            raise TableError(f"{path}, line {reader.line_num}: {error}") from None


def read_parquet(path: Path, size: int) -> Iterator[Any]:
    """First the schema, then the chunks."""
    try:
        with pq.ParquetFile(path) as file:
            yield file.schema_arrow
            done = 0
            for batch in file.iter_batches(size):
                done += batch.num_rows
                yield batch.to_pylist(), done / file.metadata.num_rows
    except pa.ArrowException as error:
        raise TableError(f"{path} is no readable Parquet file: {error}") from None


class Writer:
    """Writes rows to a CSV or a Parquet file; a missing value is an empty cell or a null."""

    def __init__(self, path: Path, suffix: str, schema: pa.Schema) -> None:
        self._schema = schema
        if suffix == ".parquet":
            self._file = pq.ParquetWriter(path, schema)
            self._csv = None
        else:
            self._file = path.open("w", encoding="utf-8", newline="")
            self._csv = csv.DictWriter(self._file, schema.names, lineterminator="\n")
            self._csv.writeheader()

    def write(self, rows: list[Row]) -> None:
        """Append rows."""
        if self._csv:
            self._csv.writerows(rows)
        elif rows:
            self._file.write_table(pa.Table.from_pylist(rows, self._schema))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()
