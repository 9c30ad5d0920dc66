"""Counts that add up over workers: each keeps its own in memory, and a copy where all can read it.

prometheus-client's own multiprocess mode writes each count to a mapped file at once, which takes
two to three times as long, and leaves a file for every worker that ever was. Here a worker takes
over the file of the one that it replaces, and with it its counts, so none goes backwards.

Nor does a request pay for its counts alone: it leaves what it saw, and many are counted together.
"""

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import DecodeError, json

Key = tuple[str, ...]  # a metric's name, and the values of its labels
Numbers = dict[Key, float]
EVERY_SECONDS = 0.5  # what a killed worker may lose
MOST = 256  # requests that are held back; of more, each would cost hardly less
FEW = 8  # rows; a request of more is counted at once, as its rows are many already


class Saved(NamedTuple):
    """A process's file: what it counted with its forerunners, and what is so while it lives."""

    process: int
    counted: list[tuple[Key, float]]
    now: list[tuple[Key, float]]


class Held:
    """What threads saw and nobody has counted yet; made by `Totals.hold`."""

    def __init__(self, totals: "Totals", count: Callable[[list[Any]], None], most: int) -> None:
        self._totals, self._count, self._most = totals, count, most
        # Its `append` and `popleft` are atomic, so that no request waits for a lock.
        self._seen: deque[Any] = deque()

    def put(self, seen: Any, rows: int = 1) -> None:
        """Hold back what was seen of a request, unless it is time to count."""
        self._seen.append(seen)
        if rows > FEW or len(self._seen) >= self._most:
            self._totals.fold()

    def fold(self) -> None:
        """Count what is held; for `Totals.fold`, which lets one thread in at a time."""
        if self._seen:
            self._count([self._seen.popleft() for _ in range(len(self._seen))])


class Totals:
    """Numbers by key, of this process; safe for threads, and for a fork before the first number."""

    def __init__(self, folder: Path | None, now: Callable[[], Numbers] = dict) -> None:
        """With a folder, the numbers are also in its file for WORKER_SLOT, at most 0.5 s old.

        `now`, called before each save, gives numbers that rise and fall, and end with the process.
        """
        self._folder = folder
        self._now = now
        self._last_now: Numbers = {}
        self.folds: list[Callable[[], None]] = []  # functions that add what was held back
        self._lock = threading.RLock()  # they add while it is held
        self._process = 0
        self._changed = False
        self._numbers: Numbers = {}

    def hold(self, count: Callable[[list[Any]], None], most: int = MOST) -> Held:
        """Where requests leave what they saw, for `count` to add before anybody looks.

        At most `most` requests, but for those that end meanwhile; none of more rows than FEW.
        """
        held = Held(self, count, min(most, MOST))
        self.folds.append(held.fold)
        return held

    def fold(self) -> None:
        """Add all that was held back, once: whoever comes meanwhile finds it added."""
        self.start()
        with self._lock:
            for fold in self.folds:
                fold()

    def add(self, numbers: Numbers) -> None:
        """Add numbers to those of the same keys."""
        self.start()
        with self._lock:
            own = self._numbers
            for key, number in numbers.items():
                own[key] = own.get(key, 0) + number
            self._changed = True

    def roll(self, name: str, most: float) -> None:
        """Once (name, "now") has reached `most`, all under it goes to (name, "old").

        What was there is forgotten.
        """
        with self._lock:
            if self._numbers.get((name, "now"), 0) < most:
                return
            kept = {key: n for key, n in self._numbers.items() if key[:2] != (name, "old")}
            moved = {key: n for key, n in kept.items() if key[:2] == (name, "now")}
            for key, number in moved.items():
                del kept[key]
                kept[name, "old", *key[2:]] = number
            self._numbers, self._changed = kept, True

    def merged(self) -> Numbers:
        """The sums over all workers."""
        if self._folder is None:
            self.fold()
            now = self._now()
            with self._lock:
                return self._numbers | now
        self.save()  # so that what was once seen is never lost
        sums: Numbers = {}
        for file in self._folder.glob("*.json"):
            saved = read(file)
            # A killed worker's last file stays until another one takes its slot.
            for key, number in saved.counted + (saved.now if lives(saved.process) else []):
                sums[key] = sums.get(key, 0) + number
        return sums

    def save(self) -> None:
        """Write the numbers to the file, whole or not at all."""
        self.fold()
        now = self._now()
        with self._lock:
            if self._folder and (self._changed or now != self._last_now):
                new = self._file().with_suffix(".new")
                saved = Saved(os.getpid(), [*self._numbers.items()], [*now.items()])
                new.write_bytes(json.encode(saved))
                os.replace(new, self._file())
                self._changed, self._last_now = False, now

    def _file(self) -> Path:
        # gunicorn.conf.py gives each worker the lowest number that is free.
        return Path(self._folder or "", f"{os.environ.get('WORKER_SLOT', '0')}.json")

    def start(self) -> None:
        """In a process's first call: go on from the slot's last numbers, and save from then on."""
        if self._process == os.getpid():
            return
        with self._lock:
            if self._process == os.getpid():
                return
            self._process = os.getpid()
            self._numbers = dict(read(self._file()).counted) if self._folder else {}
        if self._folder:
            atexit.register(self.save)
            threading.Thread(target=self._keep_saving, daemon=True).start()

    def _keep_saving(self) -> None:
        pause = threading.Event()
        while not pause.wait(EVERY_SECONDS):
            self.save()


def read(file: Path) -> Saved:
    """What is in a file; nothing if there is none."""
    try:
        return json.decode(file.read_bytes(), type=Saved)
    except (OSError, DecodeError):
        return Saved(0, [], [])


def lives(process: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
