"""Lines that are written in bulk: none is lost, torn or written twice, whenever a process dies."""

import fcntl
import json
import logging
import signal
import subprocess
import sys
import time

import pytest
from project import ROOT, load

files, journal, logs = load("operations.files"), load("operations.journal"), load("operations.logs")
WRITTEN = 30.0  # seconds that a slow machine may take for what needs a tenth of one
HEAD = """
import fcntl, os, resource, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from project import load
files, journal, logs = load("operations.files"), load("operations.journal"), load("operations.logs")
path, most, keep = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
"""


def start(code, path, *numbers):
    arguments = [str(ROOT / "tests"), str(path), *map(str, numbers)]
    return subprocess.Popen([sys.executable, "-c", HEAD + code, *arguments])


def written(path):
    """The lines of all files, from the oldest; the last is whole."""
    old = sorted(path.parent.glob(f"{path.name}.*"), key=lambda file: -int(file.suffix[1:]))
    text = b"".join(file.read_bytes() for file in [*old, path] if file.exists())
    assert not text or text.endswith(b"\n")
    return text.decode().splitlines()


def waiting(path):
    return [*path.parent.glob(f".{path.name}.*.journal")]


def wait_until(true, seconds=WRITTEN):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def handler(tmp_path):
    handler = logs.VolumeHandler(tmp_path / "service.jsonl")
    handler.setFormatter(logs.json_formatter())
    handler.start()
    yield handler
    handler.close()


def test_lines_are_soon_in_the_file_and_nothing_else_is_left(handler):
    for i in range(100):
        handler.append(b"%d\n" % i)
    wait_until(lambda: written(handler.path) == [str(i) for i in range(100)])
    assert len(waiting(handler.path)) == 2
    handler.append(b"last\n")
    handler.close()
    assert written(handler.path)[-1] == "last"
    assert [file.name for file in handler.path.parent.iterdir()] == ["service.jsonl"]
    handler.append(b"one more\n")  # as logging does while the process ends
    assert written(handler.path)[-1] == "one more"


def test_200_000_lines_of_four_processes_one_of_which_is_killed(tmp_path):
    """Each says in a file of its own how many lines were taken."""
    code = """
handler, name = logs.VolumeHandler(path, most, keep), sys.argv[5]
handler.start()
with open(path.with_name(f"taken-{name}"), "wb", 0) as taken:
    for i in range(50_000):
        handler.append(f"{name} {i} {'x' * 165}\\n".encode())
        os.pwrite(taken.fileno(), b"%8d" % (i + 1), 0)
handler.close()
"""
    path = tmp_path / "predictions.jsonl"
    writers = [start(code, path, 200_000, 10_000, i) for i in range(4)]
    while not path.with_name("predictions.jsonl.40").exists():
        time.sleep(0.01)
    writers[3].send_signal(signal.SIGKILL)
    assert [writer.wait(120) for writer in writers] == [0, 0, 0, -signal.SIGKILL]
    journal.finish_others(files.SharedFile(path, 200_000, 10_000))
    assert not waiting(path)
    found = [line.split() for line in written(path)]
    assert all(len(line) == 3 and line[2] == "x" * 165 for line in found)
    for i in range(4):
        taken = int((tmp_path / f"taken-{i}").read_bytes())
        numbers = [int(number) for name, number, _ in found if name == str(i)]
        assert numbers == [*range(len(numbers))]
        assert len(numbers) in ((50_000,) if i < 3 else (taken, taken + 1))
    assert 1000 < taken < 50_000
    sizes = [file.stat().st_size for file in tmp_path.glob("predictions.jsonl*")]
    assert max(sizes) <= 200_000


def test_whatever_call_a_process_dies_at_no_line_is_lost_or_written_twice(tmp_path):
    """It dies before each of its calls in turn, and in the middle of what it writes."""
    code = """
def die_at(last):
    done = 0
    def wrapped(call, half=None):
        def wrapper(*arguments, **named):
            nonlocal done
            done += 1
            if done == last:
                if half:
                    call(*half(arguments))
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)
        return wrapper
    os.pwrite = wrapped(os.pwrite, lambda a: (a[0], a[1][:len(a[1]) // 2], a[2]))
    os.write = wrapped(os.write, lambda a: (a[0], a[1][:len(a[1]) * 2 // 3]))
    os.ftruncate, os.replace, os.stat = map(wrapped, (os.ftruncate, os.replace, os.stat))
    fcntl.flock = wrapped(fcntl.flock)
survived = False
for i in range(1, 200):
    log = path.with_name(f"{i}.jsonl")
    if not (child := os.fork()):
        threading = journal.threading
        threading.Thread.start = lambda self: None  # nothing happens but what is called here
        own = journal.Journal(files.SharedFile(log, 100, 50), print)
        die_at(i)
        with open(path.with_name(f"{i}.taken"), "w") as taken:
            for n in range(9):
                own.append(b"line %d of a log\\n" % n)
                taken.write(f"{n}\\n")
                taken.flush()
                if n % 4 == 3:
                    own.flush()
        own.close()
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        survived = i
        break
assert survived > 30, survived
"""
    assert start(code, tmp_path / "x", 0, 0).wait(120) == 0
    for taken in tmp_path.glob("*.taken"):
        path = taken.with_suffix(".jsonl")
        other = files.SharedFile(path, 100, 50)
        other.append(b"of another process\n")  # which cuts off a torn line
        journal.finish_others(other)
        assert not waiting(path)
        found = [line for line in written(path) if line != "of another process"]
        sure = len(taken.read_text().splitlines())
        wanted = [f"line {n} of a log" for n in range(9)]
        assert sorted(found) in (wanted[:sure], wanted[: sure + 1]), taken
        names = [path, *path.parent.glob(f"{path.name}.*")]
        assert all(name.stat().st_size <= 100 for name in names)


