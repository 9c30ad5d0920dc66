"""A file of lines that several processes, or containers, append to, and that rotates by size."""

import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

LOCK_SECONDS = 0.5  # for a lock that a stopped process holds; others hold it for microseconds
IMPATIENT_SECONDS = 5.0  # after one of those, in which no line waits
LAST_LINES = 2**20  # bytes in which a torn line's beginning is looked for


class SharedFile:
    """Appends whole lines; not for several threads at once.

    Whoever appends or rotates holds a flock(2) of the very file that bears the name, and looks
    for its name once it has the lock. So nobody writes to a file that was renamed meanwhile, and a
    process that is killed gives its lock back. A line that such a process left unfinished is cut
    off by the next one.
    """

    def __init__(self, path: Path, most_bytes: int = 0, keep: int = 1) -> None:
        """`path` is renamed to `path.1`, and so on to `keep`, before it grows over `most_bytes`.

        Without `most_bytes` it grows, and may be renamed from outside.
        """
        self.path = path
        self._name = str(path)  # which os.stat takes in a third of a Path's time
        self.most = most_bytes
        self._keep = keep
        self.fault: str | None = None  # why it could not be renamed, and grows instead
        self._opened: tuple[int, tuple[int, int], int] | None = None  # descriptor, inode, process
        self._impatient_until = 0.0

    def append(self, lines: bytes, note: Callable[[int, int], None] | None = None) -> None:
        """Append lines in one piece; raises OSError, and then none of them is in the file.

        `note` is called before that, with the file's inode and the offset of the lines in it.
        """
        descriptor, end = self._current(len(lines))
        try:
            if note:
                note(os.fstat(descriptor).st_ino, end)
            if os.write(descriptor, lines) < len(lines):
                os.ftruncate(descriptor, end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _current(self, length: int) -> tuple[int, int]:
        """The descriptor, locked, of a file of whole lines that has the name and room; its size."""
        while True:
            descriptor, inode = self._open()
            self._lock(descriptor)
            try:
                state = os.stat(self._name)
                named = (state.st_dev, state.st_ino) == inode
                size = mend(descriptor, state.st_size) if named else 0
            except FileNotFoundError:
                named = False
            except OSError:
                self.close()  # and with it the lock
                raise
            if not named:
                self.close()
                continue
            if not self.most or not size or size + length <= self.most:
                return descriptor, size
            try:
                self._rotate()
            except OSError as error:  # rather too long a file than no lines
                self.fault = f"cannot be rotated: {error.strerror}"
                return descriptor, size
            self.fault = None
            self.close()

    def _lock(self, descriptor: int) -> None:
        # Whoever holds it too long may do so for hours: not every line waits for that.
        patient = time.monotonic() >= self._impatient_until
        try:
            lock(descriptor, LOCK_SECONDS if patient else 0)
        except TimeoutError:
            if patient:
                self._impatient_until = time.monotonic() + IMPATIENT_SECONDS
            raise

    def _open(self) -> tuple[int, tuple[int, int]]:
        # A fork shares the open file and with it the lock, which then keeps nobody apart.
        if self._opened and self._opened[2] != os.getpid():
            self.close()
        if self._opened is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._name, flags, 0o644)
            state = os.fstat(descriptor)
            self._opened = descriptor, (state.st_dev, state.st_ino), os.getpid()
        return self._opened[:2]

    def read(self, inode: int, offset: int, length: int) -> bytes:
        """What is at an offset of a file that bears the name, or did before it was rotated."""
        for path in (self.path, *(Path(f"{self.path}.{i + 1}") for i in range(self._keep))):
            with suppress(FileNotFoundError), path.open("rb") as file:
                if os.fstat(file.fileno()).st_ino == inode:
                    return os.pread(file.fileno(), length, offset)
        return b""

    def _rotate(self) -> None:
        """Rename each file to the next number, the current one last; the oldest is replaced."""
        names = [self.path]
        while len(names) <= self._keep and names[-1].exists():
            names.append(Path(f"{self.path}.{len(names)}"))
        for newer, older in reversed([*pairwise(names)]):
            os.replace(newer, older)

    def close(self) -> None:
        """Close the file; the next append opens it again."""
        if self._opened:
            os.close(self._opened[0])
            self._opened = None


def lock(descriptor: int, seconds: float) -> None:
    """Take the exclusive lock; raises TimeoutError if it is not given in time."""
    end = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise TimeoutError(errno.ETIMEDOUT, "another process holds its lock") from None
        time.sleep(0.0002)


def mend(descriptor: int, size: int) -> int:
    """Cut off a last line that has no end; the size that is left."""
    if not size or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    start = max(0, size - LAST_LINES)
    end = start + os.pread(descriptor, size - start, start).rfind(b"\n") + 1
    os.ftruncate(descriptor, end)
    return end
