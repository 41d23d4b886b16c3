"""One column's values as codes of bins; no label is looked at.

A number's bins hold about as many rows each; equal numbers are in one bin. Categories with no order
of their own are ordered by how often they come (of equally frequent ones by name): the commonest
have bins of their own, the rarest share one. No bin holds fewer rows of the fit than it is asked
to, so that no two splits of a column differ by fewer.

A category that no row of the fit had counts as the rarest, or as missing where categories have an
order and this one has no place in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from privfed.data import CategoricalColumn
from privfed.data.schema import Column
from privfed.vertical.trees.splits import Codes
from privfed.vertical.trees.subsets import MISSING

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ColumnBins:
    """The bins of one column. Its repr shows no number of any row.

    Attributes:
        column: What the column is.
        edges: Between which bins of numbers part.
        places: The bin of each category, as the schema counts them.
    """

    column: Column
    edges: tuple[float, ...] = field(default=(), repr=False)
    places: tuple[int, ...] = field(default=(), repr=False)

    @classmethod
    def fit(cls, column: Column, values: Floats, most: int, least_rows: int) -> ColumnBins:
        """Fit bins to cleaned values.

        Args:
            column: What the column is.
            values: Shape (rows,): numbers, NaN where missing; or codes of categories.
            most: How many bins there are at most, beside that of missing values.
            least_rows: How many rows a bin holds at least.

        Returns:
            The bins.
        """
        if isinstance(column, CategoricalColumn):
            return cls(column, places=_places(column, values, most, least_rows))
        known, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        ends = bin_ends(counts, most, least_rows)[:-1]
        return cls(column, edges=tuple(((known[ends - 1] + known[ends]) / 2).tolist()))

    @property
    def count(self) -> int:
        """How many bins there are, beside that of missing values."""
        if not isinstance(self.column, CategoricalColumn):
            return len(self.edges) + 1
        return 1 + max((place for place in self.places if place != MISSING), default=0)

    @property
    def ordered(self) -> bool:
        """Whether neighbouring bins are more alike than others."""
        return not isinstance(self.column, CategoricalColumn) or self.column.ordinal

    def codes(self, values: Floats) -> Codes:
        """Return cleaned values as codes, (rows,)."""
        if isinstance(self.column, CategoricalColumn):
            return np.array(self.places, dtype=np.uint8)[values.astype(np.intp)]
        found = np.searchsorted(np.array(self.edges), values, side="left").astype(np.uint8)
        return np.where(np.isnan(values), np.uint8(MISSING), found)


def bin_ends(counts: NDArray[np.int64], most: int, least_rows: int) -> NDArray[np.int64]:
    """Join neighbouring values to bins of about as many rows each.

    Args:
        counts: Shape (values,): the rows of each, in order.
        most: How many bins there are at most.
        least_rows: How many rows a bin holds at least, where all together are as many.

    Returns:
        How many values there are up to the end of each bin; at least one bin, where there is one.
    """
    below = np.concatenate([[0], np.cumsum(counts)])
    ends = [0]
    for left in range(most, 0, -1):
        begun = below[ends[-1]]
        rows = below[-1] - begun
        # The least count is kept exactly; else the nearest to an equal share of what is left,
        # or each value alone where there are bins for all.
        least = int(np.searchsorted(below, begun + least_rows))
        wanted = begun + (rows / left if len(counts) - ends[-1] > left else 0)
        over = int(np.searchsorted(below, wanted))
        nearer = over > 0 and wanted - below[over - 1] < below[min(over, len(counts))] - wanted
        end = max(over - nearer, least, ends[-1] + 1)
        if left == 1 or end >= len(counts) or below[-1] - below[end] < least_rows:
            break
        ends.append(end)
    return np.array([*ends[1:], len(counts)], dtype=np.int64)


def _places(
    column: CategoricalColumn, values: Floats, most: int, least_rows: int
) -> tuple[int, ...]:
    """Return the bin of each category, missing and other."""
    counts = np.bincount(values.astype(np.intp), minlength=column.num_codes)
    codes = range(1, column.num_codes)
    if column.ordinal:
        order = list(codes[:-1])
    else:
        order = sorted(codes, key=lambda code: (-counts[code], column.meaning(code)))
    ends = bin_ends(counts[order], most, least_rows)
    places = np.full(column.num_codes, MISSING)
    places[order] = np.searchsorted(ends, np.arange(len(order)), side="right")
    return tuple(places.tolist())
