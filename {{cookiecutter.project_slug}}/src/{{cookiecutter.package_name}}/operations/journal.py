"""Lines on their way to a shared file: each at once in a file of this process alone, then in bulk.

To append to a shared file takes five system calls, to a file of one's own only one. A process that
is killed leaves that file, with each line that it took. Whoever looks next, at a start or within
seconds, finishes the work: no line is lost, and none is written twice.
"""

import errno
import fcntl
import os
import secrets
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from .files import SharedFile

PAUSE = 0.1  # seconds that lines are collected: each wake of the thread costs requests time
RETRY = 1.0  # seconds, after the shared file did not take them
LOOK = 5.0  # seconds between two looks for what a killed process has left
MOST = 2**20  # bytes that wait; then requests do
NAME = ".{}.{}.journal"  # hidden beside the shared file
# What a file begins with: an inode and an offset in it, from which on the lines beginning at the
# third number are being written, zeros where they are not; and which of the process's turns it is.
PLACE = struct.Struct("<QQQQ")


class Own:
    """A file of this process, locked as long as the process lives."""

    def __init__(self, shared: Path, turn: int) -> None:
        """Create it; raises OSError."""
        self.turn = turn
        while True:
            self.path = shared.with_name(NAME.format(shared.name, secrets.token_hex(8)))
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self.path, flags, 0o644)
            self._size = PLACE.size
            if held(self._descriptor):
                return
            os.close(self._descriptor)  # whoever looks for what is left was faster

    def add(self, lines: bytes) -> bool:
        """Append lines, if they fit; raises OSError, and then none of them is there."""
        end = self._size + len(lines)
        if end > MOST:
            return False
        begin = b"" if self._size > PLACE.size else PLACE.pack(0, 0, 0, self.turn)
        try:
            written = os.pwrite(self._descriptor, begin + lines, self._size - len(begin))
            if self._size - len(begin) + written < end:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size = end
        return True

    def finish(self, file: SharedFile) -> bool:
        """Move the lines to the shared file, if any; raises OSError, and then none is lost."""
        if self._size == PLACE.size:
            return False
        finish(self._descriptor, file)
        self._size = PLACE.size
        return True

    def close(self) -> None:
        """Close the file, and remove it if it has no line."""
        if self._size == PLACE.size:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def held(descriptor: int) -> bool:
    """Whether its lock is ours now, and the file still has a name."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(descriptor).st_nlink > 0


def finish(descriptor: int, file: SharedFile) -> None:
    """Move the lines of a process's own file to the shared one, without those already there."""
    content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    end = content.rfind(b"\n", PLACE.size) + 1  # behind it is what a killed process did not finish
    if end:
        inode, offset, start, turn = PLACE.unpack_from(content)
        start = max(start, PLACE.size)
        if inode:
            start += common(content[start:end], file.read(inode, offset, end - start))
        for place, lines in pieces(content[:end], start, file.most or end):

            def note(inode: int, offset: int, place: int = place) -> None:
                os.pwrite(descriptor, PLACE.pack(inode, offset, place, turn), 0)

            file.append(lines, note)
    os.ftruncate(descriptor, 0)


def common(wanted: bytes, found: bytes) -> int:
    """The length of the lines with which both begin."""
    pairs = zip(wanted.splitlines(True), found.splitlines(True), strict=False)
    return sum(len(line) for line, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def pieces(content: bytes, start: int, most: int) -> Iterator[tuple[int, bytes]]:
    """Parts of `most` bytes, or of one line; and where each begins."""
    while start < len(content):
        stop = content.rfind(b"\n", start, start + most) + 1
        stop = stop or content.index(b"\n", start) + 1
        yield start, content[start:stop]
        start = stop


def finish_others(file: SharedFile) -> None:
    """Finish the work of processes that are no more, in their order; raises OSError."""
    left = []
    try:
        for path in file.path.parent.glob(NAME.format(file.path.name, "*")):
            with suppress(OSError):  # another process was faster, or it is another user's
                left.append((path, os.open(path, os.O_RDWR | os.O_CLOEXEC)))
        dead = [(path, descriptor) for path, descriptor in left if held(descriptor)]
        for path, descriptor in sorted(dead, key=lambda each: turn_of(each[1])):
            finish(descriptor, file)
            path.unlink()
    finally:
        for _, descriptor in left:
            os.close(descriptor)


def turn_of(descriptor: int) -> int:
    """When its process took the lines, beside its other file."""
    start = os.pread(descriptor, PLACE.size, 0)
    return int(PLACE.unpack(start)[3]) if len(start) == PLACE.size else 0


class Journal:
    """Takes lines of any thread for a shared file, which a thread of its own writes to."""

    def __init__(self, file: SharedFile, tell: Callable[[OSError | None], None]) -> None:
        """`tell` gets why lines wait, or None; raises OSError if none can be taken.

        Not in a process that forks afterwards: the thread and the locks would stay behind.
        """
        self._file = file
        self._tell = tell
        self._lock = threading.Lock()  # of the two files
        self._busy = threading.Lock()  # of the shared file
        self._wake, self._closed = threading.Event(), threading.Event()
        self._old, self._new = Own(file.path, 0), Own(file.path, 1)
        threading.Thread(target=self._keep_writing, daemon=True).start()

    def append(self, lines: bytes) -> None:
        """Take whole lines; raises OSError, and then none of them is taken."""
        if len(lines) > MOST // 4:
            with self._busy:
                self._file.append(lines)
            self._tell(None)
            return
        fits = False
        while not fits:
            with self._lock:
                fits = self._new.add(lines)
            if not fits:
                with self._busy:
                    self._turn()
        if not self._wake.is_set():
            self._wake.set()

    def flush(self) -> bool:
        """Write what was taken to the shared file; raises OSError, and then it waits.

        Returns whether there was anything.
        """
        with self._busy:
            if self._closed.is_set():
                return False
            late = self._turn()
            return self._old.finish(self._file) or late

    def _turn(self) -> bool:
        """Have an empty file take what comes; raises OSError if the other cannot be emptied."""
        late = self._old.finish(self._file)
        with self._lock:
            self._old, self._new = self._new, self._old
            self._new.turn = self._old.turn + 1
        return late

    def close(self) -> None:
        """Write what was taken, and remove the files; those that still have lines stay."""
        with suppress(OSError):
            self.flush()
        with self._busy, self._lock:
            self._closed.set()
            self._wake.set()
            self._new.close()
            self._old.close()

    def _keep_writing(self) -> None:
        looked, error = -LOOK, None
        while not self._closed.is_set():
            try:
                wrote = self.flush()
                if time.monotonic() - looked >= LOOK:
                    looked = time.monotonic()
                    with self._busy:
                        finish_others(self._file)
                if wrote or error:  # no success: that nothing was to be written
                    self._tell(error := None)
            except OSError as caught:
                self._tell(error := caught)
            self._wake.wait(LOOK)
            self._closed.wait(RETRY if error else PAUSE)
            self._wake.clear()
