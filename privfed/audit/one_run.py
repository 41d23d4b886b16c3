"""A lower bound on ε from one training run, computed in two independent ways.

Steinke, Nasr, Jagielski, "Privacy Auditing with One (1) Training Run" (NeurIPS 2023,
arXiv 2305.08846). Each of m canaries is in or out by a fair coin; the auditor guesses r of the
coins and v guesses are right. If the training is (ε, δ)-DP, then v is not likely to be large.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

PValue = Callable[[int, int, int, float, float], float]

_DIGITS = 60  # of the second way's arithmetic
_MOST_EPSILON = 64.0


def p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Bound the chance of so many correct guesses if the training is (ε, δ)-DP.

    Theorem 5.2 and appendix D of the paper: with W ~ Binomial(r, e^ε/(1 + e^ε)) it is
    P[W ≥ v] + 2mδ · max over i of P[v > W ≥ v − i]/i.

    Args:
        canaries: m, each in or out by a fair coin.
        guesses: r ≤ m; which canaries are guessed may depend on the output, r may not.
        correct: v ≤ r.
        epsilon: Claimed, ≥ 0.
        delta: Claimed, in [0, 1].

    Returns:
        The bound, in [0, 1].
    """
    chance = special.expit(epsilon)
    tail = float(stats.binom.sf(correct - 1, guesses, chance))
    moved = np.arange(1, correct + 1)
    gained = stats.binom.sf(correct - moved - 1, guesses, chance) - tail
    slope = float(np.max(gained / moved, initial=0.0))
    return min(1.0, tail + 2 * canaries * delta * slope)


def p_value_by_transport(
    canaries: int, guesses: int, correct: int, epsilon: float, delta: float
) -> float:
    """Bound the same chance in another way, to check `p_value` by.

    The number of correct guesses is below W + Y in distribution, where δ buys a Y ≥ 0 of mean at
    most 2mδ, independent of W (the paper's section 5). The worst Y solves a linear program whose
    value is the concave envelope of i ↦ P[W ≥ v − i] at 2mδ. The binomial comes from its
    recurrence in decimal arithmetic of 60 digits; nothing is shared with `p_value`. The two are
    equal where 2mδ lies before the envelope's first corner, and else this one is the smaller.

    Args:
        canaries: As in `p_value`.
        guesses: As in `p_value`.
        correct: As in `p_value`.
        epsilon: As in `p_value`.
        delta: As in `p_value`.

    Returns:
        The bound, in [0, 1].
    """
    with decimal.localcontext(prec=_DIGITS):
        odds = Decimal(epsilon).exp()
        mass = (1 + odds) ** -guesses  # of W = 0
        below = [Decimal(0)]  # P[W < w]
        for w in range(correct):
            below.append(below[-1] + mass)
            mass = mass * odds * (guesses - w) / (w + 1)
        points = [(i, 1 - below[correct - i]) for i in range(correct + 1)]
        hull: list[tuple[int, Decimal]] = []
        for point in points:
            while len(hull) > 1 and _turns_up(hull[-2], hull[-1], point):
                hull.pop()
            hull.append(point)
        budget = 2 * canaries * Decimal(delta)
        for (left, low), (right, high) in pairwise(hull):
            if budget <= right:
                return float(low + (high - low) * (budget - left) / (right - left))
    return 1.0


def _turns_up(
    first: tuple[int, Decimal], middle: tuple[int, Decimal], last: tuple[int, Decimal]
) -> bool:
    """Return whether `middle` lies on or under the line from `first` to `last`."""
    return (middle[1] - first[1]) * (last[0] - first[0]) <= (last[1] - first[1]) * (
        middle[0] - first[0]
    )


def epsilon_lower_bound(
    canaries: int,
    guesses: int,
    correct: int,
    delta: float,
    significance: float,
    *,
    way: PValue = p_value,
) -> float:
    """Return the largest ε that so many correct guesses refute; 0 if they refute none.

    Args:
        canaries: As in `p_value`.
        guesses: As in `p_value`.
        correct: As in `p_value`.
        delta: As in `p_value`.
        significance: Chance in (0, 1) that the bound is above the true ε.
        way: How p-values are computed.

    Returns:
        ε, to within 1e-6.
    """

    def refuted(epsilon: float) -> bool:
        return way(canaries, guesses, correct, epsilon, delta) < significance

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high) and high < _MOST_EPSILON:
        low, high = high, 2 * high
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def ceiling(canaries: int, guesses: int, delta: float, significance: float) -> float:
    """Return the bound if every guess is right: the audit says nothing about an ε above it."""
    return epsilon_lower_bound(canaries, guesses, guesses, delta, significance)


def guess(scores: NDArray[np.float64], each_side: int) -> NDArray[np.int8]:
    """Guess "in" (1) for the highest scores, "out" (-1) for the lowest, and abstain (0) between.

    Args:
        scores: One per canary.
        each_side: Guesses of either kind, fixed before the scores are seen.

    Returns:
        One guess for each canary.
    """
    order = np.argsort(scores, kind="stable")
    guesses = np.zeros(len(scores), np.int8)
    guesses[order[:each_side]] = -1
    guesses[order[len(order) - each_side :]] = 1
    return guesses
