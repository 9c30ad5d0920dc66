"""The generated project does what its README says: its own tests, commands, and removable rooms."""

import json
import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from baking import ROOT, Bake, bake, environment, free_port

DIALECTS = ("v2", "v1", "mlflow", "sagemaker", "vertex")
# Tests of what predicts on a GPU.
OF_DEVICES = [
    f"tests/{name}.py"
    for name in ("devices", "strict_device", "test_device", "test_gpu", "test_nvforest")
]
# A room: what is deleted, and the list in which its name stands.
ROOMS = {
    "score": (["cli/score.py", "cli/tables.py", "tests/test_score.py"], "cli/__init__.py"),
    "drift": (
        ["cli/drift.py", "cli/drift.html", "cli/history.py", "tests/test_drift.py"],
        "cli/__init__.py",
    ),
    "gauge": (["serving/drift.py", "tests/test_drift_gauge.py"], "serving/app.py"),
    "doctor": (["cli/doctor.py", "tests/test_doctor.py", "tests/test_cuda.py"], "cli/__init__.py"),
    "check": (["cli/check.py", "tests/test_check.py"], "cli/__init__.py"),
    "train": (
        [
            "training",
            "cli/train.py",
            "tests/test_any_pipeline.py",
            "tests/test_compiled.py",
            "tests/test_proof.py",
            "tests/test_training.py",
            *OF_DEVICES,
            "tests/pipelines.py",
            "tests/table.py",
        ],
        "cli/__init__.py",
    ),
    "compiled": (
        [
            "model/compiled",
            "model/device",  # whose rows its plan prepares
            *OF_DEVICES,
            "tests/test_any_pipeline.py",
            "tests/test_at_once.py",
            "tests/test_compiled.py",
            "tests/test_proof.py",
            "tests/test_store.py",
            "tests/pipelines.py",
            "tests/table.py",
        ],
        "model/predictor.py",
    ),
    "express": (
        ["serving/express.py", "tests/test_at_once.py", "tests/test_express.py"],
        "serving/app.py",
    ),
    "dialects": (
        [
            "serving/dialects",
            *(f"tests/test_{name}.py" for name in ("dialects", "clients", *DIALECTS)),
        ],
        "serving/app.py",
    ),
    **{
        name: (
            [f"serving/dialects/{name}.py", f"tests/test_{name}.py"],
            "serving/dialects/__init__.py",
        )
        for name in DIALECTS
    },
    "openapi": (
        ["serving/openapi.py", "serving/docs.py", "tests/test_openapi.py", "tests/test_docs.py"],
        "serving/app.py",
    ),
    "web": (
        ["serving/web", "tests/test_web.py", "tests/clients/with_chromium.py"],
        "serving/app.py",
    ),
    "docs": (["serving/docs.py", "tests/test_docs.py"], "serving/app.py"),
    "predictions": (["serving/predictions.py", "tests/test_predictions.py"], "serving/app.py"),
    "metrics": (
        [
            "serving/metrics.py",
            "operations/totals.py",
            "tests/test_metrics.py",
            "tests/test_monitoring.py",
            "tests/test_drift_gauge.py",
        ],
        "serving/app.py",
    ),
    "monitoring": (["monitoring", "compose.monitoring.yaml", "tests/test_monitoring.py"], None),
    "tabular": (["serving/tabular.py", "tests/test_tables.py"], "serving/app.py"),
    "tracing": (["serving/tracing", "tests/test_tracing.py"], "serving/app.py"),
    "cuda": (
        [
            "Dockerfile.cuda",
            "compose.cuda.yaml",
            "requirements/cuda.in",
            "requirements/cuda.txt",
            "tests/test_cuda.py",
        ],
        None,
    ),
    "device": (["model/device", *OF_DEVICES], "model/predictor.py"),
    "github": ([".github", "deploy"], None),
}


def passed(output: str) -> int:
    """The number of passed tests in pytest's closing line."""
    return int(re.search(r"(\d+) passed", output).group(1))


def test_the_project_s_tests_pass_by_its_own_command(installed):
    """Unit and live service; `-m "not docker"` because the containers have a test of their own."""
    output = installed.run("make", "test", "PYTEST_ADDOPTS=-m 'not docker'").stdout
    assert passed(output) > 100
    assert "failed" not in output


@pytest.mark.docker
def test_the_project_s_container_tests_pass(installed):
    output = installed.run(
        ".venv/bin/python", "-m", "pytest", "-m", "docker", REQUIRE_DOCKER="1"
    ).stdout
    assert passed(output) >= 13
    assert "skipped" not in output


def test_the_project_s_tests_pass_with_every_option_changed(changed_installed):
    fewer = ["-m", "not docker and not clients and not nvforest"]
    # What no option can change.
    same = ("any_pipeline", "compiled", "device", "files", "monitoring", "proof", "together")
    fewer += [f"--ignore=tests/test_{name}.py" for name in same]
    output = changed_installed.run(".venv/bin/python", "-m", "pytest", *fewer).stdout
    assert passed(output) > 100


def test_make_lint(installed):
    installed.run("make", "lint")


