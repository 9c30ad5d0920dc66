"""`make bench`: the generated service beside naive and bare ones, on one machine in one run.

All targets of a model are up at once and are loaded in turn, in each round in the reverse order
of the last, so that the ratio of two in a round holds although the machine's speed drifts. Start
and memory are measured with one target up at a time: of a library's pages each process that maps
them counts its part, and the other targets map the same.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import measure
import prepare
from prepare import HERE, Place
from rows import check, penguins, requests
from servers import TARGETS, Row, Server

MODELS = ("logistic", "gradient_boosting", "random_forest")
LOADS = {"c1": (1, 1), "c16": (16, 1), "c64": (64, 1), "rows1000": (4, 1000)}  # connections, rows
Records = list[dict[str, Any]]


def arguments() -> argparse.Namespace:
    """The command line, checked."""

    def named(allowed: Any) -> Any:
        def names(text: str) -> list[str]:
            chosen = text.split(",")
            if unknown := [name for name in chosen if name not in allowed]:
                raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}")
            return chosen

        return {"type": names, "metavar": "NAME,...", "help": ", ".join(allowed)}

    usual = [name for name in TARGETS if name not in prepare.OPTIONAL]
    parser = argparse.ArgumentParser(description="Compare the generated service with others.")
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="rounds of load (%(default)s)")
    add("--seconds", type=int, default=2, help="seconds of each load (%(default)s)")
    add("--starts", type=int, default=5, help="starts of each target (%(default)s)")
    add("--models", default=list(MODELS), **named(MODELS))
    add("--targets", default=usual, **named(TARGETS))
    add("--loads", default=list(LOADS), **named(LOADS))
    add("--out", type=Path, default=HERE, help="folder for RESULTS.md and results.png")
    add("--template", type=Path, default=HERE.parent, help="the template that is baked")
    add("--build", type=Path, default=HERE.parent / "build/bench", help="folder to work in")
    return parser.parse_args()


def machine() -> dict[str, Any]:
    """What a number depends on, as far as a program can tell."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def order(names: list[str], turn: int) -> list[str]:
    """The names, from the last to the first in every other turn."""
    return names if turn % 2 == 0 else names[::-1]


def fits(name: str, load: str) -> bool:
    """Whether a target gets a load: a batch says nothing of one that reads no rows."""
    return TARGETS[name].kind != "bare" or LOADS[load][1] == 1


def write_bodies(options: argparse.Namespace, place: Place, rows: list[Row]) -> None:
    """The bodies that wrk sends, one a line."""
    for name in options.targets:
        for load in LOADS:
            bodies = map(TARGETS[name].body, requests(rows, LOADS[load][1]))
            place.bodies(name, load).write_text("".join(f"{json.dumps(body)}\n" for body in bodies))


def together(
    options: argparse.Namespace, place: Place, model: str, rows: list[Row]
) -> tuple[Records, Records]:
    """All targets up: what the comparison of their answers found, and each slice of load."""
    slices = []
    with ExitStack() as stack:
        servers = {}
        for name in options.targets:
            servers[name] = stack.enter_context(Server(name, place, model))
            servers[name].ready(rows[0])
        checks = check(servers, rows)
        # The first turn is left out: in it is loaded and filled what first use needs.
        for turn in range(-1, options.rounds):
            for load in options.loads:
                for name in order(options.targets, turn):
                    if not fits(name, load):
                        continue
                    found = measure.load(
                        servers[name].pid,
                        servers[name].url,
                        place.bodies(name, load),
                        LOADS[load][0],
                        options.seconds if turn >= 0 else 1,
                    )
                    if turn >= 0:
                        say(f"{model}, round {turn + 1}, {load}, {name}: {found['rate']:.0f} req/s")
                        slices.append({"target": name, "load": load, "round": turn, **found})
    return checks, slices


def alone(options: argparse.Namespace, place: Place, model: str, rows: list[Row]) -> Records:
    """One target up: seconds to its first answer, and its memory after load."""
    starts = []
    for turn in range(options.starts):
        for name in order(options.targets, turn):
            with Server(name, place, model) as server:
                seconds = server.ready(rows[0])
                for load in ("c16", "rows1000"):
                    if fits(name, load):
                        bodies = place.bodies(name, load)
                        measure.load(server.pid, server.url, bodies, LOADS[load][0], 1)
                mib = measure.pss(server.pid)
            say(f"{model}, start {turn + 1}, {name}: {seconds:.2f} s, {mib:.0f} MiB")
            starts.append({"target": name, "round": turn, "seconds": seconds, "mib": mib})
    return starts


def say(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    """Prepare, measure, report."""
    options = arguments()
    if fault := measure.missing():
        sys.exit(fault)
    # `finally` and `with` stop what was started, so a signal has to be an exception.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    place = Place(options.build.resolve())
    say("baking, installing ...")
    prepare.project(options.template, place)
    prepare.environments(place, options.targets)
    rows = penguins(place.project / "data/penguins.csv")
    write_bodies(options, place, rows)
    record: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "options": {name: getattr(options, name) for name in ("rounds", "seconds", "starts")},
        "machine": machine(),
        "targets": {name: TARGETS[name].title for name in options.targets},
        "loads": {load: LOADS[load] for load in options.loads},
        "versions": prepare.versions(place, options.targets),
        "models": {},
    }
    for model in options.models:
        prepare.model(place, model)
        checks, slices = together(options, place, model, rows)
        starts = alone(options, place, model, rows)
        record["models"][model] = {"checks": checks, "slices": slices, "starts": starts}
    measured = place.build / "measured.json"
    measured.write_text(json.dumps(record, indent=1))
    # By the project's own Python, which has matplotlib.
    python = place.bin("service") / "python"
    subprocess.run([python, HERE / "report.py", measured, options.out.resolve()], check=True)


if __name__ == "__main__":
    main()
