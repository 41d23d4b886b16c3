"""What sums of discrete Gaussian shares cost: a continuous Gaussian of slightly less variance.

Accounting for the integers as if they were N(0, Σσᵢ²) would be no valid bound. Up to the factor
given here, they are a post-processing of a Gaussian of variance Σσᵢ² − r². docs/privacy.md has the
proof, after Kairouz, Liu, Steinke (arXiv 2102.06387) and by Poisson summation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from privfed.errors import ConfigError

SMOOTHING = 2.0
"""r: standard deviation, in grid units, of the noise that the proof uses up for rounding."""

LEAST_SHARE = 4.0
"""Least standard deviation of one share, in grid units."""


def dominating_variance(share_variances: Sequence[float]) -> float:
    """Return the variance Σσᵢ² − r² of the continuous Gaussian to account with, rounded down.

    Args:
        share_variances: σᵢ² of every honest share in squared grid units, each at least 16. Shares
            that a colluder knows, or may have left out, don't count.

    Returns:
        The variance in squared grid units; `domination_gap` tells what to add to its (ε, δ).

    Raises:
        ConfigError: No share, or one that is too narrow or not finite.
    """
    if not share_variances:
        raise ConfigError("the noise needs at least one honest share: ask for fewer colluders")
    if not all(LEAST_SHARE**2 <= variance < math.inf for variance in share_variances):
        raise ConfigError(
            f"every noise share needs a finite standard deviation of {LEAST_SHARE:g} grid units "
            "or more: make the grid finer"
        )
    # The factor covers the rounding of this sum and of the caller's squares.
    return (math.fsum(share_variances) - SMOOTHING**2) * (1 - 2.0**-50)


def domination_gap(dimension: int, releases: int, shares: int) -> float:
    """Bound η, the log of how far the integers' law is from its dominating one, in all releases.

    If the continuous mechanism is (ε, δ)-DP, then the real one is (ε + 2η, e^η·δ)-DP.

    Args:
        dimension: Integers in a release, ≥ 1.
        releases: Adaptive releases in all, ≥ 0.
        shares: Honest shares in a sum, ≥ 1.

    Returns:
        η = releases · dimension · η₁, where η₁ ≈ 1.1e-34.

    Raises:
        ConfigError: A count below its range.
    """
    if dimension < 1 or releases < 0 or shares < 1:
        raise ConfigError("dimension and shares are whole numbers from 1 up, releases from 0 up")
    # docs/privacy.md, (5): λ₂ ≤ 2.1 e^(−8π²), and λ₄ + λ_√8 ≤ 2.1 e^(−16π²) for every share.
    per_coordinate = 2.1 * math.exp(-8 * math.pi**2) + shares * 2.1 * math.exp(-16 * math.pi**2)
    return releases * dimension * per_coordinate
