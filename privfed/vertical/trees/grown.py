"""A grown tree as each side has it, and how rows go down it.

Nodes are numbered from the root, level by level: node i parts into 2 i + 1, left, and 2 i + 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from privfed.vertical.trees.splits import Codes, Splits

__all__ = [
    "GuestTree",
    "HostTree",
    "Owner",
    "leaves_by_tree",
    "leaves_of_rows",
    "scores_by_leaves",
    "sides_of_host",
]

Owner: TypeAlias = Literal["guest", "host", "none"]
Sides: TypeAlias = NDArray[np.bool_]

_Split = Annotated[int, msgspec.Meta(ge=-1)]
_Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]


class GuestTree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the guest has of a tree.

    Attributes:
        owners: Whose split each inner node has; "none" where its rows stay together, on the left.
        splits: The guest's split there; -1 at nodes of others.
        leaves: What each leaf adds to a score.
        gains: How much smaller each inner node's split makes the loss, to second order.
    """

    owners: tuple[Owner, ...]
    splits: tuple[_Split, ...]
    leaves: tuple[_Finite, ...]
    gains: tuple[_Finite, ...]

    def __repr__(self) -> str:
        """Return the depth alone: leaves tell of labels."""
        return f"GuestTree(depth={self.depth})"

    @property
    def depth(self) -> int:
        """How many splits are on the way to a leaf."""
        return len(self.leaves).bit_length() - 1


class HostTree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the host has of a tree.

    Attributes:
        splits: The host's split of each inner node; -1 at nodes of others.
    """

    splits: tuple[_Split, ...]

    def __repr__(self) -> str:
        """Return the number of nodes alone."""
        return f"HostTree(nodes={len(self.splits)})"


def sides_of_host(tree: HostTree, splits: Splits, codes: Codes) -> Sides:
    """Return which rows each of the host's nodes would send left, (inner nodes, rows).

    Args:
        tree: The host's part.
        splits: The host's.
        codes: The host's, (columns, rows).
    """
    found = np.ones((len(tree.splits), codes.shape[1]), dtype=np.bool_)
    for node, split in enumerate(tree.splits):
        if split >= 0:
            found[node] = splits.left(codes, split)
    return found


def leaves_of_rows(
    tree: GuestTree, splits: Splits, codes: Codes, host_left: Sides
) -> NDArray[np.int64]:
    """Return the leaf of each row, (rows,).

    Args:
        tree: The guest's part.
        splits: The guest's.
        codes: The guest's, (columns, rows).
        host_left: What `sides_of_host` returned.
    """
    nodes = np.zeros(codes.shape[1], dtype=np.int64)
    for level in range(tree.depth):
        first = 2**level - 1
        left = np.ones(len(nodes), dtype=np.bool_)
        for node in range(first, 2 * first + 1):
            if tree.owners[node] == "none":
                continue
            own = nodes == node - first
            guests = tree.owners[node] == "guest"
            sides = splits.left(codes, tree.splits[node]) if guests else host_left[node]
            left[own] = sides[own]
        nodes = 2 * nodes + ~left
    return nodes


def leaves_by_tree(
    trees: Sequence[GuestTree],
    host_trees: Sequence[HostTree],
    guest: tuple[Splits, Codes],
    host: tuple[Splits, Codes],
) -> list[NDArray[np.int64]]:
    """Return the leaf of each row in each tree, (rows,) each, for who knows both sides.

    Args:
        trees: The guest's part of each.
        host_trees: The host's.
        guest: The guest's splits, and codes of the rows.
        host: The host's.
    """
    return [
        leaves_of_rows(tree, *guest, sides_of_host(others, *host))
        for tree, others in zip(trees, host_trees, strict=True)
    ]


def scores_by_leaves(
    base: Sequence[float] | NDArray[np.float64],
    trees: Sequence[GuestTree],
    leaves: Sequence[NDArray[np.int64]],
) -> NDArray[np.float64]:
    """Return the scores of rows, (rows, outputs).

    Args:
        base: The score before the first tree, (outputs,).
        trees: The guest's part of each, of several outputs by turns.
        leaves: For each of them, and maybe of more, the leaf of each row.
    """
    scores = np.tile(np.array(base), (len(leaves[0]), 1))
    for place, (tree, own) in enumerate(zip(trees, leaves, strict=False)):
        scores[:, place % len(base)] += np.array(tree.leaves)[own]
    return scores
