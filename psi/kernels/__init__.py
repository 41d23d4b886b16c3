"""The inner loops of `kkrt`: numba where it is installed and pays, numpy and hashlib elsewhere.

Both ways give the same bytes (tests/psi/test_psi_kernels.py holds them to each other, the hash to
OpenSSL's and hashlib's). AES is not here: a whole batch through `cryptography` costs 2 ns a block.

Memory accesses: `transpose` and the hash itself touch memory in an order that depends on sizes
only. `tag_rows` reads the row of an item's bin, and `place` follows the bins of items: that order
is secret from the other side, which does not see it, but not from a process that shares this
machine's caches. No cuckoo hashing can avoid it.
"""

import functools
import importlib.util
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from psi.kernels import portable

__all__ = ["FAST_FROM", "digest_items", "fast_available", "load", "place", "tag_rows", "transpose"]

FAST_FROM = 1 << 16  # below, loading the compiled code costs more than it saves


@functools.cache
def fast_available() -> bool:
    """Whether numba is installed (the extra psi-fast)."""
    return importlib.util.find_spec("numba") is not None


def load() -> None:
    """Load or compile the fast kernels now, for whoever measures what comes after."""
    from psi.kernels import fast

    fast.digest_items(b"x", np.ones(1, np.int64), bytes(32))
    rows = fast.transpose(np.zeros((512, 8), np.uint8))
    bins = np.arange(3, dtype=np.uint32)
    fast.tag_rows(rows, bins, 0, bytes(32), 8)
    fast.place(bins.reshape(1, 3), 3)


def digest_items(items: Sequence[bytes], key: bytes) -> NDArray[np.uint8]:
    """BLAKE2s (RFC 7693) of each item under a 32-byte key: shape (len(items), 16)."""
    if _fast(len(items)):
        from psi.kernels import fast

        lengths = np.fromiter(map(len, items), np.int64, len(items))
        if lengths.min() >= fast.MIN_ITEM_BYTES and lengths.max() <= fast.MAX_ITEM_BYTES:
            return fast.digest_items(b"".join(items), lengths, key)
    return portable.digest_items(items, key)


def place(bins: NDArray[np.uint32], n_bins: int) -> NDArray[np.int64] | None:
    """Give each item one of its bins, no two the same; exact: fails only if that is impossible.

    Args:
        bins: Shape (n, 3): the distinct bins in which each item may lie.
        n_bins: How many bins there are.

    Returns:
        Shape (n_bins,): 3·item + hash index for a bin that is taken, -1 for one that is empty;
        None if no assignment exists.
    """
    if _fast(len(bins)):
        from psi.kernels import fast

        return fast.place(bins, n_bins)
    return portable.place(bins, n_bins)


def tag_rows(
    table: NDArray[np.uint8],
    bins: NDArray[np.uint32],
    hash_index: int,
    key: bytes,
    tag_bytes: int,
    offsets: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """BLAKE2s (RFC 7693) of row ‖ bin ‖ hash index, both as 4 little-endian bytes.

    Args:
        table: Shape (n_bins, 64).
        bins: Shape (n,): which rows to hash.
        hash_index: Which of an item's three bins they are.
        key: 32 bytes.
        tag_bytes: Length of a tag, 1 to 32.
        offsets: Shape (n, 64): what to add to each row (exclusive or) before hashing it.

    Returns:
        Shape (n, tag_bytes).
    """
    if _fast(len(table)) and len(bins):
        from psi.kernels import fast

        return fast.tag_rows(table, bins, hash_index, key, tag_bytes, offsets)
    return portable.tag_rows(table, bins, hash_index, key, tag_bytes, offsets)


def transpose(columns: NDArray[np.uint8], n_rows: int) -> NDArray[np.uint8]:
    """Turn 512 columns of bits into rows; bits count from the least significant of each byte.

    Args:
        columns: Shape (512, n_rows / 8), C-contiguous.
        n_rows: A multiple of 64. The whole job's size decides whether numba pays.

    Returns:
        Shape (8 · columns.shape[1], 64).
    """
    if _fast(n_rows):
        from psi.kernels import fast

        return fast.transpose(columns)
    return portable.transpose(columns)


def _fast(size: int) -> bool:
    return size >= FAST_FROM and fast_available()
