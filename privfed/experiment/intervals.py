"""The 95 % intervals of results, reports and benchmarks, each in one place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_Interval = tuple[float, float]

FEW_SEEDS = 3
"""Fewer do not show how training varies."""

_LEVEL = 0.95
_UPPER = (1 + _LEVEL) / 2


def mean_interval(values: Sequence[float], *, of: int = 1) -> _Interval | None:
    """Return Student's t interval of the mean; None for fewer than two values.

    Args:
        values: One a seed.
        of: How many such intervals are to hold at once (Bonferroni).
    """
    if len(values) < 2:
        return None
    # Not by scipy's function, which is undefined where all values are equal.
    half = float(stats.t.ppf(1 - (1 - _UPPER) / of, len(values) - 1) * stats.sem(values))
    mean = float(np.mean(values))
    return mean - half, mean + half


def wilson_interval(correct: int, n: int) -> _Interval | None:
    """Return Wilson's score interval of a proportion (JASA 22, 1927); None for n = 0."""
    if n == 0:
        return None
    low, high = stats.binomtest(correct, n).proportion_ci(_LEVEL, method="wilson")
    return float(low), float(high)


@dataclass(frozen=True)
class Spread:
    """How sure the mean of the seeds' paired differences is.

    Attributes:
        standard_error: By rows, and from `FEW_SEEDS` on by seeds besides.
        degrees: Its degrees of freedom.
        seed_error: The standard error by seeds alone; None for fewer.
        seeds: How many.
    """

    standard_error: float
    degrees: float
    seed_error: float | None
    seeds: int

    def bounds(self, difference: float, *, of: int = 1) -> _Interval:
        """Return the 95 % interval: Student's t, and no narrower than that over the seeds alone.

        Args:
            difference: The mean of the differences.
            of: How many differences such intervals are to hold for at once (Bonferroni).
        """
        upper = 1 - (1 - _UPPER) / of
        half = float(stats.t.ppf(upper, self.degrees)) * self.standard_error
        if self.seed_error is not None:
            half = max(half, float(stats.t.ppf(upper, self.seeds - 1)) * self.seed_error)
        return difference - half, difference + half


@dataclass(frozen=True, eq=False)
class PairedRows:
    """One seed's difference of a measure, each row's influence on it, and whose row it is.

    Attributes:
        difference: One arm's value minus the other's.
        influence: (n,) the first arm's influences minus the other's.
        units: (n,) which rows belong together, as those of one ID, over all seeds.
    """

    difference: float
    influence: NDArray[np.float64]
    units: NDArray[Any]


def paired_spread(seeds: Sequence[PairedRows]) -> Spread:
    """Return how sure the mean of the seeds' differences is.

    Two things vary. Which units are tested: a unit's influences, with its share of the difference,
    are summed over its rows and over the seeds, as the same unit comes again in another split, and
    the squares of these sums add up. With one seed and accuracy that is McNemar's denominator, for
    rows in clusters Durkalski's (Statistics in Medicine 22, 2003, 2417-2428); for an AUC it is
    Obuchowski's (Biometrics 53, 1997, 567-578) but for that share. And how training goes: from
    `FEW_SEEDS` on the variance of the seeds' mean is added. It holds a part of the first again, so
    the interval errs towards wide. Degrees of freedom are Satterthwaite's (Biometrics Bulletin 2,
    1946, 110-114), a unit counting as the square of its influence: where few rows differ, few do.
    """
    every = np.concatenate([s.influence + s.difference / len(s.influence) for s in seeds])
    units = np.unique(np.concatenate([s.units for s in seeds]), return_inverse=True)[1]
    squares = (np.bincount(units, every) / len(seeds)) ** 2
    rows, few = float(squares.sum()), len(seeds) < FEW_SEEDS
    if not rows:
        return Spread(0.0, 1.0, None if few else 0.0, len(seeds))
    parts, seed_error = [(rows, max(rows**2 / float((squares**2).sum()) - 1, 1.0))], None
    if not few:
        seed_error = float(stats.sem([s.difference for s in seeds]))
        parts.append((seed_error**2, len(seeds) - 1.0))
    total = sum(variance for variance, _ in parts)
    degrees = total**2 / sum(variance**2 / degrees for variance, degrees in parts)
    return Spread(math.sqrt(total), max(degrees, 1.0), seed_error, len(seeds))
