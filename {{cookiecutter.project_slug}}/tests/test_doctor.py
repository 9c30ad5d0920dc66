"""`doctor`: what it shows, and all that it names as wrong."""

import socket
import sys

import pytest
from project import run

pytestmark = pytest.mark.usefixtures("in_the_project")


def test_doctor_finds_nothing_wrong(tmp_path):
    code, output = run("doctor", LOG_DIR=str(tmp_path), WEB_CONCURRENCY="1")
    assert code == 0, output
    assert "Nothing is wrong" in output
    for words in ("CPUs", "OMP_NUM_THREADS", "memory a worker", "scikit-learn"):
        assert words in output


def test_doctor_names_all_that_is_wrong(tmp_path, edit):
    folder = edit(lambda m: m["artifact"].update(sha256="0" * 64))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, output = run(
            "doctor", "--models", folder, LOG_DIR=str(tmp_path / "none"), PORT=port,
            WEB_CONCURRENCY="64", OMP_NUM_THREADS="8",
        )  # fmt: skip
    assert code == 1
    for words in ("has sha256", f"PORT={port}", "`make init`", "64 workers of 8 threads"):
        assert words in output


def test_doctor_says_where_it_predicts(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)  # as where there is no GPU
    settings = {"LOG_DIR": str(tmp_path), "WEB_CONCURRENCY": "1"}
    code, output = run("doctor", MODEL_DEVICE="auto", **settings)
    assert code == 0, output
    assert "cpu: " in output
    code, output = run("doctor", MODEL_DEVICE="cuda", **settings)
    assert code == 1
    assert "wrong: MODEL_DEVICE=cuda, but " in output
