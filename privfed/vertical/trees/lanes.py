"""Two small numbers in one, so that one vector's sums are two: for histograms that open.

A sum of `first + second * 2^bits` is both sums, as long as the first one's stays below 2^(bits-1)
in size. Shares have no lanes: only what is opened is taken apart.
"""

import numpy as np
from numpy.typing import NDArray

from privfed.errors import CapacityError

__all__ = ["in_lanes", "lane_bits", "of_lanes"]

Integers = NDArray[np.int64]


def lane_bits(first: Integers) -> int:
    """Return the bits that sums over any of these numbers take."""
    return int(np.abs(first).sum()).bit_length() + 1


def in_lanes(first: Integers, second: Integers, bits: int) -> Integers:
    """Return both numbers in one.

    Raises:
        CapacityError: A sum of the first ones takes more bits, or both are too many for a word.
    """
    needed = lane_bits(first)
    if needed > bits or bits + lane_bits(second) > 62:
        raise CapacityError(f"sums take {needed} bits and more, not {bits}: round more coarsely")
    return first + (second << bits)


def of_lanes(sums: NDArray[np.uint64], plain_bits: int, bits: int) -> tuple[Integers, Integers]:
    """Return both sums from residues mod 2^plain_bits."""
    whole = sums.astype(np.int64) << (64 - plain_bits) >> (64 - plain_bits)  # centred
    first = whole << (64 - bits) >> (64 - bits)
    return first, (whole - first) >> bits
