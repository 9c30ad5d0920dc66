"""The prediction log as a stream: its rotated files first, never a whole file in memory."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec

STEPS = (1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400, 28 * 86400)  # seconds
BARS = 60  # of a timeline, at most
# Why a line is left out.
OTHER_MODEL, OTHER_TIME, UNREADABLE = "other_model", "other_time", "unreadable"


class Flag(msgspec.Struct):
    """As in an answer."""

    feature: str
    flag: str


class Output(msgspec.Struct):
    """An answer, without its probabilities."""

    label: bool | int | float | str | None
    flags: list[Flag]


class Line(msgspec.Struct):
    """A line of the log; hashed values are strings."""

    time: Annotated[datetime, msgspec.Meta(tz=True)]
    model: str
    version: str
    input: dict[str, bool | float | str | None]
    output: Output


class History:
    """Lines of one version of a model within a time; `left_out` counts the others by reason."""

    def __init__(
        self, path: Path, model: tuple[str, str], since: datetime | None, until: datetime | None
    ) -> None:
        self._path, self._model = path, model
        self._since = since or datetime.min.replace(tzinfo=UTC)
        self._until = until or datetime.max.replace(tzinfo=UTC)
        self.files = 0
        self.left_out: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Line]:
        """The lines, oldest file first; raises OSError if a file cannot be read."""
        decode = msgspec.json.Decoder(Line).decode
        with ExitStack() as stack:
            files = opened(self._path, stack)
            self.files = len(files)
            for text in (text for file in files for text in file):
                try:
                    line = decode(text)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    self.left_out[UNREADABLE] += 1
                    continue
                if (line.model, line.version) != self._model:
                    self.left_out[OTHER_MODEL] += 1
                elif not self._since <= line.time < self._until:
                    self.left_out[OTHER_TIME] += 1
                else:
                    yield line


def opened(path: Path, stack: ExitStack) -> list[BinaryIO]:
    """The log's files, oldest first, each once even if it is renamed meanwhile."""
    old = [file for file in path.parent.glob(f"{path.name}.*") if file.suffix[1:].isdigit()]
    files: dict[tuple[int, int], BinaryIO] = {}
    # Newest first: what is renamed to the next number is met again, and nothing is passed over.
    for name in (path, *sorted(old, key=lambda file: int(file.suffix[1:]))):
        try:
            file = stack.enter_context(name.open("rb"))
        except FileNotFoundError:
            continue
        state = os.fstat(file.fileno())
        files.setdefault((state.st_dev, state.st_ino), file)
    return [*reversed(files.values())]


class Timeline:
    """Predictions by time, in steps that grow with the time that they span.

    Of a classification it has the rows of each class, of a regression the rows and their sum.
    """

    def __init__(self, *, of_classes: bool) -> None:
        self._of_classes = of_classes
        self._step = 0
        self._sums: dict[int, Counter[str]] = {}

    @property
    def seconds(self) -> int:
        """The length of a step."""
        last = len(STEPS) - 1
        return STEPS[min(self._step, last)] * int(2 ** max(0, self._step - last))

    def add(self, lines: list[Line]) -> None:
        """Count lines."""
        seconds = self.seconds
        found = Counter(
            (int(line.time.timestamp() // seconds), line.output.label) for line in lines
        )
        for (key, label), rows in found.items():
            sums = self._sums.setdefault(key, Counter())
            if self._of_classes:
                sums[str(label)] += rows
            elif isinstance(label, int | float):
                sums.update(rows=rows, sum=label * rows)  # type: ignore[arg-type]  # or float
        while len(self._sums) > BARS or max(self._sums) - min(self._sums) >= BARS:
            finer, self._step = self.seconds, self._step + 1
            coarse: dict[int, Counter[str]] = {}
            for key, sums in self._sums.items():
                coarse.setdefault(key * finer // self.seconds, Counter()).update(sums)
            self._sums = coarse

    def steps(self) -> list[dict[str, Any]]:
        """Each step from the first to the last, empty ones too."""
        found = []
        for key in range(min(self._sums), max(self._sums) + 1):
            sums = self._sums.get(key, Counter())
            start = datetime.fromtimestamp(key * self.seconds, UTC)
            step: dict[str, Any] = {"start": start.isoformat(timespec="seconds")}
            if self._of_classes:
                step |= {"rows": sums.total(), "classes": dict(sums)}
            else:
                rows = sums["rows"]
                step |= {"rows": rows, "mean": sums["sum"] / rows if rows else None}
            found.append(step)
        return found
