"""The probability that a store cannot be made: that some rows add up to nothing.

Rows depend on each other if those of some s keys add up to zero. In a third of a bin that is where
each slot is taken by an even number of them, with probability p(s, M) for M slots; in the dense
bits with probability 2^-40, whatever lies in other bins. Over all sets of keys in a bin of n, by
the union bound,

    2^-40 · sum over even s of C(n, s) · p(s, M)^3,

and over all bins 2^-40 times the product of (1 + that sum without 2^-40) for each, less 1. The
number of ways in which s balls fall evenly into M slots is s! times the coefficient of x^s in
cosh(x)^M. For few balls that is summed up,

    p(s, M) = 2^-M · sum over j of C(M, j) · ((M - 2j) / M)^s;

for more, it is at most s! · cosh(x)^M / x^s for every x > 0.
"""

import math

import numpy as np
from numpy.typing import NDArray

from psi.keyvalue.sizes import BIN_KEYS, DENSE_BITS, OVERFLOW_BITS, StoreSizes, bin_room

__all__ = ["log2_even", "log2_failure", "most_held"]

_FEW = 40
_LIST_BITS = 40  # more candidates than there are telephone numbers, cards or people
_TRY_BITS = 64  # of a side that draws the store's seed as it likes
_UNLIKELY_BITS = 50  # 2^-40 for each of 2^10 stores together


def log2_even(counts: NDArray[np.int64], third: int) -> NDArray[np.float64]:
    """Return bounds of the probability that each of `third` slots is taken an even number of times.

    Args:
        counts: How many balls there are in all, even and positive.
        third: How many slots there are.

    Returns:
        Logarithms to base 2, each at least that of the probability.
    """
    rate = counts / third
    x = np.maximum(rate, np.sqrt(rate))
    for _ in range(60):  # towards x·tanh(x) = rate, where the bound is least
        x -= (x * np.tanh(x) - rate) / (np.tanh(x) + x / np.cosh(np.minimum(x, 300)) ** 2)
    log_cosh = x + np.log1p(np.exp(-2 * x)) - math.log(2)
    log_factorials = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, counts.max() + 1)))))
    natural = log_factorials[counts] + third * log_cosh - counts * np.log(third * x)
    few = counts <= _FEW
    natural[few] = _few_even(counts[few], third)
    return np.asarray(np.minimum(natural / math.log(2), 0))


def _few_even(counts: NDArray[np.int64], third: int) -> NDArray[np.float64]:
    """Return natural logarithms of p(s, M)."""
    j = np.arange((third + 1) // 2)  # terms j and M - j are equal, and half of an even M gives none
    steps = np.log(third - j[:-1]) - np.log(j[1:])
    log_weights = math.log(2) * (1 - third) + np.concatenate(([0.0], np.cumsum(steps)))
    log_shares = np.log((third - 2 * j) / third)
    return np.array([np.logaddexp.reduce(log_weights + s * log_shares) for s in counts.tolist()])


def log2_failure(keys: int, bin_keys: int = BIN_KEYS) -> float:
    """Return the logarithm to base 2 of the bound for a store of so many keys."""
    sizes = StoreSizes.of(keys, bin_keys)
    room = bin_room(keys, sizes.bins)
    if room < 2:
        return -math.inf
    s = np.arange(2, room + 1, 2)
    log_factorials = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, room + 1)))))
    log_choices = log_factorials[room] - log_factorials[s] - log_factorials[room - s]
    terms = log_choices / math.log(2) + 3 * log2_even(s, sizes.third)
    dependent = float(np.exp2(terms).sum())
    bits = math.log2(math.expm1(sizes.bins * math.log1p(dependent))) - DENSE_BITS
    if sizes.bins == 1:
        return bits
    return math.log2(2.0**bits + 2.0**-OVERFLOW_BITS)  # or a bin holds more than it has room for


def most_held(slots: int) -> int:
    """Return how many keys of a long list a store of so many entries of 16 bytes can have right.

    Whatever its entries are: a store that gives n keys the values of 128 bits that a random
    function has for them exists with probability at most 2^(128·(slots - n)), as values of n keys
    that it can give lie in a space of so many dimensions. Of 2^40 candidates n can be chosen in
    fewer than (2^40 · e / n)^n ways, and places in 2^64. The number is the least n for which this
    is below 2^-50 in all, so that no store of 2^10 holds more with probability 2^-40.
    """
    least, bits = slots, 128 * slots + _TRY_BITS + _UNLIKELY_BITS
    most = 3 * slots + 10
    while least < most:
        middle = (least + most) // 2
        gained = 128 - _LIST_BITS - math.log2(math.e) + math.log2(middle)
        least, most = (least, middle) if middle * gained >= bits else (middle + 1, most)
    return least
