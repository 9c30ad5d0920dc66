"""Trees and their ensembles, evaluated all at once as bit vectors.

Lucchese et al. 2015, "QuickScorer" (https://doi.org/10.1145/2766462.2767733): number the leaves
of a tree from the left, one bit each. A node whose test fails rules out the leaves of its left
subtree; the leftmost leaf that no node rules out is the answer. Which leaves a feature's value
rules out, in all trees, depends on its place among that feature's thresholds alone, so it is a
row of a table: one binary search and one AND a feature answer every tree.
"""

from typing import Any, NamedTuple

import numpy as np

from .plan import Array, CannotCompile

WORDS = 8  # of 64 leaves each: with more, scikit-learn's own walk takes batches faster
LARGEST = 64 * 1024**2  # bytes of tables; larger ones would leave the processor's caches
AT_ONCE = 2**16  # rows times trees: larger arrays come fresh from the kernel, page by page
Cuts = dict[int, Array]  # column -> the sorted thresholds of all trees


class Tree(NamedTuple):
    """Nodes as arrays, as scikit-learn keeps them; a leaf has no left child (-1)."""

    feature: Array
    threshold: Array  # of the type in which numbers are compared
    left: Array
    right: Array
    missing_left: Array
    value: Array  # (nodes, outputs)
    categories: dict[int, Array]  # node -> which codes 0 to 255 go left; -1 as missing ones do


class Test(NamedTuple):
    """An inner node, and the leaves that it rules out by failing, as bits."""

    number: int
    tree: Tree
    node: int
    leaves: int


def cuts_of(trees: list[Tree]) -> Cuts:
    """The thresholds of each column; none of one with categories."""
    columns, thresholds = [], []
    for tree in trees:
        inner = tree.left > 0
        inner[list(tree.categories)] = False
        columns.append(tree.feature[inner])
        thresholds.append(tree.threshold[inner])
    column, threshold = np.concatenate(columns), np.concatenate(thresholds)
    return {int(each): np.unique(threshold[column == each]) for each in np.unique(column)}


class BitVectors:
    """Finds the leaf of every tree for every row."""

    def __init__(self, trees: list[Tree], cuts: Cuts) -> None:
        tests: dict[int, list[Test]] = {}
        leaves = [number_leaves(tree, number, tests) for number, tree in enumerate(trees)]
        counts = [len(each) for each in leaves]
        kinds = (np.uint8, np.uint16, np.uint32, np.uint64)
        word = next((kind for kind in kinds if max(counts) <= np.iinfo(kind).bits), np.uint64)
        self._words = -(-max(counts) // np.iinfo(word).bits)
        if self._words > WORDS:
            raise CannotCompile("trees", f"one has {max(counts)} leaves, {64 * WORDS} at most fit")
        # The first word of every tree, then the second word of every tree, and so on.
        self._full = np.full(self._words * len(trees), np.iinfo(word).max, word)
        size = sum(len(each) + 2 for each in cuts.values()) * self._full.nbytes
        if size > LARGEST:
            raise CannotCompile("trees", f"their tables take {size / 1024**2:.0f} MB")
        self._values = np.concatenate([t.value[at] for t, at in zip(trees, leaves, strict=True)])
        # The count of bits up to the lowest one is the leaf's number plus one.
        self._offsets = np.cumsum([0, *counts[:-1]])[:, None] - 1
        tests = tests or {0: []}
        self._tables = [(f, *self._table(each, cuts.get(f))) for f, each in tests.items()]
        self._one, self._rows = word(1), max(1, AT_ONCE // len(trees))

    def _table(self, tests: list[Test], cuts: Array | None) -> tuple[Array, Array]:
        """Bounds to search, and per place among them the leaves that remain, per tree.

        The last place is that of NaN, behind the infinity which ends the bounds.
        """
        bounds = np.arange(256.0) if cuts is None else np.append(cuts, cuts.dtype.type(np.inf))
        table = np.tile(self._full, (len(bounds) + 1, 1))
        width, trees = np.iinfo(table.dtype).bits, len(self._offsets)
        for number, tree, node, leaves in tests:
            missing_left = tree.missing_left[node]
            if node in tree.categories:
                left = tree.categories[node]
                fails: Any = np.append(
                    (left == 0) | ((left < 0) & (not missing_left)), not missing_left
                )
            else:
                place = bounds.searchsorted(tree.threshold[node])
                fails = slice(place + 1, -1 if missing_left else None)
            for at in range(number, len(self._full), trees):
                table[fails, at] &= ~table.dtype.type(leaves & int(self._full[0]))
                leaves >>= width
        return bounds, table

    def leaves(self, x: Array) -> Array:
        """Rows of the values, of shape (trees, rows)."""
        left = None
        for feature, bounds, table in self._tables:
            remain = table.take(bounds.searchsorted(x[:, feature]), 0)
            if left is None:
                left = remain
            else:
                left &= remain
        assert left is not None
        first: Array | int = 0
        if self._words > 1:  # the first word in which a leaf remains
            words = left.reshape(len(x), self._words, -1)
            place = (words != 0).argmax(axis=1)
            left, first = np.take_along_axis(words, place[:, None], 1)[:, 0], 64 * place
        counts = np.bitwise_count(left ^ (left - self._one)) + first
        return np.asarray(np.add(counts.T, self._offsets, order="C"))

    def sums(self, x: Array, stages: int) -> Array:
        """The trees' values added over the stages, of shape (rows, outputs of a stage)."""
        parts = [
            self._sums(self.leaves(x[i : i + self._rows]), stages)
            for i in range(0, len(x), self._rows)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _sums(self, leaves: Array, stages: int) -> Array:
        trees, rows = leaves.shape
        values = self._values.take(leaves, 0).reshape(stages, trees // stages, rows, -1)
        # One stage after the other, as scikit-learn adds them. NumPy adds so along any axis but
        # the last: a single number a stage it would add in pairs.
        alone = values[0].size == 1
        total = np.add.accumulate(values)[-1] if alone else np.add.reduce(values)
        return np.asarray(total.transpose(1, 0, 2).reshape(rows, -1))


def number_leaves(tree: Tree, number: int, tests: dict[int, list[Test]]) -> list[int]:
    """The leaves' nodes from the left; adds each inner node to its feature's tests."""
    leaves: list[int] = []
    ahead: list[tuple[int, int | None]] = [(0, None)]  # node, and its first leaf on return
    while ahead:
        node, first = ahead.pop()
        if first is not None:  # the left subtree is done
            ruled_out = (1 << len(leaves)) - (1 << first)
            test = Test(number, tree, node, ruled_out)
            tests.setdefault(int(tree.feature[node]), []).append(test)
            ahead.append((int(tree.right[node]), None))
        elif tree.left[node] < 0:
            leaves.append(node)
        else:
            ahead += [(node, len(leaves)), (int(tree.left[node]), None)]
    return leaves
