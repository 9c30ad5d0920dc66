"""How far rows have moved from the training data: the population stability index of a feature.

PSI is the sum over bins of (now - then) * ln(now / then), each a share of rows. Credit scoring
reads less than 0.1 as little change and more than 0.25, or 0.2, as a large one (N. Siddiqi, Credit
Risk Scorecards, Wiley 2006, section on monitoring). It takes no account of how many rows there are:
rows that did not change at all reach a PSI of (1/n + 1/m) times a chi-square of bins - 1 degrees
of freedom (B. Yurdakul, Statistical Properties of Population Stability Index, 2018,
https://scholarworks.wmich.edu/dissertations/3208). `chance` is the PSI that they hardly exceed.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.float64]
THRESHOLD = 0.2  # from which on a feature counts as drifted; from half of it, as moved
HALF_A_ROW = 0.5  # in each bin, so that an empty one has a logarithm (Krichevsky, Trofimov 1981)
FALSE_ALARMS = 0.001  # the share of reports on unchanged rows that name any feature
RARE = 5  # rows in training, below which a category has no bin of its own
MISSING = "missing"


class Numbers:
    """Bins of a number: up to each edge, beyond the last, and missing."""

    def __init__(self, edges: Sequence[float], counts: Counts) -> None:
        """`counts` of the training rows in the bins, two more than there are `edges`."""
        # Above infinity there is NaN alone, which NumPy sorts last.
        self.edges = np.array([*edges, math.inf])
        digits = next(n for n in range(6, 18) if len({f"{e:.{n}g}" for e in edges}) == len(edges))
        texts = [f"{edge:.{digits}g}" for edge in edges]
        ranges = [f"{low} to {high}" for low, high in pairwise(texts)]
        ends = [f"up to {texts[0]}", *ranges, f"over {texts[-1]}"] if texts else ["any value"]
        self.labels, self.then = [*ends, MISSING], counts

    def count(self, values: Any) -> Counts:
        """How many of the values, a column of float64, are in each bin."""
        places = self.edges.searchsorted(values)
        return np.bincount(places, minlength=len(self.labels)).astype(np.float64)


class Texts:
    """Bins of a category: each that is frequent in training, all others together, and missing.

    Rare ones count as unknown ones do: of many rare ones some are in one sample alone, so that
    rows of no change at all would seem to have lost some and to bring others (Cochran 1954).
    """

    def __init__(self, counts: dict[str, float], missing: float) -> None:
        """`counts` of the training rows of each category, and of `missing` ones."""
        common = {name: count for name, count in counts.items() if count >= RARE}
        rare = sum(counts.values()) - sum(common.values())
        self.labels = [*common, "rare or unknown" if rare else "unknown", MISSING]
        self.then = np.array([*common.values(), rare, missing])
        self._places: dict[Any, int] = {name: i for i, name in enumerate(common)}
        self._places[None] = len(common) + 1
        self._others = len(common)

    def place(self, value: Any) -> int:
        """The bin of a value; None is a missing one."""
        return self._places.get(value, self._others)

    def count(self, values: Any) -> Counts:
        """How many of the values, of any iterable, are in each bin."""
        counts = np.zeros(len(self.labels))
        for value, count in Counter(values).items():
            counts[self.place(value)] += count
        return counts


Bins = Numbers | Texts


def bins_of(baseline: Any, rows: int) -> Bins | None:
    """The bins of a feature by its baseline in the manifest, None where it has none, and the rows
    that it was taken from."""
    missing = round(baseline.missing_share * rows) if baseline else 0
    if baseline and baseline.shares is not None:
        shares = baseline.shares
        return Texts({name: round(shares[name] * (rows - missing)) for name in shares}, missing)
    if baseline and baseline.bins is not None:
        counts = np.round([*(share * (rows - missing) for share in baseline.bins), missing])
        return Numbers(baseline.edges, counts)
    return None


def psi(then: Counts, now: Counts) -> float:
    """The index of two counts of rows in the same bins; 0 if either has no row.

    Each bin that has a row in either gets half a row more in both.
    """
    used = (then > 0) | (now > 0)
    if not then.any() or not now.any():
        return 0.0
    old, new = then[used] + HALF_A_ROW, now[used] + HALF_A_ROW
    old, new = old / old.sum(), new / new.sum()
    return float(((new - old) * np.log(new / old)).sum())


def chance(then: Counts, now: Counts, features: int) -> float:
    """The PSI that chance alone hardly gives; see FALSE_ALARMS, for that many features together.

    The chi-square's quantile by Wilson and Hilferty (1931): never too small, by a seventh too
    large at most, and no SciPy in a worker.
    """
    freedom = int(np.count_nonzero((then > 0) | (now > 0))) - 1
    if freedom < 1 or not then.any() or not now.any():
        return 0.0
    z, spread = NormalDist().inv_cdf(1 - FALSE_ALARMS / features), 2 / (9 * freedom)
    return float(
        freedom * (1 - spread + z * math.sqrt(spread)) ** 3 * (1 / now.sum() + 1 / then.sum())
    )


def verdict(index: float, by_chance: float, threshold: float = THRESHOLD) -> str:
    """What a PSI says: drifted, moved, stable, or that there are too few rows to tell."""
    if index < threshold / 2:
        return "stable"
    if index <= by_chance:
        return "too few rows"
    return "drifted" if index >= threshold else "moved"
