"""The image for GPUs, where there is none: it refuses to start, or serves on the CPU and says why.

Built without CUDA's own libraries, 1.2 GB to fetch that only a GPU needs.
"""

import json
import os

import pytest
import requests
from containers import GOOD, NAME, build, container, post, run
from project import ROOT

pytestmark = pytest.mark.docker
NVIDIA = "nvidia/cuda:13.0.1-runtime-ubuntu24.04"
NO_GPU = "there is no usable GPU: "


@pytest.fixture(scope="module")
def image():
    """Its name."""
    build(ROOT, "image-cuda", flags="--build-arg LIBRARIES=nvforest")
    return f"{NAME}:cuda"


def test_started_with_auto_it_serves_on_the_cpu_and_says_why(image):
    with container(image, "--read-only", "--tmpfs", "/tmp") as (name, url, _):
        assert post(url, [GOOD]).ok
        ready = requests.get(f"{url}/health/ready", timeout=5).json()
        assert (ready["device"], ready["engine"]) == ("cpu", "compiled")
        assert ready["device_reason"].startswith(NO_GPU)
        assert NO_GPU in " ".join(
            run("docker", "exec", name, "model-service", "doctor").stdout.split()
        )
        processes = run("docker", "top", name).stdout  # a health check may be among them
        assert processes.count("-m gunicorn") == 2  # the master and the one worker


def test_started_with_cuda_it_refuses_in_one_line(image):
    done = run("docker", "run", "--rm", "--env", "MODEL_DEVICE=cuda", image, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    [message] = [line["message"] for line in lines if line["level"] == "CRITICAL"]
    assert message.startswith(f"MODEL_DEVICE=cuda, but {NO_GPU}")
    assert message.endswith("; MODEL_DEVICE=auto would use the CPU")
    assert "Traceback" not in done.stdout + done.stderr


def test_it_builds_on_nvidia_s_base_too(image):
    given = "--build-arg LIBRARIES=nvforest --output type=cacheonly"
    build(ROOT, "image-cuda", flags=f"{given} --build-arg BASE={NVIDIA}")


def test_compose_reserves_a_gpu_and_insists_on_it():
    overlay = ["--file", "compose.yaml", "--file", "compose.cuda.yaml"]
    environment = os.environ | {"SERVICE_UID": "10001", "SERVICE_GID": "10001", "MODEL_DEVICE": ""}
    config = run("docker", "compose", *overlay, "config", "--format", "json", env=environment)
    api = json.loads(config.stdout)["services"]["api"]
    [device] = api["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert api["build"]["dockerfile"] == "Dockerfile.cuda"
    assert (api["environment"]["WEB_CONCURRENCY"], api["environment"]["MODEL_DEVICE"]) == (
        "1",
        "cuda",
    )
