"""Which test rows were seen in training, and how a unit's rows lie among the parties.

Across parties only private set intersection says what is shared (`common_ids`): the same tool that
real parties would use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privfed.data import PartyRows
from privfed.dp import Placement
from privfed.experiment.common_ids import Codes, CommonIDs
from privfed.experiment.results import Overlap

Mask = NDArray[np.bool_]


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


def expose(parties: Sequence[PartyRows], common: CommonIDs, *, split: str, seed: int) -> Exposure:
    """Return who trained on which test rows.

    Args:
        parties: Each party's training and test rows.
        common: What intersection says of the parties' rows.
        split: The split's name, for the record.
        seed: The split's seed, for the record.
    """
    train = [common.of(i, party.train) for i, party in enumerate(parties)]
    test = [common.of(i, party.test) for i, party in enumerate(parties)]
    trained, tested = _counts(train, common.distinct), _counts(test, common.distinct)
    seen_by = tuple(trained[own] > 0 for own in test)
    elsewhere = tuple(np.any(tested[own, :p] > 0, axis=1) for p, own in enumerate(test))
    held = ((trained + tested) > 0).sum(axis=1)
    overlap = Overlap(
        split=split,
        seed=seed,
        protocol=common.protocol,
        party_rows=tuple(len(p.rows) for p in parties),
        shared_ids=int((held > 1).sum()),
        unseen_test_ids=int((tested.any(axis=1) & ~trained.any(axis=1)).sum()),
        psi_bytes=common.psi_bytes,
        psi_seconds=common.psi_seconds,
    )
    return Exposure(seen_by, tuple(map(_repeats, test)), elsewhere, _placements(trained), overlap)


def _counts(codes: Sequence[Codes], distinct: int) -> NDArray[np.int64]:
    """Return how many rows (distinct IDs, parties) each party has of each ID."""
    return np.stack([np.bincount(own, minlength=distinct) for own in codes], axis=1)


def _repeats(codes: Codes) -> Mask:
    mask = np.ones(len(codes), dtype=np.bool_)
    mask[np.unique(codes, return_index=True)[1]] = False
    return mask


def _placements(trained: NDArray[np.int64]) -> tuple[Placement, ...]:
    """Return each way in which a unit's training rows lie at the parties, the most first."""
    ways = np.unique(trained[trained.any(axis=1)], axis=0)
    return tuple(tuple(map(int, way)) for way in ways[::-1])