def test_what_a_killed_process_left_is_finished_by_one_that_lives_on(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "LOOK", 0.2)
    code = """
handler = logs.VolumeHandler(path)
journal.PAUSE = 60
handler.start()
time.sleep(1)  # its first look is over
for i in range(3):
    handler.append(b"%d\\n" % i)
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "service.jsonl"
    handler = logs.VolumeHandler(path)
    handler.start()
    try:
        assert start(code, path, 0, 1).wait(60) == -signal.SIGKILL
        wait_until(lambda: written(path) == ["0", "1", "2"])
        wait_until(lambda: len(waiting(path)) == 2)
    finally:
        handler.close()


def test_files_of_those_who_live_and_files_of_others_are_left_alone(handler):
    other = handler.path.with_name(".service.jsonl.swp")  # an editor's
    other.write_bytes(b"y" * 100 + b"\n")
    handler._journal._busy.acquire()  # it writes nothing now
    handler.append(b"waits\n")
    journal.finish_others(files.SharedFile(handler.path))
    assert written(handler.path) == []
    handler._journal._busy.release()
    wait_until(lambda: written(handler.path) == ["waits"])
    assert other.read_bytes() == b"y" * 100 + b"\n"


def test_lines_wait_for_a_file_that_does_not_take_them(handler, capsys):
    """Another process was stopped with the lock: requests go on, and no line is lost."""
    with handler.path.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        began = time.monotonic()
        for i in range(50):
            handler.append(b"%d\n" % i)
        assert time.monotonic() - began < 0.4
        wait_until(lambda: handler.fault == "another process holds its lock")
        assert handler.failures > 0
    wait_until(lambda: handler.fault is None)
    assert written(handler.path) == [str(i) for i in range(50)]
    said = [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()]
    assert len(said) == 1
    assert "another process holds its lock" in said[0]


def test_more_than_may_wait_is_written_by_who_brings_it_or_is_refused(handler, monkeypatch):
    monkeypatch.setattr(journal, "MOST", 1000)
    handler._journal._wake.set = lambda: None  # its thread sleeps
    for i in range(100):
        handler.append(b"%99d\n" % i)
    handler.append(b"x" * 3000 + b"\n")  # more than may wait at all
    handler.flush()
    found = written(handler.path)
    assert sorted(map(str.strip, found)) == sorted([*map(str, range(100)), "x" * 3000])
    assert handler.failures == 0
    monkeypatch.setattr(files.SharedFile, "append", refuse)
    for _ in range(30):
        handler.append(b"%99d\n" % 7)
    assert (handler.failures, handler.fault) == (12, "No space left on device")
    monkeypatch.undo()
    handler.flush()
    assert len(written(handler.path)) == 119


def refuse(*_):
    raise OSError(28, "No space left on device")


def test_a_full_volume_takes_whole_lines_or_none(tmp_path):
    """A limit of the process plays the volume."""
    code = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
own = journal.Own(path, 1)
own.add(b"a" * 399 + b"\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for length in (800, 300, 800):
    try:
        own.add(b"b" * (length - 1) + b"\\n")
        assert length == 300
    except OSError:
        assert length == 800
assert own.path.stat().st_size == journal.PLACE.size + 700
own.finish(files.SharedFile(path))
assert path.stat().st_size == 700
own.close()
"""
    assert start(code, tmp_path / "service.jsonl", 0, 1).wait(60) == 0


def test_a_fault_is_told_until_a_line_is_written(handler, monkeypatch):
    monkeypatch.setattr(journal, "LOOK", 0.02)
    wait_until(lambda: len(waiting(handler.path)) == 2)
    time.sleep(0.3)  # the thread has its shorter pause
    monkeypatch.setattr(journal.Own, "add", refuse)
    handler.append(b"lost\n")
    time.sleep(0.5)  # it has nothing to write, some times
    assert (handler.failures, handler.fault) == (1, "No space left on device")
    monkeypatch.undo()
    handler.append(b"there\n")
    wait_until(lambda: handler.fault is None)
    assert written(handler.path) == ["there"]
    handler._tell(OSError(28, "full"))
    handler.append(b"x" * journal.MOST + b"\n")  # which the thread has no part in
    assert handler.fault is None


def test_a_volume_that_takes_no_journal_still_gets_lines(tmp_path):
    missing = tmp_path / "none"
    handler = logs.VolumeHandler(missing / "service.jsonl")
    handler.setFormatter(logs.json_formatter())
    handler.start()
    handler.append(b"lost\n")
    assert (handler.failures, handler.fault) == (1, "No such file or directory")
    missing.mkdir()
    handler.handle(logging.makeLogRecord({"name": "t", "msg": "there"}))
    assert handler.fault is None
    assert json.loads(handler.path.read_text())["message"] == "there"
