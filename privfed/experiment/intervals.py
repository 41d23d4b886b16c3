"""The 95 % intervals of results, reports and benchmarks, each in one place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

_Interval = tuple[float, float]

_LEVEL = 0.95
_UPPER = (1 + _LEVEL) / 2


def mean_interval(values: Sequence[float]) -> _Interval | None:
    """Return Student's t interval of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    # Not by scipy's function, which is undefined where all values are equal.
    half = float(stats.t.ppf(_UPPER, len(values) - 1) * stats.sem(values))
    mean = float(np.mean(values))
    return mean - half, mean + half


def wilson_interval(correct: int, n: int) -> _Interval | None:
    """Return Wilson's score interval of a proportion (JASA 22, 1927); None for n = 0."""
    if n == 0:
        return None
    low, high = stats.binomtest(correct, n).proportion_ci(_LEVEL, method="wilson")
    return float(low), float(high)


def newcombe_interval(one: float, n_one: int, other: float, n_other: int) -> _Interval:
    """Return Newcombe's hybrid score interval of a difference of shares of separate rows.

    Method 10 of Statistics in Medicine 17 (1998) 873-890. A share of no rows is taken as exact.
    """
    low, high = wilson_interval(round(one * n_one), n_one) or (one, one)
    other_low, other_high = wilson_interval(round(other * n_other), n_other) or (other, other)
    difference = one - other
    return (
        difference - math.hypot(one - low, other_high - other),
        difference + math.hypot(high - one, other - other_low),
    )


def shares_interval(difference: float, shares: Sequence[tuple[float, int]]) -> _Interval:
    """Return the normal approximation to a difference of two shares, each with its row count."""
    half = float(stats.norm.ppf(_UPPER)) * math.sqrt(sum(p * (1 - p) / n for p, n in shares))
    return difference - half, difference + half
