"""The image for GPUs: in this version it serves on the CPU, and says so."""

import json
import os

import pytest
import requests
from containers import GOOD, NAME, build, container, post, run
from project import ROOT

pytestmark = pytest.mark.docker


def test_the_cuda_image_serves_on_the_cpu_and_says_so():
    build(ROOT, "image-cuda")
    with container(f"{NAME}:cuda", "--read-only", "--tmpfs", "/tmp") as (name, url, _):
        assert post(url, [GOOD]).ok
        assert requests.get(f"{url}/health/ready", timeout=5).json()["device"] == "cpu"
        assert (
            "predicts on the CPU" in run("docker", "exec", name, "model-service", "doctor").stdout
        )
        processes = run("docker", "top", name).stdout  # a health check may be among them
        assert processes.count("-m gunicorn") == 2  # the master and the one worker
    overlay = ["--file", "compose.yaml", "--file", "compose.cuda.yaml"]
    environment = os.environ | {"SERVICE_UID": "10001", "SERVICE_GID": "10001"}
    config = run("docker", "compose", *overlay, "config", "--format", "json", env=environment)
    api = json.loads(config.stdout)["services"]["api"]
    [device] = api["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert api["build"]["dockerfile"] == "Dockerfile.cuda"
    assert api["environment"]["WEB_CONCURRENCY"] == "1"
