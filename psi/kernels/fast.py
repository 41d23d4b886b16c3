"""The kernels by numba: BLAKE2s on 16 messages at once, bit transposition, cuckoo tables.

BLAKE2s is written on LLVM vectors of sixteen 32-bit words, which LLVM lowers to whatever the
processor has: AVX-512, AVX2, SSE2, NEON. Compiled code is cached on disk by numba.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from psi.kernels.cuckoo import place_items

__all__ = [
    "MAX_ITEM_BYTES",
    "MIN_ITEM_BYTES",
    "digest_items",
    "place",
    "tag_rows",
    "transpose",
]

MIN_ITEM_BYTES, MAX_ITEM_BYTES = 1, 64  # one block after the key's

_LANES = 16
_Function = TypeVar("_Function", bound=Callable[..., Any])
_IV = (
    *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
    *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
)
# The message schedule of RFC 7693 section 2.7.
_SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_MIXED = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)


def _compiled(function: _Function) -> _Function:
    return cast("_Function", numba.njit(cache=True, nogil=True)(function))


def _generate(typing_context: Any, state: Any, words: Any, lengths: Any, last: Any) -> Any:
    """BLAKE2s's compression function on 16 lanes: addresses of (8, 16), (16, 16) and (16,) u32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        vector = ir.VectorType(word, _LANES)

        def constant(value: int) -> Any:
            return ir.Constant(vector, [value] * _LANES)

        def rotated(value: Any, bits: int) -> Any:  # LLVM knows it for a rotation
            low = builder.lshr(value, constant(bits))
            return builder.or_(low, builder.shl(value, constant(32 - bits)))

        def cell(base: Any, index: int) -> Any:
            return builder.gep(builder.inttoptr(base, vector.as_pointer()), [word(index)])

        def load(base: Any, index: int) -> Any:
            return builder.load(cell(base, index), align=4)

        state_at, words_at, lengths_at, last_word = arguments
        before = [load(state_at, index) for index in range(8)]
        message = [load(words_at, index) for index in range(16)]
        v = [*before, *map(constant, _IV)]
        v[12] = builder.xor(v[12], load(lengths_at, 0))  # messages stay below 2^32 bytes
        flag = builder.insert_element(ir.Constant(vector, ir.Undefined), last_word, word(0))
        zeros = ir.Constant(ir.VectorType(word, _LANES), [0] * _LANES)
        flags = builder.shuffle_vector(flag, flag, zeros)
        v[14] = builder.xor(v[14], flags)

        def mix(a: int, b: int, c: int, d: int, x: Any, y: Any) -> None:
            for added, first, second in ((x, 16, 12), (y, 8, 7)):
                v[a] = builder.add(builder.add(v[a], v[b]), added)
                v[d] = rotated(builder.xor(v[d], v[a]), first)
                v[c] = builder.add(v[c], v[d])
                v[b] = rotated(builder.xor(v[b], v[c]), second)

        for schedule in _SIGMA:
            for step, places in enumerate(_MIXED):
                mix(*places, message[schedule[2 * step]], message[schedule[2 * step + 1]])
        for index in range(8):
            mixed = builder.xor(before[index], builder.xor(v[index], v[index + 8]))
            builder.store(mixed, cell(state_at, index), align=4)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.uintp, types.uint32), generate


_compress: Any = intrinsic(_generate)


@_compiled
def _keyed_state(key: Any, digest_bytes: Any) -> Any:
    """The state after the block of the key, in every lane."""
    state = np.empty((8, 16), np.uint32)
    words = np.zeros((16, 16), np.uint32)
    lengths = np.full(16, 64, np.uint32)
    for index in range(8):
        state[index] = np.uint32(_IV[index])
        words[index] = key[index]
    state[0] ^= np.uint32(0x01012000) ^ np.uint32(digest_bytes)  # key of 32 bytes, no tree
    _compress(state.ctypes.data, words.ctypes.data, lengths.ctypes.data, np.uint32(0))
    return state


@_compiled
def _digest_items(data: Any, starts: Any, key: Any, out: Any) -> None:
    keyed = _keyed_state(key, 16)
    state, words = np.empty_like(keyed), np.empty((16, 16), np.uint32)
    lengths = np.empty(16, np.uint32)
    block = np.zeros((16, 64), np.uint8)
    block_words = block.view(np.uint32)
    n = len(out)
    for first in range(0, n, 16):
        lanes = min(16, n - first)
        for lane in range(lanes):
            start, end = starts[first + lane], starts[first + lane + 1]
            for place in range(end - start):
                block[lane, place] = data[start + place]
            for place in range(end - start, 64):
                block[lane, place] = 0
            lengths[lane] = 64 + end - start
        for lane in range(16):
            for index in range(16):
                words[index, lane] = block_words[lane, index]
        state[:] = keyed
        _compress(state.ctypes.data, words.ctypes.data, lengths.ctypes.data, np.uint32(0xFFFFFFFF))
        for lane in range(lanes):
            for index in range(4):
                out[first + lane, index] = state[index, lane]


