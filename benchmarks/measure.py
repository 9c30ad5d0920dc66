"""What is measured of a running target: requests, CPU time and memory."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("post.lua")
TICK = 1 / os.sysconf("SC_CLK_TCK")


def missing() -> str | None:
    """What to install before anything can be measured."""
    if not Path("/proc/self/smaps_rollup").exists():
        return "Linux is needed: CPU time and memory are read from /proc"
    if not shutil.which("wrk"):
        return "wrk, the load generator, is missing; on Debian and Ubuntu: apt install wrk"
    return None


def processes(*roots: int) -> dict[int, list[str]]:
    """The living processes that come from these, with their fields of /proc/PID/stat.

    By parent and by session: a worker may outlive its parent, and a server may start its workers
    in sessions of their own. The fields are those from the state on.
    """
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name before it may hold spaces and brackets.
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if fields[0] != "Z":
            found[int(path.parent.name)] = fields
    family, grown = set(roots), True
    while grown:
        more = {p for p, each in found.items() if family & {int(each[1]), int(each[3])}} - family
        family, grown = family | more, bool(more)
    return {pid: found[pid] for pid in family if pid in found}


def cpu(root: int) -> float:
    """Seconds of CPU that the processes, and their children that ended, have used."""
    return TICK * sum(int(ticks) for fields in processes(root).values() for ticks in fields[11:15])


def pss(root: int) -> float:
    """MiB that the processes hold; a shared page counts for each by its part."""
    kib = 0
    for pid in processes(root):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def settle(root: int, limit: float = 5.0) -> None:
    """Wait until a target works no more, so that it does not disturb the next."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        before = cpu(root)
        time.sleep(0.1)
        if cpu(root) - before <= 2 * TICK:
            return


def load(root: int, url: str, bodies: Path, connections: int, seconds: int) -> dict[str, Any]:
    """Let wrk send the bodies in turn over kept connections, each waiting for its answer."""
    before = cpu(root)
    # 30 s: a slow answer is slow, no error.
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(SCRIPT)]
    done = subprocess.run(
        ["wrk", *options, url, "--", str(bodies)], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    settle(root)
    # Each connection leaves one request behind, which is answered all the same.
    used = (cpu(root) - before) / (found["requests"] + connections)
    rate = found["requests"] / found.pop("seconds")
    errors = found.pop("not_2xx"), found.pop("socket")
    return found | {"rate": rate, "cpu_ms": used * 1000, "not_2xx": errors[0], "socket": errors[1]}
