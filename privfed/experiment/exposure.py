"""Which test rows were seen in training, and how a unit's rows lie among the parties.

Inside a party, IDs are compared directly. Across parties only private set intersection says what is
shared: the same tool that real parties would use.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privfed.data import Dataset, PartyRows
from privfed.dp import Placement
from privfed.experiment.results import Overlap

IDs = NDArray[np.str_]
Mask = NDArray[np.bool_]


class Aligner(Protocol):
    """Private set intersection of two ID columns, every pair of equal IDs."""

    protocol: str
    bytes_exchanged: int  # by all calls so far

    def __call__(self, left: IDs, right: IDs) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the positions of equal IDs in both columns."""


@dataclass(frozen=True, eq=False)
class Exposure:
    """What intersection says about one split.

    Attributes:
        seen_by: For each party a mask (its test rows, parties): the ID is in that party's training.
        repeated: For each party a mask of test rows whose ID stands earlier among its test rows.
        elsewhere: For each party a mask of test rows whose ID an earlier party tests on, too.
        placements: For each unit in training, its training rows at each party.
        overlap: The counts, for the report.
    """

    seen_by: tuple[Mask, ...]
    repeated: tuple[Mask, ...]
    elsewhere: tuple[Mask, ...]
    placements: tuple[Placement, ...]
    overlap: Overlap

    def masks(self, members: Sequence[int]) -> tuple[Mask, Mask]:
        """Return masks over the concatenated test rows of `members`, who train together.

        The first: some member trained on the row's ID. The second: no party did, and the row is
        the only one, or the first one, of its ID among these test rows.
        """
        seen = [self.seen_by[p][:, list(members)].any(axis=1) for p in members]
        unseen = []
        for p in members:
            again = self.repeated[p] | (self.elsewhere[p] if len(members) > 1 else False)
            unseen.append(~self.seen_by[p].any(axis=1) & ~again)
        return np.concatenate(seen), np.concatenate(unseen)


def expose(
    dataset: Dataset, parties: Sequence[PartyRows], align: Aligner, *, split: str, seed: int
) -> Exposure:
    """Return what the intersections of one split say; needs IDs.

    Raises:
        ConfigError: The data set has no IDs.
    """
    ids = dataset.require_ids("seen and unseen accuracy")
    start, bytes_before = time.perf_counter(), align.bytes_exchanged
    train, test = [ids[p.train] for p in parties], [ids[p.test] for p in parties]
    seen_by = tuple(
        np.stack(
            [
                np.isin(test[p], train[q]) if p == q else _shared(align, test[p], train[q])
                for q in range(len(parties))
            ],
            axis=1,
        )
        for p in range(len(parties))
    )
    elsewhere = tuple(
        np.any(
            [np.zeros(len(test[p]), np.bool_)] + [_shared(align, test[p], t) for t in test[:p]], 0
        )
        for p in range(len(parties))
    )
    repeated = tuple(_repeats(own) for own in test)
    placements = _placements(align, train)
    unique = [np.unique(ids[p.rows]) for p in parties]
    # For more than two parties: IDs of the first party that any other party has, too.
    shared = _any([_shared(align, unique[0], other) for other in unique[1:]], len(unique[0]))
    unseen = sum(
        int((~seen.any(axis=1) & ~again & ~other).sum())
        for seen, again, other in zip(seen_by, repeated, elsewhere, strict=True)
    )
    overlap = Overlap(
        split=split,
        seed=seed,
        protocol=align.protocol,
        party_rows=tuple(len(p.rows) for p in parties),
        shared_ids=int(shared.sum()),
        unseen_test_ids=unseen,
        psi_bytes=align.bytes_exchanged - bytes_before,
        psi_seconds=time.perf_counter() - start,
    )
    return Exposure(seen_by, repeated, elsewhere, placements, overlap)


def _any(masks: Sequence[Mask], length: int) -> Mask:
    found: Mask = np.logical_or.reduce([np.zeros(length, np.bool_), *masks])
    return found


def _shared(align: Aligner, left: IDs, right: IDs) -> Mask:
    mask = np.zeros(len(left), dtype=np.bool_)
    mask[align(left, right)[0]] = True
    return mask


def _repeats(ids: IDs) -> Mask:
    mask = np.ones(len(ids), dtype=np.bool_)
    mask[np.unique(ids, return_index=True)[1]] = False
    return mask


def _placements(align: Aligner, train: Sequence[IDs]) -> tuple[Placement, ...]:
    """Count each unit's training rows at all parties, starting from each party's own units."""
    units = [np.unique(ids, return_counts=True) for ids in train]
    tables = [np.zeros((len(names), len(train)), dtype=np.int64) for names, _ in units]
    for p, (names, counts) in enumerate(units):
        tables[p][:, p] = counts
        for q in range(p):
            mine, theirs = align(names, units[q][0])
            tables[p][mine, q] = units[q][1][theirs]
            tables[q][theirs, p] = counts[mine]
    return tuple(sorted({tuple(map(int, row)) for table in tables for row in table}, reverse=True))
