"""From measured.json to tables in the terminal, RESULTS.md and results.png.

Run by run.py, and again by hand for another look: `report.py MEASURED.json FOLDER`, with a Python
that has matplotlib and rich.
"""

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import plot
from rich.console import Console
from rich.table import Table as Shown

LOADS = {
    "c1": "1 row, 1 connection",
    "c16": "1 row, 16 connections",
    "c64": "1 row, 64 connections",
    "rows1000": "1,000 rows, 4 connections",
}
SINGLE, BATCH = ("c1", "c16", "c64"), ("rows1000",)
# Model, loads, the other target, how many times its requests a second are asked for.
BARS = [
    ("logistic", SINGLE, "naive_flask", 12),
    ("logistic", SINGLE, "naive_fastapi", 12),
    ("logistic", SINGLE, "flask_hello", 0.85),
    ("gradient_boosting", SINGLE, "naive_flask", 10),
    ("gradient_boosting", SINGLE, "naive_fastapi", 10),
    ("random_forest", SINGLE, "naive_flask", 15),
    ("random_forest", SINGLE, "naive_fastapi", 15),
    ("logistic", BATCH, "naive_flask", 4),
    ("logistic", BATCH, "naive_fastapi", 4),
    ("gradient_boosting", BATCH, "naive_flask", 1.5),
    ("gradient_boosting", BATCH, "naive_fastapi", 1.5),
    ("random_forest", BATCH, "naive_flask", 1.5),
    ("random_forest", BATCH, "naive_fastapi", 1.5),
]
MOST = 0.6  # of naive Flask's memory and start


TEXT = """\
# Results of `make bench`

{date}, on {processor}, {cores} cores, {memory_gib} GiB, kernel {kernel}, Python {python}.
{versions}.

![Ratios, CPU, latency, memory and start](results.png)

A point is a median, its line goes from the least to the greatest. In the first column, right of
1 is where the service answers more requests.

**To repeat:** `make bench` in the template's folder. It needs `wrk` (on Debian and Ubuntu: `apt
install wrk`) and nothing else; `make bench ARGS=--help` lists what can be chosen, LitServe,
BentoML, MLServer and MLflow among it.

**How it was measured.** {rounds} rounds of {seconds} s for each load, {starts} starts. All
targets of a model are up at once, with two workers each, and are loaded in turn, in the reverse
order in every other round. wrk runs on the same cores, posts 64 different rows (or four batches
of 1,000) in turn over kept connections, and waits for each answer. Ratios are of two targets in
the same round: the median, and from the least to the greatest. CPU is user and system time of all
processes of a target. Memory (PSS, after load) and start (from exec to the first 200 of a
prediction, bytecode compiled before) are measured with one target up at a time, in turn too.
Single requests a second move with the machine; read ratios and CPU.

**What is compared, in fairness.** The naive services run the usual code of their tool: the
pickled pipeline on a DataFrame of the request's rows. Their tools could do better with other
code: *FastAPI with our engine* has the service's own engine, so its lead over naive FastAPI is
that engine's, reading and writing of rows included, and what lies between it and the service is
the servers'. All load the same `model.joblib`, and their answers were compared row by row first
(labels equal, probabilities within 1e-9). The service is as shipped: it validates, flags odd
values and writes a log line a request. Naive Flask (gunicorn, sync workers) checks and logs
nothing; FastAPI (uvicorn with uvloop and httptools) checks types and logs each request. The bare
ones read the body and answer a constant, under the service's own gunicorn settings, in gunicorn's
own worker with threads; the service's answers plain predictions without a thread's help, so it may
be the faster one. `OMP_NUM_THREADS=1` is set for all: left unset, each worker
takes a thread a core, and naive gradient boosting has been far slower so.

**The null trap.** A row whose category is null is answered otherwise alone than in a batch by the
naive code: in a frame of one row, None is no missing value to scikit-learn. The last table of
each model counts such rows, alone / in a batch, of those that were tried; all other answers are
equal, or the run stops.
"""


class Table(NamedTuple):
    title: str
    head: list[str]
    rows: list[list[str]]


class Measured:
    """What a run measured, by model."""

    def __init__(self, record: dict[str, Any], model: str) -> None:
        self.titles: dict[str, str] = record["targets"]
        self.loads = [load for load in LOADS if load in record["loads"]]
        self.found: dict[str, list[dict[str, Any]]] = record["models"][model]

    def each(self, target: str, key: str, load: str | None = None) -> list[float]:
        """A value of each round, or of each start."""
        kind = "slices" if load else "starts"
        mine = [one for one in self.found[kind] if one["target"] == target]
        mine = [one for one in mine if not load or one["load"] == load]
        return [one[key] for one in sorted(mine, key=lambda one: one["round"])]

    def ratios(self, one: str, over: str, key: str, load: str | None = None) -> list[float]:
        """A target's value over another's of the same round."""
        pairs = zip(self.each(one, key, load), self.each(over, key, load), strict=False)
        return [value / other if other else float("inf") for value, other in pairs]


