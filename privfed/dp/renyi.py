"""Upper bounds on the Rényi divergences of noisy releases, for what is proved through them.

A release with the unit has the law of Σ p_j N(j, σ²), and without it that of N(0, σ²), as in
`privfed.dp.losses`. With L the ratio of their densities, e^((α-1)·D_α) is the mean of L^α under
N(0, σ²) in one direction and of L^(1-α) in the other. Both integrals are taken by the trapezoidal
rule, which is exact but for a bound on the integrand in a strip of the complex plane
(docs/accounting.md); what the sum leaves out, and rounding, is bounded and added.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privfed.dp.batches import Cases, Chances

if TYPE_CHECKING:  # it brings SciPy
    from privfed.dp.envelope import Part

Floats = NDArray[np.float64]

ORDERS: Floats = 1 + np.geomspace(0.05, 2047.0, 72)
"""The orders at which divergences are bounded."""

_UNIT = 2.0**-53
_LEFT_OUT = 45.0  # e^-45 of the integral lies outside of the window, e^-36 is what the sum errs by
_SUM_ERROR = 36.0
_ANGLE = math.pi / 3
_MOST = 700.0  # log of a moment above which an order is of no use


def divergences(kinds: Sequence[Sequence[Part]], orders: Floats = ORDERS) -> Floats:
    """Return a bound on D_α of all the parts of the worst kind, for each order, both directions.

    Args:
        kinds: What units of each kind take part in, as in `privfed.dp.envelope`.
        orders: Each above 1.
    """
    found = np.zeros(len(orders))
    for kind in kinds:
        for exponents in (orders, 1 - orders):
            total = np.zeros(len(orders))
            for sigma, cases, count in kind:
                total += count * np.array([log_moment(sigma, cases, s) for s in exponents])
            found = np.maximum(found, total / (orders - 1))
    return found


def shifted(found: Floats, gap: float, orders: Floats = ORDERS) -> Floats:
    """Return bounds for laws whose probabilities are within e^(±gap) of those that were bounded."""
    return found + gap * (2 * orders - 1) / (orders - 1)


@functools.lru_cache(maxsize=4096)
def log_moment(sigma: float, cases: Cases, exponent: float) -> float:
    """Return a bound on the log of the mean of L^exponent, for an exponent above 1 or below 0."""
    logs = [math.log(weight) + _log_integral(sigma, chances, exponent) for weight, chances in cases]
    top = max(logs)
    if top == math.inf:
        return math.inf
    # Weights are rounded up, so that they may sum to a little more than one.
    return max(0.0, top + math.log(math.fsum(math.exp(each - top) for each in logs)))


def _log_integral(sigma: float, chances: Chances, exponent: float) -> float:
    places = np.flatnonzero(np.asarray(chances))
    rows, p = places.astype(np.float64), np.asarray(chances)[places]
    last = float(rows[-1])
    if exponent * (exponent - 1) * last**2 / (2 * sigma**2) > _MOST * 4:
        return math.inf
    if last == 0:
        return 0.0
    if len(rows) == 1:
        return exponent * (exponent - 1) * last**2 / (2 * sigma**2) * (1 + 16 * _UNIT)
    low, high = _window(sigma, rows, p, exponent)
    # In the strip |Im x| ≤ a all terms of L lie in a sector of 60°, so that it is not zero.
    a = min(_ANGLE * sigma**2 / last, 4 * sigma)
    larger = a**2 / (2 * sigma**2) + max(0.0, -exponent) * -math.log(math.cos(_ANGLE / 2))
    step = 2 * math.pi * a / (_SUM_ERROR + 1 + larger)
    x = np.arange(math.floor(low / step), math.ceil(high / step) + 1) * step
    exponents = rows * (x[:, None] - rows / 2) / sigma**2
    top = exponents.max(axis=1)
    rest = np.expm1(np.minimum(exponents, 1.0)) @ p - (1 - math.fsum(p))
    is_small = (top < 1) & (np.abs(rest) < 0.5)  # there 1 + (the rest) would round it
    large = top + np.log(np.exp(exponents - top[:, None]) @ p)
    ratio = np.where(is_small, np.log1p(np.where(is_small, rest, 0.0)), large)
    logs = exponent * ratio - (x / sigma) ** 2 / 2
    peak = float(logs.max())
    total = float(np.exp(np.maximum(logs - peak, -700.0)).sum()) * step
    size = abs(exponent) * (np.abs(ratio) + np.abs(exponents).max(axis=1)) + (x / sigma) ** 2
    counts = logs > peak - _LEFT_OUT  # the others are of no weight, whatever they round to
    rounding = _UNIT * (16 * float(size[counts].max()) + len(x))
    return peak + math.log(total / (sigma * math.sqrt(2 * math.pi))) + rounding + 4e-15


def _window(sigma: float, rows: Floats, p: Floats, exponent: float) -> tuple[float, float]:
    """Return where all but e^-45 of the integral lies; it is at least one."""
    beside = (math.sqrt(2 * _LEFT_OUT) + 1) * sigma
    if exponent > 0:
        # To the left L ≤ 1. To the right L^α ≤ Σ p_j e^(α·…) is a sum of Gaussians up to α·r, and
        # the integral at least p_r^(α-1) of theirs.
        more = -(exponent - 1) * math.log(float(p[-1]))
        reach = (math.sqrt(2 * (_LEFT_OUT + more)) + 1) * sigma
        return -beside, exponent * float(rows[-1]) + reach
    # To the right of r/2 L ≥ 1. To the left L ≥ e^(its mean exponent), by Jensen.
    mean, square = float(p @ rows), float(p @ rows**2)
    more = ((exponent * mean) ** 2 - exponent * square) / (2 * sigma**2)
    reach = (math.sqrt(2 * (_LEFT_OUT + more)) + 1) * sigma
    return exponent * mean - reach, max(beside, float(rows[-1]) / 2 + sigma)
