"""The two decisions of a discrete Gaussian draw, for many draws at once.

What they are for is in `privfed.dp.discrete`. Each says which draws float64 does not decide.
`privfed.dp.proposals_compiled` does the same operations in the same order, so that its bits are
these.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ATANH", "LN2", "attempt", "exponent", "exponential", "judge", "propose", "settle"]

LN2 = 0.6931471805599453
ATANH = tuple(1 / (2 * k + 1) for k in range(10))  # atanh(z)/z as a polynomial in z²

Words = NDArray[np.uint64]
Floats = NDArray[np.float64]
Places = NDArray[np.intp]


def attempt(
    words: Words,
    sigma: float,
    digits: int,
    slack: float,
    pending: Places,
    fraction: Floats,
    out: NDArray[np.int64],
) -> Places | None:
    """Propose and judge once for each pending place.

    Args:
        words: Two a place: of all first decisions, then of all second ones.
        sigma: The standard deviation.
        digits: How many digits of a uniform a word has.
        slack: Over all rounding errors.
        pending: Places that have no draw yet.
        fraction: What lies around, at every place.
        out: Draws; what is accepted is written.

    Returns:
        What is still pending; None, with nothing that counts written, where float64 does not decide
        a draw.
    """
    first, second = words.reshape(2, -1)
    magnitude, undecided = propose(first, sigma, digits, slack)
    if len(undecided):
        return None
    around = fraction[pending]
    accepted, undecided = judge(second, first, magnitude, around, sigma, digits, slack)
    if len(undecided):
        return None
    return settle(pending, accepted, first, magnitude, out)


def propose(words: Words, sigma: float, digits: int, slack: float) -> tuple[Floats, Places]:
    """Return |y| = ⌊σ E₁⌋ for each word of E₁'s digits, and the places where it is undecided."""
    value, error = exponential(words, digits, slack)
    magnitude = np.floor(sigma * (value - error))
    return magnitude, np.flatnonzero(magnitude != np.floor(sigma * (value + error)))


def judge(
    words: Words,
    signs: Words,
    magnitude: Floats,
    fraction: Floats,
    sigma: float,
    digits: int,
    slack: float,
) -> tuple[NDArray[np.bool_], Places]:
    """Return whether each proposal is accepted, E₂ > γ, and the places where it is undecided."""
    positive = (signs & np.uint64(1)).astype(np.bool_)
    toward = np.where(positive, fraction, -fraction)  # s·f
    value, error = exponential(words, digits, slack)
    gamma = exponent(magnitude, toward, np.float64(sigma))
    accepted = (value > gamma) & (positive | (magnitude > 0))
    return accepted, np.flatnonzero(np.abs(value - gamma) <= error)


def settle(
    pending: Places,
    accepted: NDArray[np.bool_],
    signs: Words,
    magnitude: Floats,
    offset: NDArray[np.int64],
) -> Places:
    """Write the accepted proposals into `offset`; return the places that are still pending."""
    signed = np.where((signs & np.uint64(1)).astype(np.bool_), magnitude, -magnitude)
    offset[pending[accepted]] = signed[accepted].astype(np.int64)
    return pending[~accepted]


def exponential(words: Words, digits: int, slack: float) -> tuple[Floats, Floats]:
    """Return value and error: −ln u lies within value ± error, whatever u's digits after the word.

    Only operations that IEEE 754 rounds to within u = 2^-53 are used, so the errors add up. The
    digits as an integer w = 2^e·m, m in [√½, √2], ln w = e·ln 2 + 2 atanh z, z = (m − 1)/(m + 1):
    w to float u; z and |2z| ≤ 0.35 times the series 2u, cut off below u/10; ln 2 to float, times
    up to 63 and rounded, 58u; the last difference, below 44, 44u. `value` is within 110u.
    What is done with it adds, for |y|, E ± error and σ·E: 150u; for E₂ > γ, with
    g = (|y| − s f)/σ − 1, (6g² + 2)u of γ and 64u: 900u as long as g² ≤ 128, and else γ > 63 > E
    decides. All below 1100u; the slack is 2048u.
    """
    drawn = words >> np.uint64(64 - digits)
    number = np.maximum(drawn, np.uint64(1)).astype(np.float64)
    mantissa, power = np.frexp(number)
    low = mantissa < math.sqrt(0.5)
    mantissa[low] *= 2
    power -= low
    z = (mantissa - 1) / (mantissa + 1)
    square = z * z
    series = np.full_like(z, ATANH[-1])
    for coefficient in reversed(ATANH[:-1]):
        series *= square
        series += coefficient
    value = (digits - power) * LN2 - 2 * z * series
    error = slack + 1 / number  # the digits not drawn yet lower E by ln((w + 1)/w) at most
    error[drawn == 0] = np.inf
    return value, error


def exponent(magnitude: Any, toward: Any, sigma: Any) -> Any:
    """Return γ, of float64 arrays or of fractions."""
    g = (magnitude - toward) / sigma - 1
    return g * g / 2 + (abs(toward) - toward) / sigma
