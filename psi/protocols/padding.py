"""Hide a set's size among dummies: the other side learns only the size that was padded to.

A dummy is an item like any other: 256 random bits in a domain of its own side. It is blinded,
shuffled and tagged with the items, matches nothing, and only this side's keys can tell it apart.
Every protocol takes padded items like other items.
"""

import secrets
from collections.abc import Sequence
from typing import Literal

from psi.errors import ConfigError

__all__ = ["PaddedItems", "padded"]

_RANDOM_BYTES = 32


class PaddedItems(list[bytes]):
    """Items with dummies after them.

    Attributes:
        own: The number of items that are no dummies.
    """

    own: int

    def __repr__(self) -> str:
        return f"PaddedItems({self.own} items, {len(self)} with dummies)"


def padded(
    items: Sequence[bytes], size: int, *, side: Literal["receiver", "sender"]
) -> PaddedItems:
    """Return a set filled up with random dummies.

    Args:
        items: Distinct byte strings.
        size: How many items the set is to have; the other side must allow as many.
        side: Whose dummies they are; the two sides' come from disjoint domains.

    Returns:
        The items in their order, then the dummies: indices of matches stay what they were.

    Raises:
        ConfigError: There are more items than `size`, or the side is unknown.
    """
    if side not in ("receiver", "sender"):
        raise ConfigError('the side is "receiver" or "sender"')
    if len(items) > size:
        raise ConfigError(f"{len(items)} items do not fit into a padded size of {size}: raise it")
    domain = f"psi dummy of the {side}, ".encode()
    dummies = (domain + secrets.token_bytes(_RANDOM_BYTES) for _ in range(size - len(items)))
    result = PaddedItems([*items, *dummies])
    result.own = len(items)
    return result
