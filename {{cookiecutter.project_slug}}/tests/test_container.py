"""The images on a real engine: built, hardened, stopped, and what they leave on the host.

BUILD_FLAGS is handed to `docker build`, for networks that need a proxy or an authority of their
own; REQUIRE_DOCKER=1 turns a missing engine from a skip into a failure.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from project import PACKAGE, ROOT

pytestmark = pytest.mark.docker

NAME = f"test-{PACKAGE.replace('_', '-')}"
GOOD = {"island": "Biscoe"}
OUTSIDER = 12_345  # a user id that is neither root nor the image's own


def run(*command, cwd=ROOT, check=True, **options):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, **options)
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def build(folder, target="image"):
    """`make image`: the seconds it took, and the builder's plain log."""
    began = time.monotonic()
    done = run(
        "make", target, f"IMAGE={NAME}", cwd=folder, env=os.environ | {"BUILDKIT_PROGRESS": "plain"}
    )
    return time.monotonic() - began, done.stdout + done.stderr


def copy_of_the_project(folder):
    skipped = shutil.ignore_patterns(".venv", ".env", "__pycache__", "*.jsonl", ".*_cache")
    return Path(shutil.copytree(ROOT, folder, ignore=skipped))


@pytest.fixture(scope="session")
def image():
    build(ROOT)
    return f"{NAME}:latest"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def first_answer(url, seconds=60):
    """Wait for readiness; the seconds it took."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        try:
            if requests.get(f"{url}/health/ready", timeout=1).ok:
                return time.monotonic() - began
        except requests.RequestException:
            pass
        time.sleep(0.02)
    pytest.fail("the container never became ready")


@contextmanager
def container(image, *flags):
    """`docker run` on a free port: (name, url, seconds to the first 200)."""
    port, name = free_port(), f"{NAME}-{free_port()}"
    began = time.monotonic()
    run(
        "docker",
        "run",
        "--detach",
        "--name",
        name,
        "--publish",
        f"127.0.0.1:{port}:8000",
        *flags,
        image,
    )
    try:
        first_answer(f"http://127.0.0.1:{port}")
        yield name, f"http://127.0.0.1:{port}", time.monotonic() - began
    finally:
        run("docker", "rm", "--force", "--volumes", name)


@contextmanager
def composed(folder, **environment):
    """`make up` in a folder with its own project name: its url and a function for compose."""
    port = free_port()
    variables = os.environ | {"COMPOSE_PROJECT_NAME": f"{NAME}-{port}", "IMAGE": f"{NAME}:latest"}
    variables |= {"PORT": str(port), **environment}

    def compose(*arguments, check=True):
        return run("docker", "compose", *arguments, cwd=folder, env=variables, check=check)

    try:
        run("make", "up", cwd=folder, env=variables)
        yield f"http://127.0.0.1:{port}", compose
    finally:
        compose("down", check=False)


def post(url, rows):
    return requests.post(f"{url}/predict", json={"instances": rows}, timeout=60)


def test_the_first_answer_comes_within_three_seconds(image):
    seconds = []
    for _ in range(3):
        with container(image, "--read-only", "--tmpfs", "/tmp") as (_, _, took):
            seconds.append(took)
    assert min(seconds) < 3, seconds


def test_compose_serves_and_leaves_logs_that_belong_to_the_caller(image, tmp_path):
    """Run as another user than root, as on a developer's machine."""
    folder = copy_of_the_project(tmp_path / "project")
    if os.getuid() == 0:
        run("chown", "-R", f"{OUTSIDER}:{OUTSIDER}", str(folder))
        # `make init` by that user; compose itself by whoever may talk to the engine.
        run("chmod", "a+rx", *[str(p) for p in (tmp_path, *tmp_path.parents[:2])])
        run("python3", "scripts/init.py", cwd=folder, user=OUTSIDER, group=OUTSIDER)
    caller = OUTSIDER if os.getuid() == 0 else os.getuid()
    run("make", "init", cwd=folder)
    assert f"SERVICE_UID={caller}\n" in (folder / ".env").read_text()
    with composed(folder) as (url, compose):
        assert post(url, [GOOD]).json()["predictions"][0]["label"] == "Adelie"
        [state] = [
            json.loads(line) for line in compose("ps", "--format", "json").stdout.splitlines()
        ]
        assert state["Health"] == "healthy"
        assert compose("exec", "api", "id", "-u").stdout.strip() == str(caller)
    log = folder / "logs/service.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert log.stat().st_uid == caller
    assert [line["rows"] for line in lines if line["message"] == "request"] == [1]
    assert "Shutting down" in lines[-1]["message"]  # still there after `compose down`, to the last


@pytest.mark.skipif(os.getuid() != 0, reason="only root has to be kept from running as root")
def test_root_takes_the_image_s_own_user_and_gives_it_the_logs(image, tmp_path):
    folder = copy_of_the_project(tmp_path / "project")
    with composed(folder) as (url, compose):
        assert post(url, [GOOD]).ok
        assert compose("exec", "api", "id", "-u").stdout.strip() == "10001"
    assert (folder / "logs/service.jsonl").stat().st_uid == 10001


def test_compose_without_init_or_without_logs_says_what_to_do(image, tmp_path):
    folder = copy_of_the_project(tmp_path / "project")
    environment = os.environ | {"IMAGE": image, "COMPOSE_PROJECT_NAME": f"{NAME}-bare"}
    done = run("docker", "compose", "up", "--detach", cwd=folder, env=environment, check=False)
    assert done.returncode != 0
    assert "run `make init` first" in done.stderr
    run("make", "init", cwd=folder)
    shutil.rmtree(folder / "logs")
    environment["PORT"] = str(free_port())
    done = run("docker", "compose", "up", "--detach", cwd=folder, env=environment, check=False)
    run("docker", "compose", "down", cwd=folder, env=environment)
    assert "does not exist" in done.stderr
    assert not (folder / "logs").exists()