def test_training_again_changes_nothing_that_is_committed(installed):
    """The artifact was made by this very project: on the same machine to the byte, on any other
    the same predictions (which the project's own golden rows assert)."""
    before = json.loads(installed.text("models/manifest.json"))
    installed.run("make", "train")
    after = json.loads(installed.text("models/manifest.json"))
    same_machine_kind = before["artifact"] == after["artifact"]
    assert not same_machine_kind or before == after
    assert before["features"] == after["features"]
    assert before["metrics"] == pytest.approx(after["metrics"], abs=1e-9)
    installed.run("make", "check")


def test_every_command_of_the_readme_exists(default):
    for target in re.findall(r"make ([a-z-]+)", default.text("README.md")):
        assert re.search(rf"^{target}: .*## ", default.text("Makefile"), re.MULTILINE), target
    wanted = "help init install train serve check score drift doctor test lint image up monitor"
    wanted += " down logs lock clean"
    declared = (
        re.search(r"^\.PHONY: (.*)$", default.text("Makefile"), re.MULTILINE).group(1).split()
    )
    assert set(wanted.split()) <= set(declared)


def test_the_readme_s_request_gets_the_readme_s_answer(installed):
    port = free_port()
    readme = installed.text("README.md")
    sent = json.loads(re.search(r"--data '(.*?)'\n```", readme, re.DOTALL).group(1))
    shown = json.loads(re.search(r"```json\n(.*?)```", readme, re.DOTALL).group(1))
    service = subprocess.Popen(
        ["make", "serve"],
        cwd=installed.path,
        env=environment(PORT=str(port)),
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{url}/health/ready", timeout=2).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.1)
        got = requests.post(f"{url}/predict", json=sent, timeout=10).json()
        assert got["model"] == shown["model"]
        for mine, theirs in zip(got["predictions"], shown["predictions"], strict=True):
            assert mine["label"] == theirs["label"]
            assert mine["probabilities"] == pytest.approx(theirs["probabilities"], rel=0.05)
        assert (installed.path / "logs/service.jsonl").exists()
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(40)
    # A stop of make is a stop of gunicorn: no process is left behind.
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=2)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_can_be_removed(room, tmp_path, installed):
    """Delete it and its one line; the rest is still green."""
    project = bake(tmp_path)
    package = project.path / "src/penguin_service"
    files, registry = ROOMS[room]
    for name in files:
        inside = name.partition("/")[0] in ("cli", "model", "operations", "serving", "training")
        path = (package if inside else project.path) / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if registry:
        modules = [name for name in files if name.startswith(("serving/", "model/"))]
        names = {Path(name).stem for name in modules} or {room}
        for name in names:
            text = (package / registry).read_text()
            without = re.sub(rf'"{name}", |, "{name}"|"{name}",', "", text, count=1)
            assert without != text
            (package / registry).write_text(without)
    # The installed project's environment, with this one's sources before its own.
    python, source = installed.path / ".venv/bin/python", f"{project.path}/src"
    # What no removed file can change need not run once more; test_together starts the service.
    same = ("any_pipeline", "compiled", "device", "cli")
    same = (*same, "files", "journal", "operations", "service", "training", "worker")
    same = same if room != "compiled" else ()
    same = (*same, "drift_gauge", "monitoring", *(["tracing"] if room != "express" else []))
    if registry and registry.startswith("serving/"):
        same = (*same, "check", "doctor", "drift", "proof", "score", "store")
        watching = ("express", "gauge", "metrics", "predictions", "tracing")
        same = (
            *same,
            *(["at_once", "express", "metrics", "together"] if room not in watching else []),
        )
    # Nothing of the service: `test_api` is enough.
    if not registry or registry.startswith("cli/") or room == "device":
        same = (
            *same,
            *DIALECTS,
            "at_once",
            "dialects",
            "express",
            "metrics",
            "openapi",
            "predictions",
        )
        same = (*same, "proof", "tables", "together", "web")
    fewer = [f"--ignore=tests/test_{name}.py" for name in same]
    fewer += ["-m", "not docker and not clients and not nvforest"]
    pytest_ = [python, "-m", "pytest", "-p", "no:cacheprovider", *fewer]
    mypy = [python, "-m", "mypy", "--cache-dir", installed.path / ".mypy_cache"]
    with ThreadPoolExecutor() as pool:  # beside each other
        typed = pool.submit(project.run, *mypy, MYPYPATH="src")
        assert passed(project.run(*pytest_, PYTHONPATH=source).stdout) > 60
        typed.result()


def test_make_demo(tmp_path):
    """The README's first command, on a copy that has no environment yet."""
    folder = Path(
        shutil.copytree(
            ROOT, tmp_path / "clone", ignore=shutil.ignore_patterns(".git", ".venv", "build")
        )
    )
    port = str(free_port())
    began = time.monotonic()
    output = Bake(folder).run("make", "demo", PORT=port).stdout
    seconds = time.monotonic() - began
    assert "Gentoo" in output
    assert "unknown_category" in output
    assert "did you mean" in output
    assert f"http://127.0.0.1:{port}/predict" in output
    assert seconds < 90, seconds
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}", timeout=2)
