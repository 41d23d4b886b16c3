"""The ring in plain integers: what the compiled one is checked against."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.he.ring import PLAIN_MODULUS, PRIMES
from privfed.he.ring.parameters import Ring

Integers = NDArray[Any]  # of Python's integers

# The product's primes and t are 1 mod twice any smaller power of two, too. Too small to be secure.
SMALL = Ring(64, PRIMES, PLAIN_MODULUS)
ODD = Ring(128, PRIMES, PLAIN_MODULUS)  # rows and columns differ
MIDDLE = Ring(1024, PRIMES, PLAIN_MODULUS)
EVEN = Ring(64, PRIMES, 1 << 24)  # without slots


def multiplied(one: Sequence[Any] | Integers, other: Sequence[Any] | Integers) -> Integers:
    """The product of two polynomials mod x^N + 1."""
    degree = len(one)
    total = np.zeros(2 * degree, object)
    for place, factor in enumerate(one):
        total[place : place + degree] += int(factor) * np.array(
            [int(each) for each in other], object
        )
    return np.asarray(total[:degree] - total[degree:])


def centred(number: Any, modulus: int) -> Any:
    """The integer nearest to 0 that is this one mod a modulus."""
    return (number + modulus // 2) % modulus - modulus // 2


def composed(residues: NDArray[Any], primes: Sequence[int]) -> Integers:
    """The centred numbers that have these residues (primes, coefficients)."""
    modulus = math.prod(primes)
    total: Any = 0
    for row, prime in zip(residues, primes, strict=True):
        rest = modulus // prime
        words = np.array([int(each) for each in row], object)
        total = total + words * (rest * pow(rest, -1, prime))
    return np.asarray(centred(total, modulus))


def packed(words: NDArray[Any]) -> bytes:
    """Residues (…, coefficients) as they travel: planes of bytes, then two bits of each."""
    pieces = []
    for row in words.reshape(-1, words.shape[-1]).astype(np.uint64):
        pieces += [(row >> np.uint64(8 * plane)).astype(np.uint8).tobytes() for plane in range(6)]
        pairs = [int(word) >> 48 for word in row] + [0] * (-len(row) % 4)
        pieces.append(
            bytes(
                sum(pairs[start + place] << 2 * place for place in range(4))
                for start in range(0, len(pairs), 4)
            )
        )
    return b"".join(pieces)
