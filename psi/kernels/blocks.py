"""Blocks: elements of GF(2^128), AES-128 and a linear code, for vector OLE.

A block is 16 bytes, two little-endian words. As an element of GF(2)[x]/(x^128 + x^7 + x^2 + x + 1)
bit i of the first word is the coefficient of x^i, bit i of the second that of x^(64 + i); a sum is
`^`. AES takes the 16 bytes as they lie in memory.

All of it is computed by the processor's AES and products without carry where it has them (x86-64)
and numba is installed; else by numpy and OpenSSL. Both ways give the same bytes.

Time and memory accesses: no branch and no address depends on a block or on a key. Products without
the processor's instruction are integer products and masks, with no table. The code reads rows in an
order that its seed decides, which both sides know. OpenSSL's AES has neither where the processor
has AES or vector instructions. What LLVM and numpy make of it is not promised, and memory is not
wiped.
"""

import sys
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from psi.kernels import blocks_portable, fast_available

__all__ = [
    "FAST_FROM",
    "Blocks",
    "counter_blocks",
    "encode",
    "encrypt",
    "hash_blocks",
    "load",
    "multiply",
]

Blocks = NDArray[np.uint64]  # shape (n, 2)

FAST_FROM = 1 << 18  # below, loading compiled code, once in a process, costs more than it saves
_KEY_BYTES = 16
# The first 128 binary digits of pi after the point: a key that nobody chose.
_HASH_KEY = bytes.fromhex("243f6a8885a308d313198a2e03707344")


def multiply(a: Blocks, b: Blocks) -> Blocks:
    """Return the product of each pair of elements; a single one is multiplied with every other.

    Raises:
        ValueError: Neither is a single one and their numbers differ.
    """
    a, b = _blocks(a), _blocks(b)
    if len(a) != len(b) and 1 not in (len(a), len(b)):
        raise ValueError("as many factors on both sides, or a single one")
    return _way(max(len(a), len(b))).multiply(a, b)


def encrypt(key: bytes, blocks: Blocks) -> Blocks:
    """Return AES-128 of each block."""
    return _way(len(blocks)).encrypt(_sixteen(key), _blocks(blocks))


def counter_blocks(key: bytes, count: int, first: int = 0) -> Blocks:
    """Return AES-128 of the numbers from `first` on, 16 bytes big-endian each: CTR's key stream."""
    return _way(count).counter_blocks(_sixteen(key), count, first)


def hash_blocks(blocks: Blocks) -> Blocks:
    """Return the circular correlation robust hash of each block.

    H(x) = π(s(x)) ^ s(x), where s(l, r) = (l ^ r, l) for the two words of a block and π is AES-128
    under a fixed key that all know, modelled as a random permutation (Guo, Katz, Wang and Yu,
    ePrint 2019/074, section 7.3).
    """
    return _way(len(blocks)).hash_blocks(_blocks(blocks), _HASH_KEY)


def encode(vectors: NDArray[np.uint64], seed: bytes) -> NDArray[np.uint64]:
    """Return the code of vectors of field elements, half as long: e[:m] + (B + F·B')·D·A·e[m:].

    A is a convolution that changes with the row, z_i = x_i + z_{i-25} + the sum of drawn ones of
    z_{i-24} to z_{i-1} (expand-convolute codes, ePrint 2023/882); D multiplies each row with an
    element drawn for it, and so does F; B adds to each row one drawn row of each of the first 12 of
    21 equal segments, B' of the other 9. Rows before the first are zero. docs/psi-vole.md says what
    each of them is for.

    Args:
        vectors: One vector or two beside each other, shape (2 · m, k, 2): all go through one code.
        seed: 16 bytes that decide on the code: both sides know them.

    Returns:
        Shape (m, k, 2).

    Raises:
        ValueError: The shape is another one.
    """
    given = np.require(vectors, np.uint64, ["C", "A"])
    if given.ndim != 3 or len(given) % 2 or given.shape[1] not in (1, 2) or given.shape[2] != 2:
        raise ValueError("an even number of rows of one or two blocks")
    return _way(len(given)).encode(given, _sixteen(seed))


def load() -> None:
    """Load or compile what this processor can do now, so that later measurements do not."""
    _way(FAST_FROM)


class _Kernels(Protocol):
    def multiply(self, a: Blocks, b: Blocks) -> Blocks: ...
    def encrypt(self, key: bytes, blocks: Blocks) -> Blocks: ...
    def counter_blocks(self, key: bytes, count: int, first: int = 0) -> Blocks: ...
    def hash_blocks(self, blocks: Blocks, key: bytes) -> Blocks: ...
    def encode(self, vectors: NDArray[np.uint64], seed: bytes) -> NDArray[np.uint64]: ...


def _way(size: int) -> _Kernels:
    """Return the compiled kernels, or the portable ones for small sizes and other processors."""
    loaded = "psi.kernels.blocks_fast" in sys.modules
    if (loaded or size >= FAST_FROM) and fast_available():
        from psi.kernels import blocks_code, blocks_fast

        if lanes := blocks_code.host_lanes():
            return blocks_fast.kernels_for(lanes)
    return cast("_Kernels", blocks_portable)


def _blocks(blocks: Blocks) -> Blocks:
    given = np.require(blocks, np.uint64, ["C", "A"])
    if given.ndim != 2 or given.shape[1] != 2:
        raise ValueError("a block is two words: shape (n, 2)")
    return given


def _sixteen(key: bytes) -> bytes:
    if len(key) != _KEY_BYTES:
        raise ValueError(f"a key has {_KEY_BYTES} bytes")
    return key
