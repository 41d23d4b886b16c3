"""A table that hides which inputs it was made for: the garbled Bloom filter.

Dong, Chen and Wen 2013 (ePrint 2013/515), by which Kolesnikov, Matania, Pinkas, Rosulek and Trieu
2017 (KMPRT, ePrint 2017/799, section 4) program an oblivious function. An input's value is the
XOR of the table's entries at the input's places. If the values are uniform, all entries are, so the
table says nothing of the inputs.
"""

import hashlib
import math
import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["SALT_BYTES", "entries", "look_up", "program"]

SALT_BYTES = 16
_BITS = 40


def entries(count: int) -> int:
    """Return how many entries the table of so many inputs has.

    At the end half of them are taken, so the probability that all places of an input are taken is
    2^-places. An input has 40 + log2(inputs) places.
    """
    return max(math.ceil(count * _places(count) / math.log(2)), _places(count))


def program(inputs: Sequence[bytes], values: NDArray[np.uint8]) -> tuple[bytes, NDArray[np.uint8]]:
    """Make a table in which each input has its value.

    Args:
        inputs: Distinct byte strings.
        values: Shape (n, width), uniform for the side that gets the table.

    Returns:
        The salt of the places, and the table of shape (entries(n), width).
    """
    size = entries(len(inputs))
    while True:
        salt = secrets.token_bytes(SALT_BYTES)
        table = (
            np.frombuffer(secrets.token_bytes(size * values.shape[1]), np.uint8)
            .reshape(size, -1)
            .copy()
        )
        taken = np.zeros(size, bool)
        for one, value in zip(inputs, values, strict=True):
            places = _places_of(salt, one, len(inputs))
            free = places[~taken[places]]
            if not len(free):
                break  # with probability 2^-40 per table: draw another salt
            table[free[0]] ^= value ^ np.bitwise_xor.reduce(table[places], axis=0)
            taken[places] = True
        else:
            return salt, table


def look_up(
    salt: bytes, table: NDArray[np.uint8], inputs: Sequence[bytes], count: int
) -> NDArray[np.uint8]:
    """Return the values of any inputs, also of those that the table was not made for.

    Args:
        salt: The salt that `program` returned.
        table: The table that `program` returned.
        inputs: n byte strings.
        count: How many inputs the table was made for.

    Returns:
        Shape (n, width).
    """
    values = np.empty((len(inputs), table.shape[1]), np.uint8)
    for row, one in enumerate(inputs):
        values[row] = np.bitwise_xor.reduce(table[_places_of(salt, one, count)], axis=0)
    return values


def _places(count: int) -> int:
    return _BITS + max(count, 1).bit_length()


def _places_of(salt: bytes, one: bytes, count: int) -> NDArray[np.intp]:
    # 64-bit numbers modulo the size: the bias is below 2^-24 for tables of 2^40 entries.
    drawn = hashlib.shake_128(salt + one).digest(8 * _places(count))
    places = np.frombuffer(drawn, "<u8") % entries(count)
    return np.unique(places).astype(np.intp)
