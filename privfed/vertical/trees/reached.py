"""Which leaves of a tree a row can still reach, as far as one side's splits say."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.trees.grown import GuestTree, HostTree
from privfed.vertical.trees.splits import Codes, Splits

__all__ = ["guest_allows", "host_allows"]

Bits = NDArray[np.bool_]


def guest_allows(trees: Sequence[GuestTree], splits: Splits, codes: Codes) -> NDArray[np.float64]:
    """Return the values of the leaves that rows can reach, 0 for others: (rows, leaves of all).

    Args:
        trees: The guest's part of each.
        splits: The guest's.
        codes: Shape (columns, rows).
    """
    rows = codes.shape[1]
    found = []
    for tree in trees:
        # A node that is not split sends all rows left.
        known = [owner != "host" for owner in tree.owners]
        found.append(_allowed(tree.splits, known, splits, codes) * np.array(tree.leaves))
    return np.concatenate(found, axis=1) if found else np.zeros((rows, 0))


def host_allows(trees: Sequence[HostTree], splits: Splits, codes: Codes) -> Bits:
    """Return whether rows can reach leaves: (rows, leaves of all trees).

    Args:
        trees: The host's part of each.
        splits: The host's.
        codes: Shape (columns, rows).
    """
    found = [
        _allowed(tree.splits, [split >= 0 for split in tree.splits], splits, codes)
        for tree in trees
    ]
    return np.concatenate(found, axis=1) if found else np.zeros((codes.shape[1], 0), np.bool_)


def _allowed(chosen: Sequence[int], known: Sequence[bool], splits: Splits, codes: Codes) -> Bits:
    """Return which leaves of a tree rows can reach; at nodes that are not known both ways are."""
    rows = codes.shape[1]
    reached = np.ones((rows, 1), np.bool_)
    for level in range((len(chosen) + 1).bit_length() - 1):
        first = 2**level - 1
        both = np.repeat(reached, 2, axis=1)
        for place in range(2**level):
            node = first + place
            if not known[node]:
                continue
            left = splits.left(codes, chosen[node]) if chosen[node] >= 0 else np.ones(rows, bool)
            both[:, 2 * place] &= left
            both[:, 2 * place + 1] &= ~left
        reached = both
    return reached
