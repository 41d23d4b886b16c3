"""What sums tell of the host's rows, to who asked for them: attacks on histograms that open."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


def placed(values: Integers, bins: Integers, *, few: int = 3) -> Integers:
    """The bin of each row of a node, from a histogram of it; -1 where the attack does not say.

    A few rows have a sum of their own.

    Args:
        values: What each row of the node adds.
        bins: What those in each bin add up to.
        few: How many rows are tried at once.
    """
    numbers, rows = values.tolist(), range(len(values))
    sums: dict[int, tuple[int, ...] | None] = {}
    for size in range(1, few + 1):
        for subset in combinations(rows, size):
            total = sum(numbers[row] for row in subset)
            sums[total] = None if total in sums else subset
    found = np.full(len(values), -1)
    for place, total in enumerate(bins.tolist()):
        for row in sums.get(total) or ():
            found[row] = place
    return found


def solved(asked: Iterable[Integers], opened: Iterable[Integers]) -> NDArray[np.bool_]:
    """The side of each row by each split, (rows, splits), which one is left apart.

    The order of splits stays the same while a training goes on, so each node is an equation.

    Args:
        asked: The nodes' residuals, (nodes, rows) a level.
        opened: The sums over them, (nodes, splits) a level.
    """
    matrix, sums = np.concatenate(list(asked)), np.concatenate(list(opened))
    scale = np.abs(matrix).max(axis=1, keepdims=True).clip(1)
    entries = np.linalg.lstsq(matrix / scale, sums / scale, rcond=None)[0]
    # Residuals of a node add up to 0: one number a split stays open.
    return np.asarray(entries > (entries.max(axis=0) + entries.min(axis=0)) / 2)
