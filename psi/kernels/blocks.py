"""Blocks: elements of GF(2^128), AES-128 and a linear code, for vector OLE.

A block is 16 bytes, two little-endian words. As an element of GF(2)[x]/(x^128 + x^7 + x^2 + x + 1)
bit i of the first word is the coefficient of x^i, bit i of the second that of x^(64 + i); a sum is
`^`. AES takes the 16 bytes as they lie in memory.
"""

import numpy as np
from numpy.typing import NDArray

from psi.kernels import blocks_portable as portable

__all__ = [
    "Blocks",
    "counter_blocks",
    "encode",
    "encrypt",
    "hash_blocks",
    "inner_product",
    "multiply",
]

Blocks = NDArray[np.uint64]  # shape (n, 2)

# The first 128 binary digits of pi after the point: a key that nobody chose.
_HASH_KEY = bytes.fromhex("243f6a8885a308d313198a2e03707344")


def multiply(a: Blocks, b: Blocks) -> Blocks:
    """Return the product of each pair of elements; a single one is multiplied with every other."""
    return portable.multiply(a, b)


def inner_product(a: Blocks, b: Blocks) -> Blocks:
    """Return the sum of the products of pairs of elements: shape (1, 2)."""
    return portable.inner_product(a, b)


def encrypt(key: bytes, blocks: Blocks) -> Blocks:
    """Return AES-128 of each block."""
    return portable.encrypt(key, blocks)


def counter_blocks(key: bytes, count: int, first: int = 0) -> Blocks:
    """Return AES-128 of the numbers from `first` on, 16 bytes big-endian each: CTR's key stream."""
    return portable.counter_blocks(key, count, first)


def hash_blocks(blocks: Blocks) -> Blocks:
    """Return the circular correlation robust hash of each block.

    H(x) = π(s(x)) ^ s(x), where s(l, r) = (l ^ r, l) for the two words of a block and π is AES-128
    under a fixed key that all know, modelled as a random permutation (Guo, Katz, Wang and Yu, IEEE
    S&P 2020, section 7.3).
    """
    return portable.hash_blocks(blocks, _HASH_KEY)


def encode(vectors: NDArray[np.uint64], seed: bytes) -> NDArray[np.uint64]:
    """Return the code of vectors of field elements, which is half as long: e[:m] + B·D·A·e[m:].

    A is a convolution that changes with the row, z_i = x_i + z_{i-25} + the sum of drawn ones of
    z_{i-24} to z_{i-1} (expand-convolute codes, ePrint 2023/882); D multiplies each row with an
    element drawn for it; B adds to each row one drawn row of each of 21 equal segments. Rows before
    the first are zero.

    Args:
        vectors: Vectors beside each other, shape (2 · m, k, 2); all go through one code.
        seed: 16 bytes that decide on the code: both sides know them.

    Returns:
        Shape (m, k, 2).
    """
    return portable.encode(vectors, seed)
