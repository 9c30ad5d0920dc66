"""JSON logs: stdout is the record, a file on the mounted volume is its copy.

A missing, full or unwritable volume fails no request: it is counted, said once a minute and
shown by `/health/ready`.
"""

import logging
import os
import sys
import time
from pathlib import Path

from pythonjsonlogger.msgspec import MsgspecFormatter

SERVICE_FILE = "service.jsonl"
COMPLAIN_EVERY = 60.0  # seconds


class VolumeHandler(logging.Handler):
    """Appends whole lines to a file that other workers append to and that may be renamed.

    Each line is one write to a file opened with O_APPEND, so the kernel keeps lines of several
    processes apart; a file that was renamed or removed is opened anew.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.failures = 0
        self.fault: str | None = None
        self._file: tuple[int, int] | None = None  # descriptor, inode
        self._complained = -COMPLAIN_EVERY

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        self.append(self.format(record).encode() + b"\n")

    def append(self, line: bytes) -> None:
        """Append a line; an error is counted and said, and never ends a request."""
        # Threads share the descriptor: one must not close it, on rotation, while another writes.
        self.acquire()
        try:
            if os.write(self._descriptor(), line) < len(line):
                raise OSError("the volume is full, a line is cut")
            self.fault = None
        except OSError as error:
            self._complain(error)
        finally:
            self.release()

    def _complain(self, error: OSError) -> None:
        """Count a line that is on stdout alone, and say so at most once a minute."""
        self.failures += 1
        self.fault = error.strerror or str(error)
        now = time.monotonic()
        if now - self._complained >= COMPLAIN_EVERY:
            self._complained = now
            text = f"{self.path}: {self.fault}; lines on stdout alone so far: {self.failures}"
            line = {"name": __name__, "levelname": "WARNING", "msg": text}
            print(self.format(logging.makeLogRecord(line)), flush=True)

    def _descriptor(self) -> int:
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            inode = None
        if self._file is None or self._file[1] != inode:
            if self._file is not None:
                os.close(self._file[0])
                self._file = None
            opened = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            self._file = opened, os.fstat(opened).st_ino
        return self._file[0]


def json_formatter() -> logging.Formatter:
    """One JSON object a line, with whatever a call gives as `extra`."""
    return MsgspecFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
    )


def configure(level: str, folder: str) -> VolumeHandler | None:
    """Send all logging to stdout, and to `folder` if one is named."""
    volume = VolumeHandler(Path(folder, SERVICE_FILE)) if folder else None
    handlers = [logging.StreamHandler(sys.stdout), *([volume] if volume else [])]
    for handler in handlers:
        handler.setFormatter(json_formatter())
    logging.basicConfig(level=level, handlers=handlers, force=True)
    return volume
