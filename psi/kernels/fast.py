"""The kernels compiled by numba: keyed BLAKE2s, bit transposition, hash tables, shuffling."""

import secrets
from typing import Any

import numpy as np
from numba import boolean, int64, uint64
from numpy.typing import NDArray

from psi.compiled.compiling import array, compiled
from psi.kernels.vectors import INITIAL, compress, copy_bytes

__all__ = [
    "MAX_ITEM_BYTES",
    "all_distinct",
    "digest_items",
    "match_tags",
    "random_order",
    "reverse_bits",
    "store_places",
]

MAX_ITEM_BYTES = 64  # one block after the block of the key

_KEY = array("uint32", 1)
_NUMBERS = array("uint64", 1)
_INTEGERS = array("int64", 1)
_TAGS = array("uint8", 2, "A")


@compiled(_KEY, int64, result=array("uint32", 2, write=True))
def _keyed_state(key: Any, digest_bytes: Any) -> Any:
    """Return the state after the block of the key, the same in every lane."""
    state = np.empty((8, 16), np.uint32)
    words = np.zeros((16, 16), np.uint32)
    lengths = np.full(16, 64, np.uint32)
    for index in range(8):
        state[index] = np.uint32(INITIAL[index])
        words[index] = key[index]
    state[0] ^= np.uint32(0x01012000) ^ np.uint32(digest_bytes)  # key of 32 bytes, no tree
    compress(state.ctypes.data, words.ctypes.data, lengths.ctypes.data, np.uint32(0))
    return state


@compiled(array("uint8", 1), _INTEGERS, boolean, _KEY, array("uint32", 2, write=True))
def _digest_items(data: Any, ends: Any, headed: Any, key: Any, out: Any) -> None:
    keyed = _keyed_state(key, 4 * out.shape[1])
    state, words = np.empty_like(keyed), np.empty((16, 16), np.uint32)
    lengths = np.empty(16, np.uint32)
    block = np.zeros((16, 64), np.uint8)
    block_words = block.view(np.uint32)
    head = 9 if headed else 0
    n = len(out)
    for first in range(0, n, 16):
        lanes = min(16, n - first)
        for lane in range(lanes):
            start = ends[first + lane]
            length = ends[first + lane + 1] - start
            block[lane] = 0
            if headed:
                block[lane, 0], block[lane, 8] = 116, length & 0xFF  # "t", and 8 bytes of length
            if 0 < length <= 64 - head:  # the caller hashes the others
                copy_bytes(block[lane, head:].ctypes.data, data[start:].ctypes.data, length)
            lengths[lane] = 64 + head + length
        for lane in range(16):
            for index in range(16):
                words[index, lane] = block_words[lane, index]
        state[:] = keyed
        compress(state.ctypes.data, words.ctypes.data, lengths.ctypes.data, np.uint32(0xFFFFFFFF))
        for lane in range(lanes):
            for index in range(out.shape[1]):
                out[first + lane, index] = state[index, lane]


@compiled(_NUMBERS, uint64, uint64, array("uint64", 1, write=True), result=boolean)
def _all_distinct(numbers: Any, factor: Any, shift: Any, table: Any) -> bool:
    """Return whether no number occurs twice.

    By a table of 2^(64 - shift) slots, at least twice as many as numbers; zeros are counted apart.
    """
    mask = np.uint64(len(table) - 1)
    zeros = 0
    for number in numbers:
        if number == 0:
            zeros += 1
            continue
        slot = (number * factor) >> shift
        while table[slot] != 0:
            if table[slot] == number:
                return False
            slot = (slot + np.uint64(1)) & mask
        table[slot] = number
    return zeros < 2


@compiled(_TAGS, int64, result=uint64)
def _head(tags: Any, row: Any) -> Any:
    head = np.uint64(0)
    for place in range(min(8, tags.shape[1])):
        head |= np.uint64(tags[row, place]) << np.uint64(8 * place)
    return head