@_compiled
def _tag_rows(
    table: Any, bins: Any, hash_index: Any, key: Any, tag_bytes: Any, offsets: Any, out: Any
) -> None:
    keyed = _keyed_state(key, tag_bytes)
    state, words = np.empty_like(keyed), np.empty((16, 16), np.uint32)
    tail = np.zeros((16, 16), np.uint32)
    tail[1] = np.uint32(hash_index)
    row_lengths, all_lengths = np.full(16, 128, np.uint32), np.full(16, 136, np.uint32)
    n, shifted = len(bins), len(offsets) > 0
    for first in range(0, n, 16):
        lanes = min(16, n - first)
        for lane in range(lanes):
            row = bins[first + lane]
            tail[0, lane] = row
            for index in range(16):
                words[index, lane] = table[row, index]
            if shifted:
                for index in range(16):
                    words[index, lane] ^= offsets[first + lane, index]
        state[:] = keyed
        _compress(state.ctypes.data, words.ctypes.data, row_lengths.ctypes.data, np.uint32(0))
        _compress(
            state.ctypes.data, tail.ctypes.data, all_lengths.ctypes.data, np.uint32(0xFFFFFFFF)
        )
        for lane in range(lanes):
            for place in range(tag_bytes):
                out[first + lane, place] = (state[place >> 2, lane] >> (8 * (place & 3))) & 0xFF


@_compiled
def _transpose(columns: Any, rows: Any) -> None:
    """Transposes 64 x 64 bits at a time by swapping ever smaller squares."""
    square = np.empty(64, np.uint64)
    for word in range(columns.shape[1]):
        for group in range(columns.shape[0] // 64):
            for index in range(64):
                square[index] = columns[64 * group + index, word]
            width, mask = 32, np.uint64(0x00000000FFFFFFFF)
            while width:
                shift = np.uint64(width)
                for start in range(0, 64, 2 * width):
                    for low in range(start, start + width):
                        swapped = ((square[low] >> shift) ^ square[low + width]) & mask
                        square[low] ^= swapped << shift
                        square[low + width] ^= swapped
                width >>= 1
                mask ^= mask << np.uint64(width)
            for index in range(64):
                rows[64 * word + index, group] = square[index]


_place_items = _compiled(place_items)


def digest_items(data: bytes, lengths: NDArray[np.int64], key: bytes) -> NDArray[np.uint8]:
    """As `psi.kernels.digest_items`, for items of 1 to 64 bytes, one after the other."""
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    out = np.empty((len(lengths), 4), np.uint32)
    _digest_items(np.frombuffer(data, np.uint8), starts, np.frombuffer(key, np.uint32), out)
    return out.view(np.uint8)


def place(bins: NDArray[np.uint32], n_bins: int) -> NDArray[np.int64] | None:
    """As `psi.kernels.place`."""
    table, visited = np.full(n_bins, -1, np.int64), np.full(n_bins, -1, np.int64)
    scratch = np.empty((2, n_bins), np.int64)
    flat = bins.ravel().astype(np.int64)
    placed = _place_items(flat, len(bins), table, visited, scratch[0], scratch[1])
    return table if placed == len(bins) else None


def tag_rows(
    table: NDArray[np.uint8],
    bins: NDArray[np.uint32],
    hash_index: int,
    key: bytes,
    tag_bytes: int,
    offsets: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """As `psi.kernels.tag_rows`."""
    out = np.empty((len(bins), tag_bytes), np.uint8)
    shifts = np.empty((0, 64), np.uint8) if offsets is None else offsets
    _tag_rows(
        table.view(np.uint32),
        bins,
        hash_index,
        np.frombuffer(key, np.uint32),
        tag_bytes,
        shifts.view(np.uint32),
        out,
    )
    return out


def transpose(columns: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """As `psi.kernels.transpose`."""
    rows = np.empty((8 * columns.shape[1], columns.shape[0] // 64), np.uint64)
    _transpose(columns.view(np.uint64), rows)
    return rows.view(np.uint8)
