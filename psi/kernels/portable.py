"""The kernels without numba, by numpy and hashlib; the fast ones are tested against them."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "all_distinct",
    "digest_items",
    "fill_slots",
    "hash_rows",
    "look_up",
    "match_tags",
    "peel",
    "random_order",
    "reverse_bits",
    "store_places",
]

_SWAPS = ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F))


def digest_items(items: Sequence[bytes], key: bytes) -> NDArray[np.uint8]:
    """Return what `psi.kernels.digest_items` returns."""
    return _hashed(items, hashlib.blake2s(digest_size=16, key=key))


def hash_rows(rows: NDArray[np.uint8], key: bytes) -> NDArray[np.uint8]:
    """Return what `psi.kernels.hash_rows` returns."""
    return _hashed(_rows(rows), hashlib.blake2s(key=key))


def _hashed(items: Sequence[bytes], keyed: "hashlib.blake2s") -> NDArray[np.uint8]:
    """Return the hash of each item; copies of a keyed hash are quicker than new ones."""
    hashes = []
    for item in items:
        one = keyed.copy()
        one.update(item)
        hashes.append(one.digest())
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, keyed.digest_size)


def all_distinct(numbers: NDArray[np.uint64]) -> bool:
    """Return what `psi.kernels.all_distinct` returns."""
    ordered = np.sort(numbers)
    return not np.any(ordered[1:] == ordered[:-1])


def match_tags(theirs: NDArray[np.uint8], own: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return what `psi.kernels.match_tags` returns."""
    place_of = {tag: place for place, tag in enumerate(_rows(own))}
    found = (place_of.get(tag, -1) for tag in _rows(theirs))
    return np.fromiter(found, np.int64, len(theirs))


def random_order(drawn: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return what `psi.kernels.random_order` returns, from 64 random bits for each place."""
    # Equal numbers are too rare to bias the order noticeably.
    return np.argsort(drawn, kind="stable")


def reverse_bits(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return what `psi.kernels.reverse_bits` returns."""
    for shift, low in _SWAPS:
        mask, by = np.uint64(low), np.uint64(shift)
        words = (words & mask) << by | (words >> by) & mask
    return words


def store_places(
    words: NDArray[np.uint64], bins: int, third: int, dense_bits: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Return what `psi.kernels.store_places` returns."""
    # 24 bits are enough for a number of bins that is a power of two.
    parts = (words[:, 3] >> np.uint64(dense_bits)) * np.uint64(bins)
    thirds = 3 * (parts >> np.uint64(64 - dense_bits))[:, None] + np.arange(3, dtype=np.uint64)
    places = np.uint64(third) * thirds + _scaled(words[:, :3], third)
    return places.astype(np.uint32), words[:, 3] & np.uint64((1 << dense_bits) - 1)


def _scaled(words: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """Return floor(word · size / 2^64), computed in 64 bits; the size is below 2^32."""
    high, low = words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)
    factor = np.uint64(size)
    result: NDArray[np.uint64] = (high * factor + (low * factor >> np.uint64(32))) >> np.uint64(32)
    return result


def peel(
    places: NDArray[np.uint32], slots: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
    """Return what `psi.kernels.peel` returns."""
    turns, going = np.full(len(places), -1, np.int8), np.zeros(len(places), bool)
    numbers = np.arange(len(places), dtype=np.uint32)
    degrees = np.bincount(places.ravel(), minlength=slots).astype(np.int32)
    sums = np.zeros(slots, np.uint32)  # of the rows that lie there: of a single one, its number
    np.add.at(sums, places.ravel(), np.repeat(numbers, 3))
    order, single = [np.empty(0, np.int64)], np.flatnonzero(degrees == 1)
    while len(single):
        rows = sums[single]
        found = np.argmax(places[rows] == single[:, None], axis=1)
        for turn in (2, 1, 0):  # the first one stays
            turns[rows[found == turn]] = turn
        going[rows] = True
        order.append(np.flatnonzero(going))
        going[rows] = False
        touched = places[order[-1]].ravel()
        np.subtract.at(degrees, touched, 1)
        np.subtract.at(sums, touched, np.repeat(numbers[order[-1]], 3))
        single = np.flatnonzero(degrees == 1)
    return (
        np.concatenate(order),
        np.cumsum([len(rows) for rows in order[1:]], dtype=np.int64),
        turns,
    )


def fill_slots(
    table: NDArray[np.uint8],
    places: NDArray[np.uint32],
    dense: NDArray[np.uint64],
    values: NDArray[np.uint8],
    peeled: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]],
    sums: NDArray[np.uint8],
) -> None:
    """Do what `psi.kernels.fill_slots` does."""
    order, ends, turns = peeled
    # Rows of one round have no slot in common in which any of them is put.
    for rows in np.split(order, ends[:-1])[::-1]:
        turned = (turns[rows, None] + np.arange(3)) % 3
        target, one, other = np.take_along_axis(places[rows], turned, axis=1).T
        table[target] = values[rows] ^ table[one] ^ table[other] ^ _dense_sums(dense[rows], sums)


def look_up(
    table: NDArray[np.uint8],
    places: NDArray[np.uint32],
    dense: NDArray[np.uint64],
    sums: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Return what `psi.kernels.look_up` returns."""
    one, two, three = places.T
    found: NDArray[np.uint8] = table[one] ^ table[two] ^ table[three]
    return found ^ _dense_sums(dense, sums)


def _dense_sums(dense: NDArray[np.uint64], sums: NDArray[np.uint8]) -> NDArray[np.uint8]:
    total = np.zeros((len(dense), sums.shape[2]), np.uint8)
    for part, entries in enumerate(sums):
        total ^= entries[(dense >> np.uint64(8 * part)) & np.uint64(255)]
    return total


def _rows(tags: NDArray[np.uint8]) -> list[bytes]:
    rows: list[bytes] = np.ascontiguousarray(tags).view(f"V{tags.shape[1]}").ravel().tolist()
    return rows
