"""How much each side's columns make the loss smaller, which the guest alone knows.

By which column of the host, takes both halves.
"""

from __future__ import annotations

from collections.abc import Sequence

from privfed.vertical.trees.bins import Binning
from privfed.vertical.trees.grown import GuestTree, HostTree

__all__ = ["gains_of_columns", "gains_of_host_columns", "gains_of_sides"]


def gains_of_sides(trees: Sequence[GuestTree]) -> dict[str, float]:
    """Return how much the splits of guest and host make the loss smaller, to second order.

    Args:
        trees: The guest's part of each.

    Returns:
        The sums of gains, under "guest" and "host".
    """
    found = {"guest": 0.0, "host": 0.0}
    for tree in trees:
        for owner, gain in zip(tree.owners, tree.gains, strict=True):
            if owner != "none":
                found[owner] += gain
    return found


def gains_of_columns(trees: Sequence[GuestTree], binning: Binning) -> dict[str, float]:
    """Return how much the splits by each of the guest's own columns make the loss smaller.

    Args:
        trees: The guest's part of each.
        binning: The guest's.

    Returns:
        The sum of gains of each column by name, the largest first.
    """
    return _by_column(trees, trees, binning)


def gains_of_host_columns(
    trees: Sequence[GuestTree], others: Sequence[HostTree], binning: Binning
) -> dict[str, float]:
    """Return how much the splits by each of the host's columns make the loss smaller.

    Args:
        trees: The guest's part of each.
        others: The host's part of these trees, and maybe of more.
        binning: The host's.

    Returns:
        As of `gains_of_columns`.
    """
    return _by_column(trees, others, binning)


def _by_column(
    trees: Sequence[GuestTree], splits: Sequence[GuestTree | HostTree], binning: Binning
) -> dict[str, float]:
    found = dict.fromkeys(binning.names, 0.0)
    for tree, own in zip(trees, splits, strict=False):
        for split, gain in zip(own.splits, tree.gains, strict=True):
            if split >= 0:
                found[binning.names[int(binning.splits.column[split])]] += gain
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))
