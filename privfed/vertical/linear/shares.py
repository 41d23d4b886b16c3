"""Arithmetic modulo t on shares: numbers below t in 64-bit words, exact products with matrices."""

import numpy as np
from numpy.typing import NDArray

from privfed.he.ring import PLAIN_MODULUS

__all__ = ["Residues", "matrix_product", "negative", "plus", "residues", "times"]

Residues = NDArray[np.uint64]

_T = np.uint64(PLAIN_MODULUS)
_EXACT_BITS = 53  # of integers in doubles


def residues(numbers: NDArray[np.int64]) -> Residues:
    """Return integers of either sign, below t in size, mod t."""
    return np.where(numbers < 0, numbers + PLAIN_MODULUS, numbers).astype(np.uint64)


def plus(one: Residues, other: Residues) -> Residues:
    """Return the sum mod t."""
    total = one + other
    # Where it is below t, subtracting wraps to a huge number.
    reduced: Residues = np.minimum(total, total - _T)
    return reduced


def negative(one: Residues) -> Residues:
    """Return what adds up to 0."""
    return plus(_T - one, np.zeros_like(one))


def times(one: Residues, factor: int) -> Residues:
    """Return a multiple mod t; `factor` is a small integer of either sign, below 2^14."""
    product = (one * np.uint64(abs(factor))) % _T
    return negative(product) if factor < 0 else product


def matrix_product(matrix: NDArray[np.float64], vector: Residues) -> Residues:
    """Return matrix @ vector mod t, exactly.

    Args:
        matrix: Integers in doubles, shape (m, n).
        vector: Residues, shape (n,).
    """
    if not matrix.size:
        return np.zeros(len(matrix), np.uint64)
    largest = int(np.abs(matrix).max())
    spare = _EXACT_BITS - 1 - largest.bit_length() - matrix.shape[1].bit_length()
    total = np.zeros(len(matrix), np.uint64)
    for low in reversed(range(0, PLAIN_MODULUS.bit_length(), spare)):
        limb = (vector >> np.uint64(low)) & np.uint64((1 << spare) - 1)
        # Not `@`: BLAS threads that wait for each other in each of many small products cost more
        # processor time than all of these products.
        product = np.einsum("ij,j->i", matrix, limb.astype(np.float64))
        part = residues(np.fmod(product, PLAIN_MODULUS).astype(np.int64))
        total = plus(_shifted(total, spare), part)
    return total


def _shifted(one: Residues, bits: int) -> Residues:
    while bits:
        step = min(bits, 64 - PLAIN_MODULUS.bit_length())
        one = (one << np.uint64(step)) % _T
        bits -= step
    return one
