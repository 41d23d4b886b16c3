"""The kernels of `psi.kernels.blocks` compiled by numba, with the processor's own instructions."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import int64, uint64
from numpy.typing import NDArray

from psi.compiled.compiling import array, code_fingerprint, compiled
from psi.kernels import blocks_code, blocks_loops, blocks_portable
from psi.kernels.blocks_loops import (
    AT_ONCE,
    STATE,
    add_rows,
    convolve,
    count_up,
    encrypt_groups,
    expand_key,
    hash_groups,
    multiply_vectors,
    scale_rows,
)
from psi.kernels.code_draws import FACTORED_FROM, SEGMENTS, CodeDraws

__all__ = ["BlockKernels", "kernels_for"]

Blocks = NDArray[np.uint64]

_VECTOR, _GROUP = 4, 16  # blocks
_CHUNK = 512  # rows that are convolved between draws
_TILE = 8192  # rows to which rows of all segments are added: they stay in the cache
_READ, _WRITE = array("uint64", 2), array("uint64", 2, write=True)
_READ_ROWS, _WRITE_ROWS = array("uint64", 3), array("uint64", 3, write=True)


@compiled(array("uint32", 1), _WRITE)
def _spread_taps(taps: Any, masks: Any) -> None:
    """Write the masks of `blocks_loops.convolve`: 24 bits a row become 48, moved to their group."""
    for group in range(len(masks)):
        last = np.uint64(0)
        for row in range(4):
            word = (np.uint64(taps[4 * group + row]) & np.uint64(0xFFFFFF)) << np.uint64(row)
            word = (word | (word << np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
            word = (word | (word << np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
            word = (word | (word << np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
            word = (word | (word << np.uint64(2))) & np.uint64(0x3333333333333333)
            word = (word | (word << np.uint64(1))) & np.uint64(0x5555555555555555)
            word |= word << np.uint64(1)
            masks[group, row] = word
            for before in range(3):  # rows of this group
                pair = (word >> np.uint64(48 + 2 * before)) & np.uint64(3)
                last |= pair << np.uint64(8 * before + 2 * row)
        masks[group, 4] = last


def _loops(lanes: int, source: int) -> tuple[Any, ...]:
    """Return the loops for a width of AES and products. `source` is there for the cache."""

    @compiled(array("uint8", 1), _WRITE)
    def expand(key: Any, keys: Any) -> None:
        _ = source
        expand_key(key.ctypes.data, keys.ctypes.data, lanes)

    @compiled(_READ, _READ, int64, _WRITE)
    def multiply(a: Any, b: Any, step: Any, out: Any) -> None:
        _ = source
        vectors = len(out) // _VECTOR
        multiply_vectors(a.ctypes.data, b.ctypes.data, step, out.ctypes.data, vectors, lanes)

    @compiled(_READ, _READ, _WRITE)
    def encrypt(keys: Any, blocks: Any, out: Any) -> None:
        _ = source
        groups = len(out) // _GROUP
        encrypt_groups(keys.ctypes.data, blocks.ctypes.data, out.ctypes.data, groups, lanes)

    @compiled(_READ, _READ, _WRITE)
    def hashed(keys: Any, blocks: Any, out: Any) -> None:
        _ = source
        groups = len(out) // _GROUP
        hash_groups(keys.ctypes.data, blocks.ctypes.data, out.ctypes.data, groups, lanes)

    @compiled(_READ, uint64, uint64, _WRITE)
    def count(keys: Any, high: Any, low: Any, out: Any) -> None:
        _ = source
        count_up(keys.ctypes.data, high, low, out.ctypes.data, len(out) // _GROUP, lanes)

    return expand, multiply, encrypt, hashed, count


def _code_loops(lanes: int, columns: int, source: int) -> tuple[Any, Any]:
    """Return the two loops of a code for one or two vectors beside each other."""

    @compiled(_READ_ROWS, _READ, _READ, _WRITE_ROWS)
    def mix(rows: Any, tap_keys: Any, factor_keys: Any, out: Any) -> None:
        _ = source
        taps, masks = np.empty(_CHUNK, np.uint32), np.empty((_CHUNK // 4, 5), np.uint64)
        factors = np.empty((_CHUNK, 2), np.uint64)
        state = np.zeros((columns * STATE, 8), np.uint64)
        tap_groups, factor_groups = _CHUNK // 4 // _GROUP, _CHUNK // _GROUP
        for start in range(0, len(rows), _CHUNK):
            count_up(tap_keys.ctypes.data, 0, start // 4, taps.ctypes.data, tap_groups, lanes)
            count_up(factor_keys.ctypes.data, 0, start, factors.ctypes.data, factor_groups, lanes)
            _spread_taps(taps, masks)
            convolve(
                rows[start:].ctypes.data,
                masks.ctypes.data,
                factors.ctypes.data,
                state.ctypes.data,
                out[start:].ctypes.data,
                min(_CHUNK, len(rows) - start) // 4,
                columns,
                lanes,
            )

    @compiled(_READ_ROWS, _READ_ROWS, _READ, _READ, array("int64", 1), _WRITE_ROWS)
    def scatter(own: Any, mixed: Any, keys: Any, factor_keys: Any, bounds: Any, out: Any) -> None:
        _ = source
        draws = np.empty((AT_ONCE, _TILE), np.uint32)
        factors = np.empty((_TILE, 2), np.uint64)
        starts, lengths = np.empty(AT_ONCE, np.uint64), np.empty(AT_ONCE, np.uint64)
        blocks = (len(out) + 3) // 4  # of each segment's draws
        for first in range(0, len(out), _TILE):
            rows = min(_TILE, len(out) - first)
            groups = (rows + 4 * _GROUP - 1) // (4 * _GROUP)
            out[first : first + rows] = 0
            # Segments with factors come first, and are multiplied when all of them are added up.
            for turn in range(0, SEGMENTS, AT_ONCE):
                segment = (turn + FACTORED_FROM) % SEGMENTS
                if segment == 0:
                    factor_groups = (rows + _GROUP - 1) // _GROUP
                    to = factors.ctypes.data
                    count_up(factor_keys.ctypes.data, 0, first, to, factor_groups, lanes)
                    scale_rows(
                        own[first:].ctypes.data,
                        factors.ctypes.data,
                        out[first:].ctypes.data,
                        rows // 4,
                        columns,
                        lanes,
                    )
                for at in range(AT_ONCE):
                    begin, end = bounds[segment + at], bounds[segment + at + 1]
                    starts[at], lengths[at] = mixed[begin:].ctypes.data, end - begin
                    block = (segment + at) * blocks + first // 4
                    count_up(keys.ctypes.data, 0, block, draws[at].ctypes.data, groups, lanes)
                add_rows(
                    out[first:].ctypes.data,
                    draws.ctypes.data,
                    _TILE,
                    starts.ctypes.data,
                    lengths.ctypes.data,
                    rows,
                    columns,
                    lanes,
                )

    return mix, scatter


class BlockKernels:
    """The kernels for processors whose AES and products take some blocks at once."""

    def __init__(self, lanes: int) -> None:
        """Load or compile them for 1, 2 or 4 blocks: not more than `host_lanes()` says."""
        source = code_fingerprint(blocks_code, blocks_loops)
        self._expand, self._multiply, *others = _loops(lanes, source)
        self._encrypt, self._hash, self._count = others
        self._code = [_code_loops(lanes, columns, source) for columns in (1, 2)]

    def multiply(self, a: Blocks, b: Blocks) -> Blocks:
        """Return what `psi.kernels.blocks.multiply` returns."""
        if len(a) == 1:
            a, b = b, a
        out = np.empty((len(a), 2), np.uint64)
        if len(b) == 1:
            same = np.repeat(b, _VECTOR, axis=0)
            for some, made in _groups(out, a):
                self._multiply(some, same, 0, made)
        else:
            for some, others, made in _groups(out, a, b):
                self._multiply(some, others, 1, made)
        return out

    def encrypt(self, key: bytes, blocks: Blocks) -> Blocks:
        """Return what `psi.kernels.blocks.encrypt` returns."""
        keys, out = self._keys(key), np.empty((len(blocks), 2), np.uint64)
        for some, made in _groups(out, blocks):
            self._encrypt(keys, some, made)
        return out

    def counter_blocks(self, key: bytes, count: int, first: int = 0) -> Blocks:
        """Return what `psi.kernels.blocks.counter_blocks` returns."""
        high, low = divmod(first, 1 << 64)
        here = min(count, (1 << 64) - low)  # then the high word counts
        keys, out = self._keys(key), np.empty((count, 2), np.uint64)
        for made in _groups(out[:here]):
            self._count(keys, np.uint64(high), np.uint64(low), made[0])
            low = (low + len(made[0])) % (1 << 64)
        if here < count:
            out[here:] = self.counter_blocks(key, count - here, (high + 1) % (1 << 64) << 64)
        return out

    def hash_blocks(self, blocks: Blocks, key: bytes) -> Blocks:
        """Return what `psi.kernels.blocks.hash_blocks` returns; the key is its fixed one."""
        keys, out = self._keys(key), np.empty((len(blocks), 2), np.uint64)
        for some, made in _groups(out, blocks):
            self._hash(keys, some, made)
        return out

    def encode(self, vectors: NDArray[np.uint64], seed: bytes) -> NDArray[np.uint64]:
        """Return what `psi.kernels.blocks.encode` returns."""
        rows = len(vectors) // 2
        if rows < SEGMENTS:  # some would be empty
            return blocks_portable.encode(vectors, seed)
        draws = CodeDraws(seed, rows, self.counter_blocks)
        own, given = vectors[:rows], vectors[rows:]
        if rows % 4:
            none = np.zeros((-rows % 4, *given.shape[1:]), np.uint64)
            own, given = np.concatenate([own, none]), np.concatenate([given, none])
        mixed, out = np.empty_like(given), np.empty_like(own)
        taps, diagonal, indices, factors = map(self._keys, draws.keys)
        mix, scatter = self._code[vectors.shape[1] - 1]
        mix(given, taps, diagonal, mixed)
        scatter(own, mixed, indices, factors, draws.bounds, out)
        return out[:rows]

    def _keys(self, key: bytes) -> NDArray[np.uint64]:
        keys = np.empty((11, 2), np.uint64)
        self._expand(np.frombuffer(key, np.uint8), keys)
        return keys


@functools.cache
def kernels_for(lanes: int) -> BlockKernels:
    """Return the kernels for a width, once."""
    return BlockKernels(lanes)


def _groups(out: Blocks, *given: Blocks) -> Iterator[tuple[Blocks, ...]]:
    """Yield whole groups of what is given and of the results; then the rest, filled up by zeros."""
    whole = len(out) - len(out) % _GROUP
    if whole:
        yield (*(blocks[:whole] for blocks in given), out[:whole])
    if rest := len(out) - whole:
        filled = np.zeros((len(given) + 1, _GROUP, 2), np.uint64)
        for blocks, space in zip(given, filled, strict=False):
            space[:rest] = blocks[whole:]
        yield tuple(filled)
        out[whole:] = filled[-1, :rest]
