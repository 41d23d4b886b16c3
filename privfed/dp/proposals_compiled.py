"""`privfed.dp.proposals` compiled by numba: its operations in its order, so equal bits.

No fast-math, and LLVM makes one rounding of a product and a sum only where it is told to: each
operation rounds as IEEE 754 says, like numpy's. A lane of a SIMD register is a draw.
"""

import math
from typing import Any

import numpy as np
from numba import float64, int64
from numba.extending import register_jitable
from numpy.typing import NDArray

from privfed.dp.proposals import ATANH, LN2
from psi.compiled.compiling import array, compiled

__all__ = ["attempt", "judge", "propose"]

_WORDS, _FLOATS = array("uint64", 1), array("float64", 1)
_OUT = array("float64", 1, write=True)
_FLAGS, _FLAGS_OUT = array("bool_", 1), array("bool_", 1, write=True)
_PLACES, _PLACES_OUT = array("int64", 1), array("int64", 1, write=True)

_BLOCK = 2**11  # draws at once, whose numbers the first cache holds
_ROOT_HALF = math.sqrt(0.5)
_FRACTION, _BELOW_ONE = 2**52 - 1, 1022 << 52  # of a float64's bits: digits; exponent of [½, 1)
_A0, _A1, _A2, _A3, _A4, _A5, _A6, _A7, _A8, _A9 = ATANH


@register_jitable(inline="always")
def _exponential(word: Any, digits: Any, slack: Any) -> Any:
    drawn = word >> np.uint64(64 - digits)
    number = np.float64(np.int64(max(drawn, np.uint64(1))))
    bits = np.int64(number.view(np.int64))
    mantissa = np.int64((bits & _FRACTION) | _BELOW_ONE).view(np.float64)
    low = mantissa < _ROOT_HALF
    mantissa = mantissa * 2.0 if low else mantissa
    power = np.int32((bits >> 52) - 1022 - np.int64(low))
    z = (mantissa - 1.0) / (mantissa + 1.0)
    square = z * z
    series = _A9 * square + _A8
    series = series * square + _A7
    series = series * square + _A6
    series = series * square + _A5
    series = series * square + _A4
    series = series * square + _A3
    series = series * square + _A2
    series = series * square + _A1
    series = series * square + _A0
    value = np.float64(np.int32(digits) - power) * LN2 - 2.0 * z * series
    error = slack + 1.0 / number
    return value, np.inf if drawn == np.uint64(0) else error


@compiled(_WORDS, float64, int64, float64, _OUT, _FLAGS_OUT, result=int64, error_model="numpy")
def _propose(
    words: Any, sigma: Any, digits: Any, slack: Any, magnitude: Any, undecided: Any
) -> Any:
    for i in range(len(words)):
        value, error = _exponential(words[i], digits, slack)
        least = np.floor(sigma * (value - error))
        magnitude[i] = least
        undecided[i] = least != np.floor(sigma * (value + error))
    count = 0  # in a loop of its own, for the first to stay in SIMD registers
    for i in range(len(words)):
        count += undecided[i]
    return count


@compiled(
    *(_WORDS, _WORDS, _FLOATS, _FLOATS, float64, int64, float64, _FLAGS_OUT, _FLAGS_OUT),
    result=int64,
    error_model="numpy",
)
def _judge(
    words: Any,
    signs: Any,
    magnitude: Any,
    fraction: Any,
    sigma: Any,
    digits: Any,
    slack: Any,
    accepted: Any,
    undecided: Any,
) -> Any:
    for i in range(len(words)):
        positive = (signs[i] & np.uint64(1)) != 0
        toward = fraction[i] if positive else -fraction[i]
        value, error = _exponential(words[i], digits, slack)
        g = (magnitude[i] - toward) / sigma - 1.0
        gamma = g * g / 2.0 + (abs(toward) - toward) / sigma
        accepted[i] = (value > gamma) & (positive | (magnitude[i] > 0.0))
        undecided[i] = abs(value - gamma) <= error
    count = 0
    for i in range(len(words)):
        count += undecided[i]
    return count


@compiled(
    *(_WORDS, float64, int64, float64, _PLACES, _FLOATS, array("int64", 1, write=True)),
    _PLACES_OUT,
    result=int64,
    error_model="numpy",
)
def _attempt(
    words: Any,
    sigma: Any,
    digits: Any,
    slack: Any,
    pending: Any,
    fraction: Any,
    out: Any,
    left: Any,
) -> Any:
    count, still = len(pending), 0
    magnitude, around = np.empty(_BLOCK), np.empty(_BLOCK)
    accepted, undecided = np.empty(_BLOCK, np.bool_), np.empty(_BLOCK, np.bool_)
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        first = words[start : start + size]
        second = words[count + start : count + start + size]
        proposed, places = magnitude[:size], pending[start : start + size]
        if _propose(first, sigma, digits, slack, proposed, undecided[:size]):
            return -1
        for i in range(size):
            around[i] = fraction[places[i]]
        if _judge(
            *(second, first, proposed, around[:size], sigma, digits, slack),
            *(accepted[:size], undecided[:size]),
        ):
            return -1
        for i in range(size):
            whole = np.int64(proposed[i])
            out[places[i]] = whole if first[i] & np.uint64(1) else -whole  # the last one stays
            left[still] = places[i]
            still += not accepted[i]
    return still


def attempt(
    words: NDArray[np.uint64],
    sigma: float,
    digits: int,
    slack: float,
    pending: NDArray[np.intp],
    fraction: NDArray[np.float64],
    out: NDArray[np.int64],
) -> NDArray[np.intp] | None:
    """Do what `privfed.dp.proposals.attempt` does."""
    left = np.empty_like(pending)
    count = _attempt(words, sigma, digits, slack, pending, fraction, out, left)
    return None if count < 0 else left[:count]


def propose(
    words: NDArray[np.uint64], sigma: float, digits: int, slack: float
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Do what `privfed.dp.proposals.propose` does."""
    magnitude, undecided = np.empty(len(words)), np.empty(len(words), np.bool_)
    count = _propose(words, sigma, digits, slack, magnitude, undecided)
    return magnitude, _places(undecided, count)


def judge(
    words: NDArray[np.uint64],
    signs: NDArray[np.uint64],
    magnitude: NDArray[np.float64],
    fraction: NDArray[np.float64],
    sigma: float,
    digits: int,
    slack: float,
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Do what `privfed.dp.proposals.judge` does."""
    accepted, undecided = np.empty((2, len(words)), np.bool_)
    count = _judge(words, signs, magnitude, fraction, sigma, digits, slack, accepted, undecided)
    return accepted, _places(undecided, count)


def _places(undecided: NDArray[np.bool_], count: int) -> NDArray[np.intp]:
    return np.flatnonzero(undecided) if count else np.empty(0, np.intp)
