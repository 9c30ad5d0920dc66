"""The rows that are sent, and whether the answers agree."""

import csv
from pathlib import Path
from typing import Any

from servers import CATEGORIES, Row, Server

TOLERANCE = 1e-9


def penguins(data: Path) -> list[Row]:
    """The rows of the data as a client sends them."""
    with data.open(newline="") as file:
        found: list[Row] = list(csv.DictReader(file))
    for row in found:
        del row["species"], row["year"]
        for name, text in row.items():
            row[name] = None if text == "NA" else text if name in CATEGORIES else float(text)
    return found


def pick(rows: list[Row]) -> list[Row]:
    """64 rows: 60 from all over the data, and 4 with missing values."""
    whole = [row for row in rows if None not in row.values()]
    broken = [row for row in rows if None in row.values()]
    return [whole[i * len(whole) // 60] for i in range(60)] + broken[:4]


def requests(rows: list[Row], size: int) -> list[list[Row]]:
    """The requests of a load, sent in turn: each row alone, or four batches of a size."""
    if size == 1:
        return [[row] for row in pick(rows)]
    return [[rows[(start + i) % len(rows)] for i in range(size)] for start in (0, 86, 172, 258)]


def check(servers: dict[str, Server], rows: list[Row]) -> list[dict[str, Any]]:
    """Compare every target's answers, alone and in a batch, with the first target's in a batch.

    A usual service may answer a row without a category otherwise: in a frame of one row None is
    no missing value to scikit-learn. That is counted; any other difference ends the run.
    """
    sent, expected, found = pick(rows), None, []
    trapped = {i for i, row in enumerate(sent) if None in map(row.get, CATEGORIES)}
    for name, server in servers.items():
        if server.target.kind == "bare":
            continue
        batch = server.ask(sent)
        alone = [server.ask([row])[0] for row in sent]
        expected = expected or batch
        wrong = {
            way: {i for i in range(len(sent)) if differ(answers[i], expected[i])}
            for way, answers in (("alone", alone), ("batch", batch))
        }
        excused = trapped if server.target.kind == "usual" else set()
        if odd := (wrong["alone"] | wrong["batch"]) - excused:
            raise SystemExit(f"{server.target.title} answers other than the first: rows {odd}")
        counts = {way: len(each) for way, each in wrong.items()}
        found.append({"target": name, "rows": len(sent), "trapped": len(trapped), **counts})
    return found


def differ(one: Row, two: Row) -> bool:
    """Whether two answers differ by label, or by more than the tolerance."""
    shares, others = one["probabilities"], two["probabilities"]
    if one["label"] != two["label"] or shares.keys() != others.keys():
        return True
    return any(abs(shares[name] - others[name]) > TOLERANCE for name in shares)
