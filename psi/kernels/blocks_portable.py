"""The kernels of `psi.kernels.blocks` without numba, by numpy, OpenSSL and Python's integers."""

import math
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from numpy.typing import NDArray

from psi.kernels.code_draws import FACTORED_FROM, FIXED_TAP, TAPS, CodeDraws

__all__ = [
    "counter_blocks",
    "encode",
    "encrypt",
    "hash_blocks",
    "multiply",
]

Blocks = NDArray[np.uint64]

_CHUNK = 4096  # blocks: what is computed with stays in the processor's cache
_CLASSES = [np.uint64(0x1111111111111111 << shift) for shift in range(4)]
_SWAPS = [
    (np.uint64(width), np.uint64(mask))
    for width, mask in ((4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333), (1, 0x5555555555555555))
]


def multiply(a: Blocks, b: Blocks) -> Blocks:
    """Return what `psi.kernels.blocks.multiply` returns."""
    count = max(len(a), len(b)) if len(a) and len(b) else 0
    out = np.empty((count, 2), np.uint64)
    for start in range(0, count, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        out[chunk] = _reduced(_products(_chunk(a, chunk), _chunk(b, chunk))).T
    return out


def encrypt(key: bytes, blocks: Blocks) -> Blocks:
    """Return what `psi.kernels.blocks.encrypt` returns."""
    # ECB of single blocks is AES itself, which is wanted here.
    return _updated(Cipher(algorithms.AES(key), modes.ECB()).encryptor(), blocks)  # noqa: S305


def counter_blocks(key: bytes, count: int, first: int = 0) -> Blocks:
    """Return what `psi.kernels.blocks.counter_blocks` returns."""
    stream = Cipher(algorithms.AES(key), modes.CTR(first.to_bytes(16))).encryptor()
    return _updated(stream, np.zeros((count, 2), np.uint64))


def hash_blocks(blocks: Blocks, key: bytes) -> Blocks:
    """Return what `psi.kernels.blocks.hash_blocks` returns; the key is its fixed one."""
    spread = np.empty(blocks.shape, np.uint64)
    np.bitwise_xor(blocks[:, 0], blocks[:, 1], out=spread[:, 0])
    spread[:, 1] = blocks[:, 0]
    hashed = encrypt(key, spread)
    hashed ^= spread
    return hashed


def encode(vectors: NDArray[np.uint64], seed: bytes) -> NDArray[np.uint64]:
    """Return what `psi.kernels.blocks.encode` returns."""
    rows, columns = len(vectors) // 2, vectors.shape[1]
    draws = CodeDraws(seed, rows, counter_blocks)
    mixed = _convolved(vectors[rows:], draws.taps())
    diagonal, factors = draws.diagonal(), draws.factors()
    for column in range(columns):
        mixed[:, column] = multiply(mixed[:, column], diagonal)
    segments = np.flatnonzero(np.diff(draws.bounds))  # those that are not empty
    out = np.zeros_like(vectors[:rows])
    for segment in segments[segments >= FACTORED_FROM].tolist():
        out ^= np.take(mixed, draws.indices(segment), axis=0)
    for column in range(columns):
        out[:, column] = multiply(out[:, column], factors)
    out ^= vectors[:rows]
    for segment in segments[segments < FACTORED_FROM].tolist():
        out ^= np.take(mixed, draws.indices(segment), axis=0)
    return out


def _convolved(vectors: NDArray[np.uint64], taps: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Return the convolution of vectors, by many stretches of rows at once.

    First each stretch goes as if the rows before it were zero, and a plane beside it notes which of
    them would be added where. That gives what stands before each stretch; then all go once more.
    """
    rows, width = len(vectors), 2 * vectors.shape[1]
    steps = max(1, math.isqrt(rows // 2))  # a step costs twice what a stretch does
    stretches = -(-rows // steps)
    padded = np.zeros((steps * stretches, width + 1), np.uint64)
    padded[:rows, :width] = vectors.reshape(rows, width)
    padded[:rows, width] = taps
    values = padded.reshape(stretches, steps, width + 1).transpose(1, 2, 0)
    chosen = values[:, width].astype(np.uint32)

    planes = np.zeros((FIXED_TAP + steps, width + 1, stretches), np.uint64)
    planes[FIXED_TAP:, :width] = values[:, :width]
    planes[:FIXED_TAP, width] = np.uint64(1) << np.arange(FIXED_TAP, dtype=np.uint64)[:, None]
    _step(planes, chosen)
    last = planes[-FIXED_TAP:]
    added = _masks(last[:, width].T, FIXED_TAP)  # by the row before, by stretch and row
    before = np.zeros((stretches, FIXED_TAP, width), np.uint64)
    for stretch in range(1, stretches):
        sums = added[:, stretch - 1, :, None] & before[stretch - 1, :, None]
        before[stretch] = last[:, :width, stretch - 1] ^ np.bitwise_xor.reduce(sums, axis=0)

    planes = np.empty((FIXED_TAP + steps, width, stretches), np.uint64)
    planes[:FIXED_TAP] = before.transpose(1, 2, 0)
    planes[FIXED_TAP:] = values[:, :width]
    _step(planes, chosen)
    out = np.ascontiguousarray(planes[FIXED_TAP:].transpose(2, 0, 1))
    return out.reshape(-1, *vectors.shape[1:])[:rows]


def _step(planes: NDArray[np.uint64], taps: NDArray[np.uint32]) -> None:
    """Add to rows those before them; planes are by row, word and stretch, taps by row, stretch."""
    for step, bits in enumerate(taps):
        some = planes[step + 1 : step + FIXED_TAP] & _masks(bits, TAPS)[:, None]
        planes[FIXED_TAP + step] ^= planes[step] ^ np.bitwise_xor.reduce(some, axis=0)


def _masks(numbers: NDArray[Any], bits: int) -> NDArray[np.uint64]:
    """Return for each bit, first axis, and each number all ones or all zeros."""
    shifts = np.arange(bits, dtype=numbers.dtype).reshape(-1, *[1] * numbers.ndim)
    ones: NDArray[np.uint64] = ((numbers >> shifts) & numbers.dtype.type(1)).astype(np.uint64)
    return np.negative(ones)


def _chunk(blocks: Blocks, chunk: slice) -> Blocks:
    return blocks if len(blocks) == 1 else blocks[chunk]


def _products(a: Blocks, b: Blocks) -> NDArray[np.uint64]:
    """Return unreduced products, four words each by Karatsuba and Ofman: shape (4, n)."""
    halves = [(one[:, 0], one[:, 1], one[:, 0] ^ one[:, 1]) for one in (a, b)]
    low, high, both = (_Factor(x).times(_Factor(y)) for x, y in zip(*halves, strict=True))
    out = np.empty((4, len(low[0])), np.uint64)
    crossed = low[1] ^ high[0]
    out[0], out[3] = low[0], high[1]
    out[1] = both[0] ^ low[0] ^ crossed
    out[2] = both[1] ^ high[1] ^ crossed
    return out


class _Factor:
    """Words and their reversals by the bits' places modulo 4, so that no carry meets a bit."""

    def __init__(self, words: NDArray[np.uint64]) -> None:
        self.parts = [
            [one & places for places in _CLASSES]
            for one in (np.ascontiguousarray(words), _reversed(words))
        ]

    def times(self, other: "_Factor") -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the low and the high words of products over GF(2)."""
        low, mirrored = map(_low, self.parts, other.parts)
        return low, _reversed(mirrored) >> np.uint64(1)


def _low(x: list[NDArray[np.uint64]], y: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return the low words of products over GF(2), by products of integers with holes in them.

    No place of these gets more than 16 ones: their carries end below the next place of its class.
    """
    total: Any = None
    for place in range(4):
        part = x[0] * y[place]
        for index in range(1, 4):
            part = part ^ x[index] * y[(place - index) % 4]
        part &= _CLASSES[place]
        total = part if total is None else total | part
    return np.asarray(total, np.uint64)


def _reversed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return words with their bits in reverse order."""
    turned = words.byteswap()
    for width, mask in _SWAPS:
        turned = ((turned >> width) & mask) | ((turned & mask) << width)
    return turned


def _reduced(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return products modulo x^128 + x^7 + x^2 + x + 1: from shape (4, n) to (2, n)."""
    words = words.copy()
    for index in (3, 2):
        high = words[index]
        for shift in (0, 1, 2, 7):
            words[index - 2] ^= high << np.uint64(shift)
            if shift:
                words[index - 1] ^= high >> np.uint64(64 - shift)
    return words[:2]


def _updated(context: CipherContext, blocks: Blocks) -> Blocks:
    made = context.update(np.ascontiguousarray(blocks).tobytes())
    return np.frombuffer(bytearray(made), np.uint64).reshape(-1, 2)
