"""The GPU of this process."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

OLDEST = (7, 5)  # the compute capability from which nvforest's wheels have code: Turing


class NoEngine(Exception):  # noqa: N818
    """Why no GPU predicts here, in one line."""


class Device(NamedTuple):
    """What predicts, and how arrays come there and back."""

    gpu: str  # its name
    kind: Literal["gpu", "cpu"]  # nvforest's word; the CPU stands in for a GPU in tests
    up: Callable[[Any], Any]
    down: Callable[[Any], Any]


def find() -> Device:
    """The first GPU that CUDA shows; raises NoEngine. Never in a process that forks afterwards."""
    try:
        from cuda.bindings import runtime
    except ImportError:
        raise NoEngine("CUDA's libraries are not installed; Dockerfile.cuda has them") from None
    fault, count = runtime.cudaGetDeviceCount()
    if fault != runtime.cudaError_t.cudaSuccess or not count:
        said = runtime.cudaGetErrorString(fault)[1].decode()
        raise NoEngine(f"there is no usable GPU: {said if fault else 'CUDA shows none'}")
    fault, about = runtime.cudaGetDeviceProperties(0)
    if fault != runtime.cudaError_t.cudaSuccess:
        raise NoEngine(f"the GPU does not answer: {runtime.cudaGetErrorString(fault)[1].decode()}")
    name = about.name.decode().strip("\0 ")
    if (about.major, about.minor) < OLDEST:
        found, needed = f"{about.major}.{about.minor}", ".".join(map(str, OLDEST))
        raise NoEngine(f"{name} has compute capability {found}, and {needed} is needed")
    import cupy

    # Blocking: nvforest computes in a stream of its own, which would not wait for the copy.
    return Device(name, "gpu", partial(cupy.asarray, blocking=True), cupy.asnumpy)
