"""Resources of a control group, settings, log lines, and the files that say the same twice."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from project import ROOT, load

logs, resources = load("operations.logs"), load("operations.resources")
settings = load("serving.settings")


def test_cgroup_v2_limits(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("536870912\n")
    assert resources.granted(tmp_path) == (0.5, 536_870_912)


def test_cgroup_v1_limits(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "memory").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("150000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "memory/memory.limit_in_bytes").write_text("1073741824\n")
    granted = resources.granted(tmp_path)
    assert granted.cpus == min(1.5, os.cpu_count())
    assert granted.memory == 1_073_741_824


@pytest.mark.parametrize(("quota", "limit"), [("max 100000", "max"), ("", "9223372036854771712")])
def test_no_limits(tmp_path, quota, limit):
    (tmp_path / "cpu.max").write_text(quota)
    (tmp_path / "memory.max").write_text(limit)
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count()))
    assert resources.granted(tmp_path) == (len(affinity(0)), None)


@pytest.mark.parametrize(
    ("cpus", "memory_mib", "expected"),
    [(0.5, None, 1), (1, None, 1), (8, None, 8), (8, 512, 3), (8, 100, 1)],
)
def test_workers_fit_cpus_and_memory(cpus, memory_mib, expected):
    memory = memory_mib and memory_mib * resources.MIB
    granted = resources.Resources(cpus, memory)
    assert resources.workers(granted, model_bytes=resources.MIB) == expected
    assert resources.threads_per_worker(granted, expected) * expected <= max(1, cpus)


def test_settings_come_from_the_environment_and_empty_means_unset():
    read = settings.Settings.from_environment
    assert read({}) == read({"MAX_ROWS": "", "LOG_DIR": ""}) == settings.Settings()
    given = read({"MAX_ROWS": "7", "MAX_WAIT_SECONDS": "0.5", "LOG_LEVEL": "DEBUG"})
    assert (given.max_rows, given.max_wait_seconds, given.log_level) == (7, 0.5, "DEBUG")


def test_every_wrong_setting_is_named_with_its_value():
    given = {"MAX_ROWS": "0", "MAX_WAIT_SECONDS": "long", "LOG_LEVEL": "loud", "MAX_BODY_MB": "4"}
    with pytest.raises(settings.SettingsError) as caught:
        settings.Settings.from_environment(given)
    for words in ("MAX_ROWS='0'", ">= 1", "MAX_WAIT_SECONDS='long'", "LOG_LEVEL='loud'"):
        assert words in str(caught.value)
    assert "MAX_BODY_MB" not in str(caught.value)


def test_every_setting_is_in_readme_compose_and_env_example():
    texts = [(ROOT / name).read_text() for name in ("README.md", "compose.yaml", ".env.example")]
    given_elsewhere = {"MODEL_DIR", "LOG_DIR", "AIP_HEALTH_ROUTE", "AIP_PREDICT_ROUTE"}
    for name in settings.Settings.__struct_fields__:
        for text in texts[: 1 if name.upper() in given_elsewhere else 3]:
            assert re.search(rf"\b{name.upper()}\b", text), name
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", texts[2], re.MULTILINE))
    assert settings.Settings.from_environment(example) == settings.Settings()


def test_every_route_is_in_the_readme(app):
    readme = (ROOT / "README.md").read_text()
    for rule in app.url_map.iter_rules():
        # Each of a model is there for a version, too; the page has files.
        route = rule.rule.replace("/versions/<version>", "").partition("/<path")[0]
        route = "/docs" if route.startswith("/docs") else route
        route = "/" if route.startswith("/web/") else route
        assert f"{route}`" in readme, rule.rule


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make, as inside the image")
def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    declared = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    printed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True).stdout
    assert [line.split()[0] for line in printed.splitlines() if line.startswith("  ")] == declared


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def handler(tmp_path):
    handler = logs.VolumeHandler(tmp_path / "service.jsonl")
    handler.setFormatter(logs.json_formatter())
    return handler


def record(text, **extra):
    return logging.makeLogRecord({"name": "t", "levelname": "INFO", "msg": text, **extra})


def test_a_line_is_one_json_object_with_its_extra(handler):
    handler.emit(record("héllo\nworld", request_id="7", rows=None))
    [line] = lines(handler.path)
    assert line["message"] == "héllo\nworld"
    assert (line["level"], line["logger"], line["request_id"]) == ("INFO", "t", "7")
    assert line["time"].endswith("Z") or "+00:00" in line["time"]


def test_a_file_that_is_renamed_is_opened_anew(handler, tmp_path):
    handler.emit(record("one"))
    handler.path.rename(tmp_path / "service.jsonl.1")
    handler.emit(record("two"))
    assert [line["message"] for line in lines(tmp_path / "service.jsonl.1")] == ["one"]
    assert [line["message"] for line in lines(handler.path)] == ["two"]


def test_threads_share_the_descriptor_while_the_file_is_renamed(handler, tmp_path):
    """Without a lock one closes what another writes to; by then it may be a client's socket."""
    stop, closed = threading.Event(), []

    def rename():
        while not stop.is_set():
            with suppress(FileNotFoundError):
                handler.path.rename(tmp_path / f"{time.monotonic_ns()}.jsonl")

    def open_others():  # takes the number of any descriptor that is closed, as a connection would
        while not stop.is_set():
            with tempfile.TemporaryFile() as file:
                time.sleep(0.0005)
                closed.append(os.fstat(file.fileno()).st_size)

    others = [threading.Thread(target=work) for work in (rename, open_others, open_others)]
    for other in others:
        other.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: handler.append(b"%d\n" % i), range(8000)))
    finally:
        stop.set()
        for other in others:
            other.join()
    written = [int(n) for path in tmp_path.glob("*.jsonl") for n in path.read_text().split()]
    assert handler.failures == 0
    assert set(closed) == {0}
    assert sorted(written) == list(range(8000))


def test_a_full_volume_is_counted_and_said_once(tmp_path, capsys):
    handler = logs.VolumeHandler(tmp_path / "service.jsonl")
    handler.path.symlink_to("/dev/full")
    handler.setFormatter(logs.json_formatter())
    for i in range(100):
        handler.emit(record(str(i)))
    assert (handler.failures, handler.fault) == (100, "No space left on device")
    [said] = capsys.readouterr().out.splitlines()
    assert "No space left on device" in json.loads(said)["message"]


WRITER = """
import logging, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from project import load
logs = load("operations.logs")
handler = logs.VolumeHandler(Path(sys.argv[2]))
handler.setFormatter(logs.json_formatter())
for i in range(2000):
    handler.handle(logging.makeLogRecord({"name": sys.argv[3], "msg": f"{i} " + "x" * (i % 5000)}))
"""


def test_four_processes_append_whole_lines_while_the_file_is_renamed(tmp_path):
    path, stop = tmp_path / "service.jsonl", threading.Event()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(ROOT / "tests"), str(path), str(i)])
        for i in range(4)
    ]

    def rename() -> None:
        for i in range(10_000):
            if stop.wait(0.05):
                return
            if path.exists():
                path.rename(tmp_path / f"service.jsonl.{i}")

    renamer = threading.Thread(target=rename)
    renamer.start()
    assert [writer.wait(60) for writer in writers] == [0] * 4
    stop.set()
    renamer.join()
    found = [line for file in tmp_path.iterdir() for line in lines(file)]
    wanted = {(str(writer), i) for writer in range(4) for i in range(2000)}
    assert {(line["logger"], int(line["message"].split()[0])) for line in found} == wanted
    assert len(found) == len(wanted)
