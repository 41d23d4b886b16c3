"""The inner loops of `vole` and of key-value stores: numba where that helps, else numpy, hashlib.

Both ways give the same bytes (tests/psi/kernels/test_kernels.py compares them with each other, and
the hash with OpenSSL's and hashlib's). AES and GF(2^128) are in `psi.kernels.blocks`.

Memory accesses: the hash touches memory in an order that depends on lengths only. `peel`,
`fill_slots` and `look_up` follow the slots of items, `all_distinct` and `match_tags` the values of
tags. The other side does not see that order, but a process that shares this machine's caches might.
No store whose slots are hashes of items can avoid it.
"""

import functools
import hashlib
import importlib
import importlib.util
import itertools
import secrets
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from psi.kernels import portable
from psi.kernels.texts import KEY_HEAD_BYTES, TextKeys, text_key

__all__ = [
    "FAST_FROM",
    "all_distinct",
    "digest_batches",
    "digest_items",
    "fast_available",
    "fill_slots",
    "hash_rows",
    "load",
    "look_up",
    "match_tags",
    "peel",
    "random_order",
    "reverse_bits",
    "store_places",
]

FAST_FROM = 1 << 16  # below, loading compiled code, once in a process, costs more than it saves
_TABLE_MOST = 1 << 22  # above, a hash table would take more memory than sorting

_BATCH = 1 << 17


@functools.cache
def fast_available() -> bool:
    """Return whether numba is installed (the extra psi-fast)."""
    return importlib.util.find_spec("numba") is not None


def load() -> None:
    """Load or compile the fast kernels now, so that later measurements do not include it."""
    importlib.import_module("psi.kernels.fast")
    importlib.import_module("psi.kernels.blocks").load()


def digest_items(items: Sequence[bytes], key: bytes) -> NDArray[np.uint8]:
    """Return each item's BLAKE2s (RFC 7693) under a 32-byte key: shape (len(items), 16)."""
    digests = list(digest_batches(items, key))
    return np.concatenate(digests) if digests else np.empty((0, 16), np.uint8)


def digest_batches(items: Sequence[bytes], key: bytes) -> Iterator[NDArray[np.uint8]]:
    """Yield what `digest_items` returns, some hundred thousand items at a time."""
    if isinstance(items, TextKeys) and _fast(len(items)):
        start = 0
        for data, offsets in items.texts.chunks:
            digests = _digest(data, offsets.astype(np.int64), key, headed=True)
            first, last = np.searchsorted(items.rows, (start, start + len(digests)))
            # Mostly these are all rows: then nothing is copied.
            yield (
                digests[items.rows[first:last] - start] if last - first < len(digests) else digests
            )
            start += len(digests)
        return
    numbered = iter(items)
    while batch := list(itertools.islice(numbered, _BATCH)):
        if _fast(len(items)):
            yield _digest(*_joined(batch), key, headed=False)
        else:
            yield portable.digest_items(batch, key)


def _digest(
    data: NDArray[np.uint8], ends: NDArray[np.int64], key: bytes, *, headed: bool
) -> NDArray[np.uint8]:
    from psi.kernels import fast

    digests = np.empty((len(ends) - 1, 16), np.uint8)
    fast.digest_items(data, ends, key, digests, headed=headed)
    lengths = np.diff(ends) + (KEY_HEAD_BYTES if headed else 0)
    for index in np.flatnonzero((lengths > fast.MAX_ITEM_BYTES) | (lengths == 0)).tolist():
        content = data[ends[index] : ends[index + 1]].tobytes()
        item = text_key(content) if headed else content
        digest = hashlib.blake2s(item, digest_size=16, key=key).digest()
        digests[index] = np.frombuffer(digest, np.uint8)
    return digests


def hash_rows(rows: NDArray[np.uint8], key: bytes) -> NDArray[np.uint8]:
    """Return the BLAKE2s of each row under a key, in full: shape (n, 32).

    Args:
        rows: Shape (n, width), 1 to 64 bytes wide, C-contiguous.
        key: 32 bytes.
    """
    if len(rows) and _fast(len(rows)):
        from psi.kernels import fast

        out = np.empty((len(rows), 32), np.uint8)
        ends = rows.shape[1] * np.arange(len(rows) + 1)
        fast.digest_items(rows.reshape(-1), ends, key, out, headed=False)
        return out
    return portable.hash_rows(rows, key)


