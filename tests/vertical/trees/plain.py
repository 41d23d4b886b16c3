"""The same trees in the clear, with the same integers: what the protocol is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.trees.boosting import Boosting
from privfed.vertical.trees.contest import Contest, outcome_of
from privfed.vertical.trees.growing import GrowingTree, LevelQuestion
from privfed.vertical.trees.grown import (
    GuestTree,
    HostTree,
    leaves_of_rows,
    scores_by_leaves,
    sides_of_host,
)
from privfed.vertical.trees.splits import Codes, Splits
from privfed.vertical.trees.subsets import Subsets


@dataclass(frozen=True, eq=False, repr=False)
class PlainHost:
    """A host that reads the guest's questions.

    Attributes:
        splits: The host's.
        codes: The host's, (columns, rows).
        plain_bits: What scores are shared modulo two to the power of.
        bits: How many of these the contest compares.
    """

    splits: Splits
    codes: Codes
    plain_bits: int
    bits: int

    def answer(self, question: LevelQuestion) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return whether it wins each node, and by which split; -1 where it does not."""
        plan = Contest(len(question.best), len(self.splits), self.bits, self.plain_bits)
        return outcome_of(plan, self._subsets.sums(question.vectors), question.best)

    @cached_property
    def _subsets(self) -> Subsets:
        return self.splits.subsets(self.codes)


def grow_plain(tree: GrowingTree, host: PlainHost | None) -> HostTree:
    """Grow a tree to its end.

    Args:
        tree: The guest's.
        host: The host; None for the guest alone.

    Returns:
        The host's part.
    """
    chosen = list[int]()
    while not tree.done:
        question = tree.question()
        sides = np.ones(question.vectors.shape[1], dtype=np.bool_)
        won, split = np.zeros(len(question.best), np.bool_), np.full(len(question.best), -1)
        if host is not None:
            won, split = host.answer(question)
        for node in np.flatnonzero(won).tolist():
            own = tree.node_of_row == node
            sides[own] = host.splits.left(host.codes, int(split[node]))[own] if host else True
        tree.answered(won, sides)
        chosen += split.tolist()
    return HostTree(tuple(chosen))


def boost(boosting: Boosting, host: PlainHost | None) -> list[HostTree]:
    """Grow all trees.

    Args:
        boosting: The guest's.
        host: The host; None for the guest alone.

    Returns:
        The host's part of each.
    """
    found = []
    while not boosting.done:
        tree = boosting.tree()
        found.append(grow_plain(tree, host))
        boosting.grown(tree)
    return found


def scores_in_the_clear(
    base: NDArray[np.float64],
    trees: list[GuestTree],
    host_trees: list[HostTree],
    guest: tuple[Splits, Codes],
    host: tuple[Splits, Codes] | None,
) -> NDArray[np.float64]:
    """Return the scores of new rows, (rows, outputs).

    Args:
        base: The score before the first tree, (outputs,).
        trees: The guest's part of each.
        host_trees: The host's.
        guest: The guest's splits, and codes of the rows.
        host: The host's; None for the guest alone.
    """
    kept = list(zip(trees, host_trees, strict=False))
    rows = guest[1].shape[1]
    leaves = [
        leaves_of_rows(
            tree,
            *guest,
            np.ones((len(others.splits), rows), np.bool_)
            if host is None
            else sides_of_host(others, *host),
        )
        for tree, others in kept
    ]
    if not leaves:
        return np.tile(base, (rows, 1))
    return scores_by_leaves(base, [tree for tree, _ in kept], leaves)
