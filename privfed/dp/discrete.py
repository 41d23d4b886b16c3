"""Exact draws from the discrete Gaussian N_Z(c, σ²), whose centre need not be an integer.

Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (arXiv 2004.00010),
algorithm 3: propose from a discrete Laplace distribution, then reject. Here the centre is shifted
by a fraction f in [−1/2, 1/2], and both steps are decisions about exponential variates
E = −ln u, u a uniform whose binary digits are drawn as they are needed:

- |y| = ⌊σ E₁⌋ has Pr[|y| ≥ n] = e^(−n/σ); a random sign s, and (0, −) is rejected;
- accept when E₂ > γ, that is, with probability e^(−γ), where
  γ = (|y| − s f − σ)²/(2σ²) + (|f| − s f)/σ ≥ 0.

Proposal times acceptance is e^(−(y − f)²/(2σ²)) times what depends on f and σ only.

**Exact.** A float64 interval that surely holds E decides all but about σ·10⁻¹² of the draws; those
are decided by rational arithmetic and more digits of u. So the law is the one written above for the
very float64 values c and σ, with no total variation distance to account for.

**What timing may tell.** The number of proposals (1.3 to 1.7 a draw) depends a little on f and the
rare exact decisions on the values; so the time does depend a little on secrets. Somebody who can
measure a party's own computation to the microsecond is outside the threat model.
"""

from __future__ import annotations

import decimal
import functools
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.dp.domination import LEAST_SHARE
from privfed.dp.randomness import NoiseSource
from privfed.errors import ConfigError

__all__ = ["discrete_gaussian"]

_MOST_SPREAD = 2.0**32  # above, too many draws would need rational arithmetic
_FARTHEST = 2.0**50  # centres up to here split exactly into integer and fraction

_DIGITS = 63  # of a uniform in the first word; the word's last bit is the sign
_SLACK = 2.0**-42  # over all rounding errors (see `_exponential`)
_LN2 = 0.6931471805599453
_ATANH = [1 / (2 * k + 1) for k in range(10)]  # atanh(z)/z as a polynomial in z²


def discrete_gaussian(
    centres: NDArray[np.float64], standard_deviation: float, randomness: NoiseSource
) -> NDArray[np.int64]:
    """Draw one integer a centre, with probability proportional to exp(−(x − centre)²/(2σ²)).

    Args:
        centres: Any shape, each at most 2^50 in magnitude, in grid units.
        standard_deviation: σ in grid units, from 4 (for the privacy proof) to 2^32.
        randomness: Where the bits come from.

    Returns:
        Independent integers in the shape of `centres`.

    Raises:
        ConfigError: A value outside its range, or a centre that is NaN or infinite.
    """
    sigma = float(standard_deviation)
    if not LEAST_SHARE <= sigma <= _MOST_SPREAD:
        raise ConfigError(
            f"the noise needs a standard deviation from {LEAST_SHARE:g} to {_MOST_SPREAD:g} grid "
            f"units, not {sigma:g}: make the grid {'coarser' if sigma > 4 else 'finer'}"
        )
    centre = np.asarray(centres, dtype=np.float64)
    if not np.all(np.abs(centre) <= _FARTHEST):  # false for NaN too
        raise ConfigError(
            "a centre is NaN, infinite or beyond 2^50 grid units: check the values before the "
            "noise, or make the grid coarser"
        )
    whole = np.rint(centre)
    fraction = (centre - whole).ravel()  # exact: both are multiples of one power of two
    offset = np.empty(fraction.size, dtype=np.int64)
    pending = np.arange(fraction.size)
    while pending.size:
        proposal, accepted = _attempt(fraction[pending], sigma, randomness)
        offset[pending[accepted]] = proposal[accepted]
        pending = pending[~accepted]
    drawn: NDArray[np.int64] = whole.astype(np.int64) + offset.reshape(centre.shape)
    return drawn