def _joined(items: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the items one after the other, and where each begins and the last ends."""
    ends = np.zeros(len(items) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, items), np.int64, len(items)), out=ends[1:])
    return np.frombuffer(b"".join(items), np.uint8), ends


def peel(
    places: NDArray[np.uint32], slots: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
    """Take rows away as long as one has a slot that no other row has, in rounds.

    Args:
        places: Shape (n, 3): the distinct slots of each row, in increasing order.
        slots: How many there are.

    Returns:
        The rows in the order in which they go; where each round ends in that order; and for every
        row, shape (n,), which of its three slots it has alone by then (the first, if several), -1
        for rows that stay.
    """
    if _fast(len(places)):
        from psi.kernels import peeling

        return peeling.peel(places, slots)
    return portable.peel(places, slots)


def fill_slots(
    table: NDArray[np.uint8],
    places: NDArray[np.uint32],
    dense: NDArray[np.uint64],
    values: NDArray[np.uint8],
    peeled: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]],
    sums: NDArray[np.uint8],
) -> None:
    """Set the slot that each row has alone so that the row has its value, the last peeled first.

    Args:
        table: Shape (slots, width), written to.
        places: As of `peel`.
        dense: Shape (n,): further entries that belong to each row, a bit each.
        values: Shape (n, width): what the entries of each row are to add up to (exclusive or).
        peeled: What `peel` returned.
        sums: Shape (parts, 256, width): what eight further entries add up to, by their bits.
    """
    if _fast(len(places)):
        from psi.kernels import peeling

        peeling.fill_slots(table, places, dense, values, peeled, sums)
    else:
        portable.fill_slots(table, places, dense, values, peeled, sums)


def look_up(
    table: NDArray[np.uint8],
    places: NDArray[np.uint32],
    dense: NDArray[np.uint64],
    sums: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Return what the entries of each row add up to, shape (n, width); see `fill_slots`."""
    if _fast(len(places)):
        from psi.kernels import peeling

        return peeling.look_up(table, places, dense, sums)
    return portable.look_up(table, places, dense, sums)


def all_distinct(numbers: NDArray[np.uint64]) -> bool:
    """Return whether no number occurs twice."""
    if _fast(len(numbers)) and len(numbers) <= _TABLE_MOST:
        from psi.kernels import fast

        return fast.all_distinct(numbers)
    return portable.all_distinct(numbers)


def match_tags(theirs: NDArray[np.uint8], own: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return which of our own tags each of theirs equals; tags are compared in full.

    Args:
        theirs: Shape (n, tag bytes).
        own: Shape (m, tag bytes), distinct.

    Returns:
        Shape (n,): indices into `own`, -1 where there is none.
    """
    if _fast(max(len(theirs), len(own))):
        from psi.kernels import fast

        return fast.match_tags(theirs, own)
    return portable.match_tags(theirs, own)


def random_order(count: int) -> NDArray[np.int64]:
    """Return a fresh random permutation from the operating system's generator, shape (count,)."""
    drawn = np.frombuffer(secrets.token_bytes(8 * count), np.uint64)
    if _fast(count):
        from psi.kernels import fast

        return fast.random_order(drawn)
    return portable.random_order(drawn)


def reverse_bits(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return words with the bits of each of their bytes in reverse order; shape as given."""
    if "psi.kernels.fast" in sys.modules:  # too quick to load anything for
        from psi.kernels import fast

        return fast.reverse_bits(words)
    return portable.reverse_bits(words)


def store_places(
    words: NDArray[np.uint64], bins: int, third: int, dense_bits: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Return where keys lie in a store, from 32 random bytes of each.

    Args:
        words: Shape (n, 4).
        bins: How many parts the store has.
        third: How many slots there are in each third of a part.
        dense_bits: How many bits of the last word are no part's number.

    Returns:
        The slots of each key, one in each third of its bin: shape (n, 3); and its dense bits.
    """
    if _fast(len(words)):
        from psi.kernels import fast

        return fast.store_places(words, bins, third, dense_bits)
    return portable.store_places(words, bins, third, dense_bits)


def _fast(size: int) -> bool:
    loaded = "psi.kernels.fast" in sys.modules
    return (loaded or size >= FAST_FROM) and fast_available()