def short(number: float) -> str:
    """Three digits that count, or all before the point."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def spread(values: list[float]) -> str:
    """Median, and from the least to the greatest."""
    if not values:
        return "-"
    return f"**{short(median(values))}** ({short(min(values))} to {short(max(values))})"


def tables(model: str, measured: Measured) -> list[Table]:
    """Of one model: ratios, single figures, and start, memory and faults."""
    loads = measured.loads
    rates, costs, figures, rest = [], [], [], []
    for target, title in measured.titles.items():
        if target != "service":
            over = (measured.ratios("service", target, "rate", load) for load in loads)
            rates.append([title, *map(spread, over)])
            over = (measured.ratios(target, "service", "cpu_ms", load) for load in loads)
            costs.append([title, *map(spread, over)])
        figures.append([title, *(figure(measured, target, load) for load in loads)])
        rest.append([title, *start(measured, target), *faults(measured, target)])
    head = ["", *(LOADS[load] for load in loads)]
    last = ["", "start, s", "service's / its", "PSS, MiB", "service's / its"]
    last += ["null trap", "not 2xx", "socket errors"]
    return [
        Table(f"{model}: requests a second, the service's over the other's", head, rates),
        Table(f"{model}: CPU a request, the other's over the service's", head, costs),
        Table(f"{model}: requests a second; p50 / p99 ms; CPU ms a request", head, figures),
        Table(f"{model}: start, memory, faults", last, rest),
    ]


def figure(measured: Measured, target: str, load: str) -> str:
    """Medians of one target under one load."""
    values = {key: measured.each(target, key, load) for key in ("rate", "p50", "p99", "cpu_ms")}
    if not values["rate"]:
        return "-"
    rate, p50, p99, cpu = (short(median(each)) for each in values.values())
    return f"{rate}; {p50} / {p99}; {cpu}"


def start(measured: Measured, target: str) -> list[str]:
    """Medians of start and memory, and the service's over them."""
    cells = []
    for key in ("seconds", "mib"):
        values = measured.each(target, key)
        over = measured.ratios("service", target, key) if target != "service" else []
        cells += [short(median(values)) if values else "-", spread(over)]
    return cells


def faults(measured: Measured, target: str) -> list[str]:
    """Rows that are answered otherwise, and requests that failed."""
    checks = [check for check in measured.found["checks"] if check["target"] == target]
    wrong = [f"{one['alone']} / {one['batch']} of {one['trapped']}" for one in checks] or ["-"]
    loads = measured.loads
    failed = [sum(sum(measured.each(target, k, x)) for x in loads) for k in ("not_2xx", "socket")]
    return [*wrong, *map(str, failed)]


def bars(record: dict[str, Any]) -> Table:
    """What was asked for, and what came out."""
    rows = []

    def add(model: str, what: str, asked: str, values: list[float], met: bool) -> None:
        shown = " / ".join(map(short, values))
        rows.append([model, what, asked, shown, "met" if met else "**missed**"])

    for model in record["models"]:
        measured = Measured(record, model)
        for name, loads, over, least in BARS:
            pairs = [measured.ratios("service", over, "rate", load) for load in loads]
            if name == model and all(pairs):
                values = [median(each) for each in pairs]
                what = f"req/s over {measured.titles[over]}'s, {', '.join(loads)}"
                add(model, what, f"≥ {least}", values, min(values) >= least)
        for key, what in (("mib", "PSS"), ("seconds", "start")):
            if ratios := measured.ratios("service", "naive_flask", key):
                value = median(ratios)
                add(model, f"{what} over naive Flask's", f"≤ {MOST}", [value], value <= MOST)
    return Table("Asked for and measured", ["model", "what", "asked", "median", ""], rows)


def markdown(record: dict[str, Any], found: list[Table]) -> str:
    """RESULTS.md."""
    about, options = record["machine"], record["options"]
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    parts = [TEXT.format(**about, **options, date=record["date"], versions=versions)]
    for table in found:
        lines = [table.head, ["---"] * len(table.head), *table.rows]
        body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        parts.append(f"## {table.title}\n\n{body}\n")
    return "\n".join(parts)


def main() -> None:
    measured, folder = Path(sys.argv[1]), Path(sys.argv[2])
    record = json.loads(measured.read_text(encoding="utf-8"))
    asked = bars(record)
    found = [asked] if asked.rows else []
    for model in record["models"]:
        found += tables(model, Measured(record, model))
    console = Console(width=None if sys.stdout.isatty() else 140)
    for table in found:
        shown = Shown(*table.head, title=table.title)
        for row in table.rows:
            shown.add_row(*(cell.replace("**", "") for cell in row))
        console.print(shown)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "RESULTS.md").write_text(markdown(record, found), encoding="utf-8")
    plot.draw(record, folder / "results.png")
    console.print(f"Written: {folder / 'RESULTS.md'} and results.png beside it")


if __name__ == "__main__":
    main()