@compiled(_TAGS, array("uint8", 2), array("int32", 1, write=True), array("int64", 1, write=True))
def _match_tags(theirs: Any, own: Any, table: Any, found: Any) -> None:
    """Find for each of their tags the equal one of our own, by a hash table of first bytes."""
    mask = np.uint64(len(table) - 1)
    for row in range(len(own)):
        slot = _head(own, row) & mask
        while table[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = row
    for row in range(len(theirs)):
        slot = _head(theirs, row) & mask
        found[row] = -1
        while table[slot] >= 0:
            same = True
            for place in range(own.shape[1]):
                same &= own[table[slot], place] == theirs[row, place]
            if same:
                found[row] = table[slot]
                break
            slot = (slot + np.uint64(1)) & mask


@compiled(array("int64", 1, write=True), _NUMBERS)
def _shuffle(order: Any, drawn: Any) -> None:
    """Shuffle (Fisher and Yates); the high half of drawn · size is a number below the size."""
    for last in range(len(order) - 1, 0, -1):
        size, low_half = np.uint64(last + 1), np.uint64(0xFFFFFFFF)
        word = drawn[last]
        high, low = word >> np.uint64(32), word & low_half
        place = (high * size + (low * size >> np.uint64(32))) >> np.uint64(32)
        order[last], order[place] = order[place], order[last]


@compiled(_NUMBERS, array("uint64", 1, write=True))
def _reverse_bits(words: Any, out: Any) -> None:
    one, two, four = np.uint64(1), np.uint64(2), np.uint64(4)
    ones, twos = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
    fours = np.uint64(0x0F0F0F0F0F0F0F0F)
    for index in range(len(words)):
        word = words[index]
        word = (word & ones) << one | (word >> one) & ones
        word = (word & twos) << two | (word >> two) & twos
        out[index] = (word & fours) << four | (word >> four) & fours


@compiled(
    array("uint64", 2), uint64, uint64, uint64,
    array("uint32", 2, write=True), array("uint64", 1, write=True),
)  # fmt: skip
def _store_places(words: Any, bins: Any, third: Any, dense: Any, places: Any, bits: Any) -> None:
    half, low_half = np.uint64(32), np.uint64(0xFFFFFFFF)
    for row in range(len(words)):
        last = words[row, 3]
        part = ((last >> dense) * bins) >> (np.uint64(64) - dense)
        for turn in range(3):
            word = words[row, turn]
            place = ((word >> half) * third + ((word & low_half) * third >> half)) >> half
            places[row, turn] = third * (np.uint64(3) * part + np.uint64(turn)) + place
        bits[row] = last & ((np.uint64(1) << dense) - np.uint64(1))


def digest_items(
    data: NDArray[np.uint8],
    ends: NDArray[np.int64],
    key: bytes,
    out: NDArray[np.uint8],
    *,
    headed: bool,
) -> None:
    """Write the BLAKE2s of items of 1 to 64 bytes.

    Args:
        data: The items, one after the other.
        ends: Where each begins and the last ends: shape (n + 1,).
        key: 32 bytes.
        out: Shape (n, 16) or (n, 32), the length of a digest. Rows of items that are empty or too
            long have no meaning.
        headed: Whether what is hashed begins with the head of `psi.kernels.texts.text_key`.
    """
    keys = np.frombuffer(key, np.uint32)
    _digest_items(data, ends, headed, keys, out.view(np.uint32))


def all_distinct(numbers: NDArray[np.uint64]) -> bool:
    """Return what `psi.kernels.all_distinct` returns."""
    bits = (2 * len(numbers)).bit_length()
    # A secret factor: nobody can make numbers that all fall into one slot (universal hash).
    factor = np.uint64(secrets.randbits(64) | 1)
    table = np.zeros(1 << bits, np.uint64)
    return bool(_all_distinct(numbers, factor, np.uint64(64 - bits), table))


def match_tags(theirs: NDArray[np.uint8], own: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return what `psi.kernels.match_tags` returns."""
    found = np.empty(len(theirs), np.int64)
    table = np.full(1 << (2 * len(own)).bit_length(), -1, np.int32)
    _match_tags(theirs, own, table, found)
    return found


def random_order(drawn: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return what `psi.kernels.random_order` returns, from 64 random bits for each place."""
    order = np.arange(len(drawn))
    _shuffle(order, drawn)
    return order


def reverse_bits(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return what `psi.kernels.reverse_bits` returns."""
    out = np.empty(words.shape, np.uint64)
    _reverse_bits(np.ascontiguousarray(words).reshape(-1), out.reshape(-1))
    return out


def store_places(
    words: NDArray[np.uint64], bins: int, third: int, dense_bits: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Return what `psi.kernels.store_places` returns."""
    places, dense = np.empty((len(words), 3), np.uint32), np.empty(len(words), np.uint64)
    sizes = np.uint64(bins), np.uint64(third), np.uint64(dense_bits)
    _store_places(words, *sizes, places, dense)
    return places, dense
