"""Blocks of 16 bytes in columns, moved as one number each: numpy is slow on two."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["added_up", "beside", "column"]

Words = NDArray[np.uint64]


def beside(*columns: Words) -> Words:
    """Return columns of blocks, shape (n, 2) each, beside each other: shape (n, columns, 2)."""
    rows = np.empty((len(columns[0]), len(columns), 2), np.uint64)
    for number, one in enumerate(columns):
        _whole(rows)[:, number, 0] = _whole(one)[:, 0]
    return rows


def column(rows: Words, number: int) -> Words:
    """Return one of the columns that `beside` put together, shape (n, 2)."""
    return _whole(rows)[:, number].copy().view(np.uint64)


def added_up(blocks: Words) -> Words:
    """Return what rows of blocks add up to, shape (rows, n, …): shape (rows, …)."""
    while (count := blocks.shape[1]) > 1:
        half = count // 2
        added = blocks[:, :half] ^ blocks[:, half : 2 * half]
        if count % 2:
            added[:, 0] ^= blocks[:, -1]
        blocks = added
    return blocks[:, 0]


def _whole(blocks: Words) -> NDArray[np.complex128]:
    return np.ascontiguousarray(blocks).view(np.complex128)
