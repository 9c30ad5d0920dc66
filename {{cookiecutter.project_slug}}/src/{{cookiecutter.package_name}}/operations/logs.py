"""JSON logs: stdout is the record, a file on the mounted volume is its copy.

A missing, full or unwritable volume fails no request: it is counted, said once a minute and
shown by `/health/ready`.
"""

import logging
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from pythonjsonlogger.msgspec import MsgspecFormatter

from .files import SharedFile
from .journal import Journal

SERVICE_FILE = "service.jsonl"
COMPLAIN_EVERY = 60.0  # seconds


class VolumeHandler(logging.Handler):
    """Appends lines to a file on the volume, beside other workers and containers."""

    def __init__(self, path: Path, most_bytes: int = 0, keep: int = 1) -> None:
        super().__init__()
        self.path = path
        self.failures = 0
        self.counted = 0  # of them, by /metrics
        self.fault: str | None = None
        self._file = SharedFile(path, most_bytes, keep)
        self._journal: Journal | None = None
        self._lock = threading.Lock()
        self._complained = -COMPLAIN_EVERY

    def start(self) -> None:
        """From now on, write in bulk; for a process that forks no more, as a worker."""
        with suppress(OSError):  # which each line will meet, too
            self._journal = Journal(self._file, self._tell)

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        self.append(self.format(record).encode() + b"\n")

    def append(self, lines: bytes) -> None:
        """Append whole lines; an error is counted and said, and never ends a request."""
        try:
            if self._journal:
                self._journal.append(lines)
                return
            with self._lock:
                self._file.append(lines)
        except OSError as error:
            self._tell(error)
        else:
            self.fault = self._file.fault

    def flush(self) -> None:
        """Write what waits."""
        if self._journal:
            with suppress(OSError):  # which its thread tells of
                self._journal.flush()

    def close(self) -> None:
        """Write what waits, and then each line at once, as before the start."""
        if self._journal:
            self._journal.close()
            self._journal = None
        super().close()

    def _tell(self, error: OSError | None) -> None:
        """Take in how writing in bulk went."""
        with self._lock:
            if error:
                self._complain(error)
            else:
                self.fault = self._file.fault

    def _complain(self, error: OSError) -> None:
        """Count a failure to write, and say so at most once a minute."""
        self.failures += 1
        self.fault = error.strerror or str(error)
        now = time.monotonic()
        if now - self._complained >= COMPLAIN_EVERY:
            self._complained = now
            text = f"{self.path}: {self.fault}; failures to write so far: {self.failures}"
            line = {"name": __name__, "levelname": "WARNING", "msg": text}
            print(self.format(logging.makeLogRecord(line)), flush=True)


def json_formatter() -> logging.Formatter:
    """One JSON object a line, with whatever a call gives as `extra`."""
    return MsgspecFormatter(
        ["levelname", "name", "message"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp="time",
    )


def configure(
    level: str, folder: str = "", most_bytes: int = 0, keep: int = 1
) -> VolumeHandler | None:
    """Send all logging to stdout, and to a file in `folder` if one is named; see SharedFile."""
    volume = VolumeHandler(Path(folder, SERVICE_FILE), most_bytes, keep) if folder else None
    handlers = [logging.StreamHandler(sys.stdout), *([volume] if volume else [])]
    for handler in handlers:
        handler.setFormatter(json_formatter())
    logging.basicConfig(level=level, handlers=handlers, force=True)
    return volume
