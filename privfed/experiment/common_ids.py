"""Which rows of which parties have the same ID, as private set intersection of each pair says it.

The parties' whole columns are intersected, once a pair, however many splits into training and test
rows are studied then: who trained on what follows from that by each party's own row numbers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privfed.data import Dataset

IDs = NDArray[np.str_]
Codes = NDArray[np.intp]

_MOST_TOGETHER = 1 << 18  # IDs of one side in one session: what it takes in memory


class Aligner(Protocol):
    """Private set intersection of two ID columns, every pair of equal IDs."""

    protocol: str
    bytes_exchanged: int  # by all calls so far

    def __call__(self, left: IDs, right: IDs) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the positions of equal IDs in both columns."""


@dataclass(frozen=True, eq=False)
class CommonIDs:
    """What the intersections of some parties' columns say. Its repr shows no row.

    Attributes:
        rows: Each party's rows, ascending.
        codes: For each of those rows a number that stands for its ID, the same at all parties.
        distinct: How many such numbers there are.
        protocol: The intersections'.
        psi_bytes: What they sent, all together.
        psi_seconds: What they took.
    """

    rows: tuple[NDArray[np.intp], ...]
    codes: tuple[Codes, ...]
    distinct: int
    protocol: str
    psi_bytes: int
    psi_seconds: float

    def __repr__(self) -> str:
        return f"CommonIDs({len(self.rows)} parties, {self.distinct} IDs)"

    def are_of(self, rows: Sequence[NDArray[np.intp]]) -> bool:
        """Return whether these are the rows that the parties hold."""
        return len(rows) == len(self.rows) and all(map(np.array_equal, rows, self.rows))

    def of(self, party: int, rows: NDArray[np.intp]) -> Codes:
        """Return the codes of some of a party's rows."""
        return self.codes[party][np.searchsorted(self.rows[party], rows)]


def find_common_ids(
    dataset: Dataset, rows: Sequence[NDArray[np.intp]], align: Aligner
) -> CommonIDs:
    """Intersect each two parties' columns of IDs.

    Small columns of many pairs go through one session: in it an ID begins with its pair's number,
    so that only IDs of one pair can be equal.

    Args:
        dataset: The rows, with IDs.
        rows: Each party's rows, ascending.
        align: The intersection.

    Returns:
        What the intersections say.

    Raises:
        ConfigError: The data set has no IDs.
    """
    ids = dataset.require_ids("seen and unseen accuracy")
    start, bytes_before = time.perf_counter(), align.bytes_exchanged
    columns, places = zip(*(np.unique(ids[own], return_inverse=True) for own in rows), strict=True)
    begins = np.cumsum([0, *map(len, columns)])
    code = np.arange(begins[-1])  # of each party's each distinct ID; the first holder's counts
    for pairs in _sessions([len(column) for column in columns]):
        left, right = (
            np.concatenate([begins[pair[side]] + np.arange(len(columns[pair[side]]))
                            for pair in pairs])
            for side in (0, 1)
        )  # fmt: skip
        mine, theirs = align(_marked(columns, pairs, 0), _marked(columns, pairs, 1))
        np.minimum.at(code, right[theirs], left[mine])
    distinct, code = np.unique(code, return_inverse=True)
    return CommonIDs(
        tuple(rows),
        tuple(code[begin + place] for begin, place in zip(begins, places, strict=False)),
        len(distinct),
        align.protocol,
        align.bytes_exchanged - bytes_before,
        time.perf_counter() - start,
    )


def _sessions(sizes: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Return all pairs, an earlier party first, in groups of a bounded size or of one pair."""
    groups: list[list[tuple[int, int]]] = [[]]
    together = 0
    for right in range(len(sizes)):
        for left in range(right):
            together += max(sizes[left], sizes[right])
            if groups[-1] and together > _MOST_TOGETHER:
                groups.append([])
                together = max(sizes[left], sizes[right])
            groups[-1].append((left, right))
    return [group for group in groups if group]


def _marked(columns: Sequence[IDs], pairs: Sequence[tuple[int, int]], side: int) -> IDs:
    """Return one side's IDs of some pairs, each behind its pair's number if there are several."""
    if len(pairs) == 1:
        return columns[pairs[0][side]]
    return np.concatenate(
        [np.char.add(f"{number} ", columns[pair[side]]) for number, pair in enumerate(pairs)]
    )
