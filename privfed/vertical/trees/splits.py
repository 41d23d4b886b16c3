"""Splits of rows in two by the codes of one column each; whose columns they are knows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.trees.subsets import MISSING, Subsets

LEAST_WEIGHT, MOST_WEIGHT = 4, 14

Codes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """Ways to send each row left or right.

    Attributes:
        column: Shape (splits,): by which column each is.
        low: The least code that goes left.
        high: The greatest code that does.
        missing_left: Whether rows without a value do.
    """

    column: NDArray[np.int64]
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]
    missing_left: NDArray[np.bool_]

    @classmethod
    def between(
        cls, codes: Codes, counts: Sequence[int], ordered: Sequence[bool], least_rows: int
    ) -> Splits:
        """Return all splits between bins that have enough rows on both sides.

        Args:
            codes: Shape (columns, rows): the rows of the fit.
            counts: How many bins each column has, beside that of missing values.
            ordered: Whether a column's bins are ordered; of others each is told from the rest, too.
            least_rows: How many rows each side has at least. Rows that lack the value are tried on
                both sides if there are as many of them; else they go with the more.
        """
        found = list[tuple[int, int, int, bool]]()
        for column, (own, count, order) in enumerate(zip(codes, counts, ordered, strict=True)):
            rows = np.bincount(own, minlength=MISSING + 1)
            lacking = int(rows[MISSING])
            known = int(rows[:MISSING].sum())
            ranges = [(0, high) for high in range(count - 1)]
            ranges += [] if order else [(code, code) for code in range(1, count - 1)]
            for low, high in ranges:
                left = int(rows[low : high + 1].sum())
                if min(left, known - left) < least_rows:
                    continue
                if lacking < least_rows:
                    found.append((column, low, high, 2 * left >= known))
                else:
                    # In a range between others missing values would turn the larger side over.
                    found += [(column, low, high, side) for side in (False, True)][: 2 - (low > 0)]
            if min(lacking, known) >= least_rows:
                found.append((column, 0, count - 1, False))
        columns, lows, highs, sides = zip(*found, strict=True) if found else ((), (), (), ())
        return cls(
            np.array(columns, np.int64),
            np.array(lows, np.uint8),
            np.array(highs, np.uint8),
            np.array(sides, np.bool_),
        )

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.column)

    def part(self, numbers: NDArray[np.int64]) -> Splits:
        """Return some of them, in the order of their numbers."""
        return Splits(
            self.column[numbers],
            self.low[numbers],
            self.high[numbers],
            self.missing_left[numbers],
        )

    def left(self, codes: Codes, number: int) -> NDArray[np.bool_]:
        """Return which rows a split sends left, (rows,).

        Args:
            codes: Shape (columns, rows).
            number: Which split.
        """
        own = codes[self.column[number]]
        known = (own >= self.low[number]) & (own <= self.high[number])
        sides: NDArray[np.bool_] = np.where(own == MISSING, self.missing_left[number], known)
        return sides

    def subsets(self, codes: Codes) -> Subsets:
        """Return the side of each split that has fewer of the rows, weighted for its score.

        The weight is near 2 / sqrt(p (1 - p)), where p is the side's share of the rows. Where rows'
        hessians are spread over both sides as they are over a node, the square of the weighted sum
        of residuals is then proportional to the gain (Chen and Guestrin 2016, equation 7, without
        its penalty).

        Args:
            codes: Shape (columns, rows).
        """
        rows = codes.shape[1]
        ones = np.ones(len(self), np.int64)
        left = Subsets(codes, self.column, self.low, self.high, self.missing_left, ones)
        inside = left.sums(np.ones((1, rows), np.int64))[0]
        # The rest of a range is a range where this one begins with the first code.
        turned = (2 * inside > rows) & (self.low == 0)
        share = np.clip(inside / max(rows, 1), 1e-9, 1 - 1e-9)
        weight = np.rint(2 / np.sqrt(share * (1 - share))).astype(np.int64)
        return Subsets(
            codes,
            self.column,
            np.where(turned, self.high + 1, self.low).astype(np.uint8),
            np.where(turned, MISSING - 1, self.high).astype(np.uint8),
            self.missing_left ^ turned,
            np.clip(weight, LEAST_WEIGHT, MOST_WEIGHT),
        )
