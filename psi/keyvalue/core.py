"""The rows of a store that do not peel: a few equations, solved by elimination over single bits."""

import numpy as np
from numpy.typing import NDArray

from psi.keyvalue.sizes import DENSE_BITS

__all__ = ["solve_core"]


def solve_core(
    table: NDArray[np.uint8],
    places: NDArray[np.uint32],
    dense: NDArray[np.uint64],
    values: NDArray[np.uint8],
) -> bool:
    """Set some entries so that the entries of each row add up to its value; others stay.

    Args:
        table: Shape (slots, width), its last 40 entries the dense ones; written to.
        places: Shape (n, 3): the slots of each row.
        dense: Shape (n,): its dense bits.
        values: Shape (n, width).

    Returns:
        False, and nothing is set, if rows depend on each other.
    """
    slots = np.unique(places)
    entries = np.concatenate([np.arange(len(table) - DENSE_BITS, len(table)), slots])
    columns = np.searchsorted(slots, places) + DENSE_BITS
    value_bits = 8 * table.shape[1]
    # A row is a number: its columns, below them its value. Sparse columns come first.
    pivots: dict[int, int] = {}
    for three, bits, value in zip(columns.tolist(), dense.tolist(), values, strict=True):
        mask = bits | sum(1 << column for column in three)
        row = mask << value_bits | int.from_bytes(value.tobytes(), "little")
        while (leading := row.bit_length() - 1 - value_bits) in pivots:
            row ^= pivots[leading]
        if leading < 0:
            return False
        pivots[leading] = row
    for leading in sorted(pivots):
        row = pivots[leading]
        others = [entries[column] for column in range(leading) if row >> (value_bits + column) & 1]
        total = np.frombuffer(
            (row & ((1 << value_bits) - 1)).to_bytes(table.shape[1], "little"), np.uint8
        )
        table[entries[leading]] = total ^ np.bitwise_xor.reduce(table[others], axis=0)
    return True
