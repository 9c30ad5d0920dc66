"""The image on a real engine: built, hardened, stopped, and what it leaves on the host."""

import json
import os
import re
import secrets
import shutil
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from containers import (
    GOOD,
    NAME,
    OUTSIDER,
    build,
    composed,
    container,
    copy_of_the_project,
    post,
    run,
)
from project import PACKAGE, ROOT, free_port

pytestmark = pytest.mark.docker


@pytest.fixture(scope="session")
def image():
    build(ROOT)
    return f"{NAME}:latest"


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
    # The stored plan is good in the image: no worker had to load scikit-learn.
    proofs = {line["reason"] for line in lines if line["message"] == "ready"}
    assert proofs == {"equal to what scikit-learn's pipeline answered in training"}
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
        paths = ("/x", "/app/x", "/app/models/x", "/venv/x", "/package/x", "/etc/x")
        done = compose("exec", "api", "touch", *paths, check=False)
        assert done.stderr.count("Read-only file system") == len(paths), done
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
    body = json.dumps({"instances": (rows * 100)[:30_000]})
    with container(image, "--env", "MAX_WAIT_SECONDS=20", "--env", "ENGINE=sklearn") as (
        name,
        url,
        _,
    ):
        with ThreadPoolExecutor(5) as pool:
            path = f"{url}/predict"
            answers = [pool.submit(requests.post, path, body, timeout=60) for _ in range(4)]
            time.sleep(0.4)
            assert not all(answer.done() for answer in answers), "nothing was in flight"
            run("docker", "stop", "-t", "35", name)
            counts = [len(answer.result().json()["predictions"]) for answer in answers]
        assert counts == [30_000] * 4
        [state] = json.loads(run("docker", "inspect", name).stdout)
        assert state["State"]["ExitCode"] == 0


def test_the_sagemaker_image_serves_by_its_contract(image):
    flags = os.environ.get("BUILD_FLAGS", "").split()
    name = f"{NAME}:sagemaker"
    run("docker", "build", *flags, "--target", "sagemaker", "--tag", name, ".", cwd=ROOT)
    with container(name, inside=8080, command=["serve"]) as (running, url, _):
        ping = requests.get(f"{url}/ping", timeout=2)
        assert (ping.status_code, ping.content) == (200, b"")
        line, headers = "Biscoe,45.0,15.0,215,5000,male\n", {"Content-Type": "text/csv"}
        headers["Accept"] = "text/csv"
        answer = requests.post(f"{url}/invocations", line, headers=headers, timeout=10)
        assert answer.text == "Gentoo\n"
        assert run("docker", "exec", running, "id", "-u").stdout.strip() == "0"
        assert requests.get(f"{url}/version", timeout=5).status_code == 404  # MLflow's


def test_a_log_folder_that_cannot_be_written_stops_nothing(image, tmp_path):
    (tmp_path / "logs").mkdir(mode=0o700)
    volume = f"type=bind,source={tmp_path}/logs,target=/logs"
    user = ["--user", "10002:10002"] if os.getuid() in (0, 10001) else []
    with container(image, "--mount", volume, *user) as (_, url, _):
        assert post(url, [GOOD]).ok
        fault = requests.get(f"{url}/health/ready", timeout=5).json()["log_fault"]
        assert fault == "Permission denied"


def test_two_containers_on_one_volume_lose_no_line_though_one_is_killed(image, tmp_path, rows):
    logs = tmp_path / "logs"
    logs.mkdir()
    logs.chmod(0o777)
    flags = ["--mount", f"type=bind,source={logs},target=/logs"]
    flags += ["--env", "LOG_MAX_MB=1", "--env", "LOG_KEEP=500"]
    answered, enough = [], threading.Event()

    def ask(url):
        """Until it is enough, or nobody answers."""
        while not enough.is_set():
            headers = {"X-Request-ID": secrets.token_hex(8)}
            try:
                answer = requests.post(
                    f"{url}/predict", json={"instances": rows}, headers=headers, timeout=60
                )
            except requests.ConnectionError:
                return "killed"
            assert answer.status_code == 200
            answered.append(headers["X-Request-ID"])
        return "enough"

    def logged():
        text = "".join(file.read_text() for file in logs.glob("predictions.jsonl*"))
        return all(text.count(name) == len(rows) for name in answered)

    def wait_for(count):
        while len(answered) < count:
            assert not any(end.done() and end.exception() for end in ends)
            time.sleep(0.01)

    with (
        container(image, *flags) as (killed, url, _),
        container(image, *flags) as (_, other, _),
        ThreadPoolExecutor(8) as pool,
    ):
        ends = [pool.submit(ask, each) for each in 4 * (url, other)]
        try:
            wait_for(20)
            run("docker", "kill", killed)
            wait_for(len(answered) + 20)
        finally:
            enough.set()
        assert [end.result() for end in ends] == 4 * ["killed", "enough"]
        # The other container finishes what the killed one's workers had not written yet.
        deadline = time.monotonic() + 60
        while not logged() and time.monotonic() < deadline:
            time.sleep(0.2)
    files = [*logs.glob("predictions.jsonl*")]
    assert len(files) > 3
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    found = Counter(line["request_id"] for line in lines)
    assert {found[name] for name in answered} == {len(rows)}


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
        file.write(f"# changed {time.time_ns()}\n")  # or an earlier run's build is found again
    # Under another name: the engine may collect a replaced image's layers while they are needed.
    seconds, log = build(folder, name=f"{NAME}-changed")
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


def test_the_project_s_tests_pass_on_the_image_s_own_python():
    flags = os.environ.get("BUILD_FLAGS", "").split()
    # The one test that takes the longest by far does so outside, too.
    fewer = "PYTEST_ADDOPTS=--ignore=tests/test_any_pipeline.py"
    run("docker", "build", *flags, "--build-arg", fewer, "--target", "test", ".")
