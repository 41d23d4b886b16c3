"""How large a store of n keys is; both sides derive it from n."""

import math
from dataclasses import dataclass
from typing import Self

__all__ = [
    "BIN_KEYS",
    "DENSE_BITS",
    "MOST_KEYS",
    "OVERFLOW_BITS",
    "StoreSizes",
    "bin_room",
    "slots",
]

DENSE_BITS = 40
MOST_KEYS = 1 << 27  # the bound on failures was computed up to here
BIN_KEYS = 1 << 20
OVERFLOW_BITS = 46


@dataclass(frozen=True)
class StoreSizes:
    """The sizes of one store.

    Attributes:
        bins: How many parts a hash cuts the keys into; a power of two.
        third: How many slots there are in each of the three parts of a bin.
    """

    bins: int
    third: int

    @classmethod
    def of(cls, keys: int, bin_keys: int = BIN_KEYS) -> Self:
        """Return the sizes for so many keys, of which a bin is to hold about `bin_keys` at most."""
        parts = -(-keys // bin_keys)
        bins = 1 << max(parts - 1, 0).bit_length()
        return cls(bins=bins, third=_third(bin_room(keys, bins)))

    @property
    def sparse(self) -> int:
        """How many slots the keys choose three of."""
        return 3 * self.third * self.bins

    @property
    def slots(self) -> int:
        """How many entries the table has: the sparse ones, then the dense ones."""
        return self.sparse + DENSE_BITS


def slots(keys: int) -> int:
    """Return how many entries a store of so many keys has.

    Entries are what a side that cheats can choose freely: a store can be made to hold about as many
    chosen keys as it has slots. That is no bound: among many candidates there are some whose rows
    and values depend on each other, and which it holds besides.
    """
    return StoreSizes.of(keys).slots


def bin_room(keys: int, bins: int) -> int:
    """Return the room for the keys of each bin: one has more with probability below 2^-46.

    By Bernstein's inequality for n draws of probability 1/bins, over all bins; in whole numbers, so
    that both sides compute the same.
    """
    if bins == 1:
        return keys
    mean = -(-keys // bins)
    nats = -(-(OVERFLOW_BITS + bins.bit_length()) * 7 // 10)  # ln 2 < 7/10
    above = (nats + math.isqrt(nats * nats + 18 * nats * mean) + 1) // 3 + 1
    return min(keys, mean + above)


def _third(room: int) -> int:
    # Nearly all tables of 1.222 slots a key can be peeled (Molloy 2005, for three slots a row). The
    # root is for the scatter at finite sizes. What does not peel is solved: this decides speed.
    return -(-(123 * room + 400 * math.isqrt(room)) // (3 * 100)) + 3
