"""What a residual needs of a score, as sines and cosines of odd harmonics of one public period.

A score that is shared modulo t is an angle: with a period P, z = P/t * (share + share mod t). Sine
and cosine of a sum of angles are products of each side's own. So a function of a score is two
products a harmonic, whatever the function is, and no bit is compared (docs/vertical.md).

Odd harmonics alone turn sign after half a period. That costs an odd function that saturates, such
as the logistic one, nothing: it holds up to near P/2. Any other function holds up to near P/4.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.roles import Family

__all__ = ["Series", "harmonics", "identity_series", "link_series"]

Floats: TypeAlias = NDArray[np.float64]

_GRID = 4001
_ROUNDS = 60


@dataclass(frozen=True)
class Series:
    """A function as constant + sum_k (sines[k] sin(2 pi h_k z / P) + cosines[k] cos(...)).

    Attributes:
        constant: What is added; the label holder knows it, too.
        sines: Shape (harmonics,).
        cosines: Shape (harmonics,).
        error: The largest error for scores within the bound.
    """

    constant: float
    sines: Floats
    cosines: Floats
    error: float

    def values(self, scores: Floats, period: float) -> Floats:
        """Return the series at these scores, of any shape."""
        angles = 2 * np.pi / period * np.multiply.outer(scores, harmonics(len(self.sines)))
        values: Floats = self.constant + np.sin(angles) @ self.sines + np.cos(angles) @ self.cosines
        return values

    def scales(self, units: float) -> Floats:
        """Return what the guest's sines and cosines are multiplied by, (harmonics,).

        The host's are multiplied by the rest of what a harmonic counts. Equal factors at both sides
        add the least noise; one below 1 would round all of its harmonic away.

        Args:
            units: What a value of 1 is as an integer.
        """
        each: Floats = np.sqrt(units * np.hypot(self.sines, self.cosines))
        return np.maximum(each, 1.0)

    def rounding(self, units: float) -> float:
        """Return the largest error of integers, a side's sines and cosines, instead of numbers.

        Args:
            units: What a value of 1 is as an integer.
        """
        guests = self.scales(units)
        hosts = units / guests * np.hypot(self.sines, self.cosines)
        # Each is off by a half: sine and cosine are together at most the root of 2.
        each = (guests + hosts) * np.sqrt(0.5) + 0.5
        return float((each.sum() + 0.5) / units)


def harmonics(count: int) -> NDArray[np.int64]:
    """Return the first odd numbers."""
    return 2 * np.arange(count, dtype=np.int64) + 1


@functools.lru_cache(maxsize=16)
def link_series(family: Family, period: float, count: int, bound: float) -> Series:
    """Return the mean of a family as a series.

    Args:
        family: Which mean: the logistic function, the score itself, or its exponential.
        period: P.
        count: How many harmonics.
        bound: The largest score, either way, for which it is fitted.
    """
    if family == "logistic":
        return _fitted(lambda z: 1 / (1 + np.exp(-z)) - 0.5, period, count, bound, constant=0.5)
    if family == "linear":
        return identity_series(period, count, bound)
    return _fitted(np.exp, period, count, bound, odd=False)


@functools.lru_cache(maxsize=16)
def identity_series(period: float, count: int, bound: float) -> Series:
    """Return the score itself as a series; arguments as of `link_series`."""
    return _fitted(lambda z: z, period, count, bound)


def _fitted(
    function: Callable[[Floats], Floats],
    period: float,
    count: int,
    bound: float,
    *,
    constant: float = 0.0,
    odd: bool = True,
) -> Series:
    """Fit by least squares whose weights follow the errors (Lawson 1961): near minimax."""
    scores = np.linspace(0 if odd else -bound, bound, _GRID)
    wanted = function(scores)
    angles = 2 * np.pi / period * np.outer(scores, harmonics(count))
    parts = np.sin(angles) if odd else np.hstack([np.sin(angles), np.cos(angles)])
    weights = np.full(_GRID, 1 / _GRID)
    best, found = np.inf, np.zeros(parts.shape[1])
    for _ in range(_ROUNDS):
        root = np.sqrt(weights)
        fit = np.linalg.lstsq(parts * root[:, None], wanted * root, rcond=1e-9)[0]
        errors = np.abs(parts @ fit - wanted)
        if errors.max() < best:
            best, found = float(errors.max()), fit
        weights *= errors + 1e-15
        weights /= weights.sum()
    cosines = np.zeros(count) if odd else found[count:]
    return Series(constant, found[:count], cosines, best)