def _attempt(
    fraction: NDArray[np.float64], sigma: float, randomness: NoiseSource
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Propose an integer for each fraction; return it and whether it is accepted."""
    first, second = randomness.words(2 * fraction.size).reshape(2, -1)
    positive = (first & np.uint64(1)).astype(np.bool_)

    value, error = _exponential(first)
    magnitude = np.floor(sigma * (value - error))
    undecided = magnitude != np.floor(sigma * (value + error))
    for i in np.flatnonzero(undecided):
        magnitude[i] = _decide(first[i], randomness, lambda e: math.floor(Fraction(sigma) * e))

    toward = np.where(positive, fraction, -fraction)  # s·f
    value, error = _exponential(second)
    exponent = _exponent(magnitude, toward, np.float64(sigma))
    accepted = value > exponent
    for i in np.flatnonzero(np.abs(value - exponent) <= error):
        exact = _exponent(*(Fraction(float(x)) for x in (magnitude[i], toward[i], sigma)))
        accepted[i] = _decide(second[i], randomness, functools.partial(operator.lt, exact))

    accepted &= positive | (magnitude > 0)
    proposal = np.where(positive, magnitude, -magnitude).astype(np.int64)
    return proposal, accepted


def _exponential(words: NDArray[np.uint64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return value and error: −ln u lies within value ± error, whatever u's digits after the word.

    Only operations that IEEE 754 rounds to within u = 2^-53 are used, so the errors add up. The
    digits as an integer w = 2^e·m, m in [√½, √2], ln w = e·ln 2 + 2 atanh z, z = (m − 1)/(m + 1):
    w to float u; z and |2z| ≤ 0.35 times the series 2u, cut off below u/10; ln 2 to float, times
    up to 63 and rounded, 58u; the last difference, below 44, 44u. `value` is within 110u.
    What is done with it adds, for |y|, E ± error and σ·E: 150u; for E₂ > γ, with
    g = (|y| − s f)/σ − 1, (6g² + 2)u of γ and 64u: 900u as long as g² ≤ 128, and else γ > 63 > E
    decides. All below 1100u; the slack is 2048u.
    """
    digits = words >> np.uint64(64 - _DIGITS)
    number = np.maximum(digits, np.uint64(1)).astype(np.float64)
    mantissa, power = np.frexp(number)
    low = mantissa < math.sqrt(0.5)
    mantissa[low] *= 2
    power -= low
    z = (mantissa - 1) / (mantissa + 1)
    square = z * z
    series = np.full_like(z, _ATANH[-1])
    for coefficient in reversed(_ATANH[:-1]):
        series *= square
        series += coefficient
    value = (_DIGITS - power) * _LN2 - 2 * z * series
    error = _SLACK + 1 / number  # the digits not drawn yet lower E by ln((w + 1)/w) at most
    error[digits == 0] = np.inf
    return value, error


def _exponent(magnitude: Any, toward: Any, sigma: Any) -> Any:
    """Return γ, of float64 arrays or of fractions."""
    g = (magnitude - toward) / sigma - 1
    return g * g / 2 + (abs(toward) - toward) / sigma


def _decide(word: np.uint64, randomness: NoiseSource, decision: Callable[[Fraction], int]) -> int:
    """Draw digits of u until a decision, monotone in −ln u, is the same for all that u can be."""
    digits, count = int(word) >> (64 - _DIGITS), _DIGITS
    while True:
        if digits > 1:
            context = decimal.Context(prec=20 + count // 3)  # finer than the digits
            least = _ln(1 << count, context)[0] - _ln(digits + 1, context)[1]
            most = _ln(1 << count, context)[1] - _ln(digits, context)[0]
            if decision(least) == decision(most):
                return decision(least)
        digits, count = digits << 64 | int(randomness.words(1)[0]), count + 64


def _ln(number: int, context: decimal.Context) -> tuple[Fraction, Fraction]:
    """Enclose ln(number) for number ≥ 2; decimal's logarithm is correctly rounded."""
    rounded = context.ln(decimal.Decimal(number))
    return Fraction(context.next_minus(rounded)), Fraction(context.next_plus(rounded))
