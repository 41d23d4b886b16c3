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
very float64 values c and σ, with no total variation distance to account for. The float64 part is in
`privfed.dp.proposals`, and compiled where numba is installed, with the same draws.

**What timing may tell.** The number of proposals (1.3 to 1.7 a draw) depends a little on f and the
rare exact decisions on the values; so the time does depend a little on secrets. Somebody who can
measure a party's own computation to the microsecond is outside the threat model.
"""

from __future__ import annotations

import decimal
import functools
import importlib.util
import math
import operator
import sys
import warnings
from collections.abc import Callable
from fractions import Fraction
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privfed.dp import proposals
from privfed.dp.domination import LEAST_SHARE
from privfed.errors import ConfigError, PrivacyWarning

__all__ = ["discrete_gaussian"]

_MOST_SPREAD = 2.0**32  # above, too many draws would need rational arithmetic
_FARTHEST = 2.0**50  # centres up to here split exactly into integer and fraction

_DIGITS = 63  # of a uniform in the first word; the word's last bit is the sign
_SLACK = 2.0**-42  # over all rounding errors (see `privfed.dp.proposals.exponential`)

_PIECE = 2**15  # draws at once, which a cache holds
_FAST_FROM = (
    2**12
)  # draws; below, loading compiled code, once in a process, costs more than it saves


class WordSource(Protocol):
    """Where uniform bits come from."""

    def words(self, count: int) -> NDArray[np.uint64]:
        """Draw `count` uniform 64-bit words."""


def discrete_gaussian(
    centres: NDArray[np.float64], standard_deviation: float, randomness: WordSource
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
    given = np.asarray(centres, dtype=np.float64)
    # False for NaN, too.
    if given.size and not (given.min() >= -_FARTHEST and given.max() <= _FARTHEST):
        raise ConfigError(
            "a centre is NaN, infinite or beyond 2^50 grid units: check the values before the "
            "noise, or make the grid coarser"
        )
    lanes = _lanes(given.size)
    centre, drawn = given.ravel(), np.empty(given.size, dtype=np.int64)
    for start in range(0, given.size, _PIECE):
        piece = slice(start, start + _PIECE)
        whole = np.rint(centre[piece])
        fraction = centre[piece] - whole  # exact: both are multiples of one power of two
        _draw(fraction, sigma, randomness, lanes, drawn[piece])
        np.add(drawn[piece], whole, out=drawn[piece], casting="unsafe")  # below 2^53: exact
    return drawn.reshape(given.shape)


@functools.cache
def _compilable() -> bool:
    return importlib.util.find_spec("numba") is not None


def _lanes(count: int) -> ModuleType:
    """Return the compiled lanes where they are there and worth it, else numpy's: equal bits."""
    loaded = "privfed.dp.proposals_compiled" in sys.modules
    return _checked() if (loaded or count >= _FAST_FROM) and _compilable() else proposals


@functools.cache
def _checked() -> ModuleType:
    """Return the compiled lanes if they decide as numpy's on this machine."""
    from privfed.dp import proposals_compiled

    rng, found = np.random.default_rng(0), []
    words, signs = rng.integers(0, 2**64, (2, 4096), np.uint64, endpoint=False)
    words >>= np.arange(4096, dtype=np.uint64) % np.uint64(64)
    fraction = rng.uniform(-0.5, 0.5, 4096)
    for lanes in (proposals, proposals_compiled):
        bits, _ = lanes.propose(words, 2.0**60, _DIGITS, 0.0)  # all digits of the exponential
        magnitude, undecided = lanes.propose(words, 63.0, _DIGITS, _SLACK)
        magnitude[undecided] = 0.0
        judged = lanes.judge(words[::-1].copy(), signs, magnitude, fraction, 63.0, _DIGITS, _SLACK)
        found.append([each.tobytes() for each in (bits, magnitude, undecided, *judged)])
    if found[0] == found[1]:
        return proposals_compiled
    warnings.warn(
        "compiled noise rounds differently from the definition on this machine: draws go on "
        "without it, several times slower",
        PrivacyWarning,
        stacklevel=4,
    )
    return proposals


def _draw(
    fraction: NDArray[np.float64],
    sigma: float,
    randomness: WordSource,
    lanes: ModuleType,
    out: NDArray[np.int64],
) -> None:
    """Write one integer around each fraction in [−1/2, 1/2] into `out`."""
    pending = np.arange(fraction.size)
    while pending.size:
        words = randomness.words(2 * pending.size)
        left = lanes.attempt(words, sigma, _DIGITS, _SLACK, pending, fraction, out)
        if left is None:  # a draw that float64 does not decide
            left = _attempt(words, sigma, randomness, pending, fraction, out)
        pending = left


def _attempt(
    words: NDArray[np.uint64],
    sigma: float,
    randomness: WordSource,
    pending: NDArray[np.intp],
    fraction: NDArray[np.float64],
    out: NDArray[np.int64],
) -> NDArray[np.intp]:
    """Do what the lanes' attempt does, and decide exactly what float64 leaves open."""
    first, second = words.reshape(2, -1)
    magnitude, undecided = proposals.propose(first, sigma, _DIGITS, _SLACK)
    for i in undecided:
        magnitude[i] = _decide(first[i], randomness, lambda e: math.floor(Fraction(sigma) * e))
    around = fraction[pending]
    accepted, undecided = proposals.judge(second, first, magnitude, around, sigma, _DIGITS, _SLACK)
    for i in undecided:
        positive = bool(first[i] & np.uint64(1))
        toward = around[i] if positive else -around[i]
        values = (Fraction(float(x)) for x in (magnitude[i], toward, sigma))
        above = functools.partial(operator.lt, proposals.exponent(*values))
        accepted[i] = _decide(second[i], randomness, above) and (positive or magnitude[i] > 0)
    return proposals.settle(pending, accepted, first, magnitude, out)


def _decide(word: np.uint64, randomness: WordSource, decision: Callable[[Fraction], int]) -> int:
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
