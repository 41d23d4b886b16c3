"""The ring that trees add up in, and how wide its answers are flooded.

All answers of a plan are within `DISTANCE` of ones that say nothing of noise, for a reader that
draws its errors as it ought to: half of it for noise past its tail, half for the flood
(`privfed.he.ring.floods`). The ring has two primes; t = 2^T is small, so that an answer keeps one.
"""

from fractions import Fraction
from functools import lru_cache

from privfed.errors import CapacityError
from privfed.he.ring import PRIMES, Ring, bounds, floods

__all__ = ["DISTANCE", "TREES_DEGREE", "TREES_PRIMES", "flood_bits", "kept_primes", "trees_ring"]

DISTANCE = Fraction(1, 1 << 40)
TREES_DEGREE = 4096
TREES_PRIMES = PRIMES[:2]  # 100 bits; 109 are secure at this degree
_ONE_PRIME_BITS = 36  # up to there what dropping a prime adds fits the other


@lru_cache(maxsize=16)
def trees_ring(plain_bits: int) -> Ring:
    """Return the ring with t = 2^plain_bits."""
    return Ring(TREES_DEGREE, TREES_PRIMES, 1 << plain_bits)


def kept_primes(plain_bits: int) -> int:
    """Return how many primes an answer has when it travels."""
    return 1 if plain_bits <= _ONE_PRIME_BITS else len(TREES_PRIMES)


def flood_bits(least: int, row_sum: int, plain_bits: int) -> int:
    """Return how wide each of a flood's summands is: as the ring has room for, which costs nothing.

    Args:
        least: How wide each must be.
        row_sum: The most that an answer's entries sum to.
        plain_bits: T.

    Raises:
        CapacityError: There is no room for the least.
    """
    if not _fits(least, row_sum, plain_bits):
        raise CapacityError(
            f"four floods of {least} bits do not fit beside t of {plain_bits}: take fewer trees, "
            "rows, splits or predictions"
        )
    bits = least
    while _fits(bits + 1, row_sum, plain_bits):
        bits += 1
    return bits


def _fits(bits: int, row_sum: int, plain_bits: int) -> bool:
    try:
        bounds.check_capacity(
            row_sum,
            bits,
            primes=len(TREES_PRIMES),
            kept_primes=kept_primes(plain_bits),
            summands=floods.SUMMANDS,
            ring=trees_ring(plain_bits),
        )
    except CapacityError:
        return False
    return True
