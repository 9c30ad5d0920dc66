"""Builds and runs containers for the tests.

BUILD_FLAGS is handed to `docker build`, for networks that need a proxy or an authority of their
own; REQUIRE_DOCKER=1 turns a missing engine from a skip into a failure.
"""

import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from project import PACKAGE, ROOT, free_port

NAME = f"test-{PACKAGE.replace('_', '-')}"
GOOD = {"island": "Biscoe"}
OUTSIDER = 12_345  # a user id that is neither root nor the image's own


# What the engine says when it could not start a command, before the container had a part in it.
ENGINE_FAULT = "OCI runtime exec failed"


def run(*command, cwd=ROOT, check=True, **options):
    for pause in (0.5, 2, 0):
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, **options)
        if ENGINE_FAULT not in done.stdout + done.stderr:
            break
        time.sleep(pause)
    if check:
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def build(folder, target="image", name=NAME, flags=""):
    """`make image`: the seconds it took, and the builder's plain log."""
    began = time.monotonic()
    environment = os.environ | {"BUILDKIT_PROGRESS": "plain"}
    environment["BUILD_FLAGS"] = f"{os.environ.get('BUILD_FLAGS', '')} {flags}"
    done = run("make", target, f"IMAGE={name}", cwd=folder, env=environment)
    return time.monotonic() - began, done.stdout + done.stderr


def copy_of_the_project(folder):
    skipped = shutil.ignore_patterns(".venv", ".env", "__pycache__", "*.jsonl", ".*_cache")
    return Path(shutil.copytree(ROOT, folder, ignore=skipped))


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
def container(image, *flags, inside=8000, command=()):
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
        f"127.0.0.1:{port}:{inside}",
        *flags,
        image,
        *command,
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