def test_nothing_in_the_container_can_be_written_or_gained(image, tmp_path):
    folder = copy_of_the_project(tmp_path / "project")
    with composed(folder) as (_, compose):
        for path in ("/x", "/app/x", "/app/models/x", "/venv/x", "/package/x", "/etc/x"):
            done = compose("exec", "api", "touch", path, check=False)
            assert done.returncode != 0, path
            assert "Read-only file system" in done.stderr
        status = compose("exec", "api", "cat", "/proc/1/status").stdout
        assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
        service = compose("exec", "api", "ls", "-ld", "/app/models/model.joblib").stdout
        assert " root root " in service
        limits = json.loads(run("docker", "inspect", compose("ps", "-q").stdout.strip()).stdout)[0]
        assert limits["HostConfig"]["Memory"] == 1024**3
        assert limits["HostConfig"]["PidsLimit"] == 256
        command = run("docker", "exec", limits["Id"], "cat", "/proc/1/cmdline").stdout
        assert "gunicorn" in command  # process 1 is gunicorn itself, no shell before it


def test_doctor_and_check_run_in_the_container(image, tmp_path):
    folder = copy_of_the_project(tmp_path / "project")
    with composed(folder, MEMORY="300m") as (_, compose):
        doctor = compose("exec", "api", "model-service", "doctor").stdout
        assert "Nothing is wrong" in doctor
        assert "300 MiB" in doctor
        assert "golden rows" in compose("exec", "api", "model-service", "check").stdout


def test_a_stop_answers_what_is_in_flight(image, rows):
    batch = (rows * 100)[:30_000]
    with container(image, "--env", "MAX_WAIT_SECONDS=20") as (name, url, _):
        with ThreadPoolExecutor(5) as pool:
            answers = [pool.submit(post, url, batch) for _ in range(4)]
            time.sleep(0.5)
            assert not any(answer.done() for answer in answers), "nothing was in flight"
            run("docker", "stop", "--time", "35", name)
            counts = [len(answer.result().json()["predictions"]) for answer in answers]
        assert counts == [30_000] * 4
        [state] = json.loads(run("docker", "inspect", name).stdout)
        assert state["State"]["ExitCode"] == 0


def test_a_log_folder_that_cannot_be_written_stops_nothing(image, tmp_path):
    (tmp_path / "logs").mkdir(mode=0o700)
    volume = f"type=bind,source={tmp_path}/logs,target=/logs"
    user = ["--user", "10002:10002"] if os.getuid() in (0, 10001) else []
    with container(image, "--mount", volume, *user) as (_, url, _):
        assert post(url, [GOOD]).ok
        fault = requests.get(f"{url}/health/ready", timeout=5).json()["log_fault"]
        assert fault == "Permission denied"


def test_a_broken_model_stops_the_container_with_one_line(image, edit):
    folder = edit(lambda m: m["artifact"].update(sha256="0" * 64))
    run("chmod", "-R", "a+rX", str(folder))
    mount = f"type=bind,source={folder},target=/app/models,readonly"
    done = run("docker", "run", "--rm", "--mount", mount, image, check=False)
    assert done.returncode != 0
    assert "has sha256" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_change_of_the_code_keeps_the_layer_of_dependencies(image, tmp_path):
    folder = copy_of_the_project(tmp_path / "project")
    with (folder / "src" / PACKAGE / "__init__.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    seconds, log = build(folder)
    steps = dict(re.findall(r"^#(\d+) \[[a-z]+ +\d+/\d+\] (.*)$", log, re.MULTILINE))
    cached = set(re.findall(r"^#(\d+) CACHED$", log, re.MULTILINE))
    [install] = [
        number
        for number, text in steps.items()
        if "requirements/runtime.txt" in text and "RUN" in text
    ]
    [wheel] = [number for number, text in steps.items() if "pip wheel" in text]
    [venv] = [
        number for number, text in steps.items() if text.startswith("COPY --from=build /venv")
    ]
    assert {install, venv} <= cached
    assert wheel not in cached
    assert seconds < 60


def test_the_cuda_image_serves_on_the_cpu_and_says_so():
    build(ROOT, "image-cuda")
    with container(f"{NAME}:cuda", "--read-only", "--tmpfs", "/tmp") as (name, url, _):
        assert post(url, [GOOD]).ok
        assert requests.get(f"{url}/health/ready", timeout=5).json()["device"] == "cpu"
        assert (
            "predicts on the CPU" in run("docker", "exec", name, "model-service", "doctor").stdout
        )
        processes = run("docker", "top", name).stdout.count("gunicorn")
        assert processes == 2  # the master and the one worker
    overlay = ["--file", "compose.yaml", "--file", "compose.cuda.yaml"]
    environment = os.environ | {"SERVICE_UID": "10001", "SERVICE_GID": "10001"}
    config = run("docker", "compose", *overlay, "config", "--format", "json", env=environment)
    api = json.loads(config.stdout)["services"]["api"]
    [device] = api["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert api["build"]["dockerfile"] == "Dockerfile.cuda"


def test_the_project_s_tests_pass_on_the_image_s_own_python():
    flags = os.environ.get("BUILD_FLAGS", "").split()
    run("docker", "build", *flags, "--target", "test", ".")
