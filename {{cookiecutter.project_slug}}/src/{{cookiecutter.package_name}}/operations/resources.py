"""How many workers and threads fit the CPUs and the memory that were granted.

Standard library only: `serve` reads this before anything loads NumPy, whose thread pools take
their size from the environment at that moment.
"""

import os
from pathlib import Path
from typing import NamedTuple

MIB = 1024**2
# Measured on the example with preloading: pages that all workers share, and a worker's own once a
# row made it load scikit-learn. Both are far less while the compiled engine answers all rows.
SHARED, PER_WORKER = 180 * MIB, 110 * MIB
THREAD_CAPS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Resources(NamedTuple):
    """CPUs, and bytes of memory (None: no limit)."""

    cpus: float
    memory: int | None


def granted(root: Path = Path("/sys/fs/cgroup")) -> Resources:
    """What this process's control group (v2 or v1) grants, else the machine.

    NumPy and OpenMP count the machine's cores and know no quota:
    https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    v1_quota, v1_period = root / "cpu/cpu.cfs_quota_us", root / "cpu/cpu.cfs_period_us"
    quota = words(root / "cpu.max") or words(v1_quota) + words(v1_period)
    if len(quota) == 2 and quota[0].isdigit():  # no quota is "max" in v2 and -1 in v1
        cpus = min(cpus, int(quota[0]) / int(quota[1]))
    limit = words(root / "memory.max") or words(root / "memory/memory.limit_in_bytes")
    # No limit is "max" in v2 and a huge number in v1.
    bounded = bool(limit) and limit[0].isdigit() and int(limit[0]) < 2**60
    return Resources(cpus, int(limit[0]) if bounded else None)


def words(path: Path) -> list[str]:
    """The words of a small file, none if it cannot be read."""
    try:
        return path.read_text().split()
    except OSError:
        return []


def workers(resources: Resources, model_bytes: int) -> int:
    """One for each whole CPU, fewer where memory ends first, at least one."""
    count = int(resources.cpus)
    if resources.memory is not None:
        count = min(count, (resources.memory - SHARED - model_bytes) // PER_WORKER)
    return max(1, count)


def threads_per_worker(resources: Resources, worker_count: int) -> int:
    """Size of each worker's OpenMP and BLAS pools; more in all than CPUs slows them down."""
    return max(1, int(resources.cpus) // max(1, worker_count))


def resident() -> int:
    """Bytes of memory that this process holds now; 0 where /proc does not tell."""
    pages = words(Path("/proc/self/statm"))
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if pages else 0
