"""Rotated files of lines: nothing is lost or torn, whoever writes, dies or rotates."""

import errno
import fcntl
import signal
import subprocess
import sys
import time

import pytest
from project import ROOT, load

files = load("operations.files")
HEAD = """
import os, resource, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from project import load
SharedFile = load("operations.files").SharedFile
path, most, keep = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
def write(name, count):
    file = SharedFile(path, most, keep)
    for i in range(count):
        if i % 5000 == 4999:
            file.close()
        file.append(f"{name} {i} {'x' * 165}\\n".encode())
"""


def start(code, path, *numbers):
    arguments = [str(ROOT / "tests"), str(path), *map(str, numbers)]
    return subprocess.Popen([sys.executable, "-c", HEAD + code, *arguments])


def written(path):
    """The lines of all files, from the oldest; each is whole."""
    old = sorted(path.parent.glob(f"{path.name}.*"), key=lambda file: -int(file.suffix[1:]))
    text = b"".join(file.read_bytes() for file in [*old, path])
    assert text.endswith(b"\n")
    found = [line.split() for line in text.decode().splitlines()]
    assert all(len(each) == 3 and each[2] == "x" * 165 for each in found)
    return [(name, int(number)) for name, number, _ in found]


def test_200_000_lines_of_four_processes_one_of_which_is_killed(tmp_path):
    path = tmp_path / "predictions.jsonl"
    writers = [start(f"write({i}, 50_000)", path, 200_000, 10_000) for i in range(4)]
    while not path.with_name("predictions.jsonl.40").exists():
        time.sleep(0.01)
    writers[3].send_signal(signal.SIGKILL)
    assert [writer.wait(120) for writer in writers] == [0, 0, 0, -signal.SIGKILL]
    found = written(path)
    for i in range(3):
        assert [number for name, number in found if name == str(i)] == [*range(50_000)]
    killed = [number for name, number in found if name == "3"]
    assert killed == [*range(len(killed))]
    assert len(killed) > 1000
    assert max(file.stat().st_size for file in tmp_path.iterdir()) <= 200_000


def test_only_the_newest_files_are_kept(tmp_path):
    path = tmp_path / "predictions.jsonl"
    writers = [start(f"write({i}, 3000)", path, 50_000, 3) for i in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [path.name, *(f"{path.name}.{i}" for i in (1, 2, 3))]
    found = written(path)
    for i in range(3):  # what is left of each ends with its last line, if anything is
        numbers = [number for name, number in found if name == str(i)]
        assert numbers == [*range(3000)][len([*range(3000)]) - len(numbers) :]


def test_forked_processes_do_not_share_a_lock(tmp_path):
    """A worker that used the master's open file would hold the master's lock as its own."""
    code = """
file = SharedFile(path, most, keep)
file.append(b"one\\n")
ours, theirs = os.pipe()
if not (child := os.fork()):
    file._current(1)  # with the lock
    os.write(theirs, b"x")
    time.sleep(5)
    os._exit(1)
os.read(ours, 1)
try:
    file.append(b"two\\n")
except TimeoutError:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    file.append(b"three\\n")
"""
    path = tmp_path / "service.jsonl"
    assert start(code, path, 0, 1).wait(30) == 0
    assert path.read_bytes() == b"one\nthree\n"


def test_a_torn_line_is_cut_off(tmp_path):
    path = tmp_path / "service.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":')
    files.SharedFile(path).append(b'{"c":3}\n')
    assert path.read_bytes() == b'{"a":1}\n{"c":3}\n'
    path.write_bytes(b"no line at all")
    files.SharedFile(path).append(b"one\n")
    assert path.read_bytes() == b"one\n"


def test_a_torn_line_is_cut_off_before_its_file_is_renamed(tmp_path):
    path = tmp_path / "service.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":')
    files.SharedFile(path, most_bytes=15).append(b'{"c":3}\n')
    assert path.read_bytes() == b'{"c":3}\n'
    assert (tmp_path / "service.jsonl.1").read_bytes() == b'{"a":1}\n'


def test_a_line_that_does_not_fit_leaves_nothing_behind(tmp_path):
    """The volume is full in the middle of a line; here a limit of the process plays the volume."""
    code = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
file = SharedFile(path, most, keep)
for i in range(20):
    try:
        file.append(b"x" * 149 + b"\\n")
    except OSError:
        failed = i
        break
assert failed == 6
"""
    path = tmp_path / "service.jsonl"
    assert start(code, path, 0, 1).wait(30) == 0
    assert path.read_bytes() == (b"x" * 149 + b"\n") * 6


def test_a_lock_that_is_not_given_back_stops_nobody(tmp_path):
    path = tmp_path / "service.jsonl"
    file = files.SharedFile(path)
    with path.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(TimeoutError) as caught:
                file.append(b"one\n")
        assert caught.value.errno == errno.ETIMEDOUT
        assert 0.4 < time.monotonic() - began < 2  # the first one waits, the others do not
    file.append(b"two\n")
    assert path.read_bytes() == b"two\n"


def test_a_file_that_cannot_be_renamed_grows_and_says_so(tmp_path):
    path = tmp_path / "service.jsonl"
    (tmp_path / "service.jsonl.1" / "in the way").mkdir(parents=True)
    handler = load("operations.logs").VolumeHandler(path, most_bytes=10, keep=1)
    for _ in range(5):
        handler.append(b"1234567\n")
    assert path.read_bytes() == b"1234567\n" * 5
    assert handler.failures == 0
    assert handler.fault == "cannot be rotated: Is a directory"
    files.SharedFile(path).append(b"another\n")  # the lock is free
    (tmp_path / "service.jsonl.1" / "in the way").rmdir()
    (tmp_path / "service.jsonl.1").rmdir()
    handler.append(b"1234567\n")
    assert (path.read_bytes(), handler.fault) == (b"1234567\n", None)
