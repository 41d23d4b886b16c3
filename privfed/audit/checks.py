"""Four checks of a canary run, each against what the plan says, each with its false-alarm rate.

Three of them need the truth that only an auditor has; the one-run audit needs what everybody sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from privfed.audit.canaries import CanaryRun
from privfed.audit.one_run import ceiling, epsilon_lower_bound, guess, p_value, p_value_by_transport
from privfed.dp import PrivacyPlan
from privfed.dp.shares import SLACK
from privfed.errors import ConfigError
from privfed.rounding import as_given, at_most

FALSE_ALARM = 1e-3
"""Chance at most that a check flags a sound run."""

CONFIDENCE = 0.95
"""Of the lower bound on ε that is printed; a flag needs `FALSE_ALARM`."""

GUESSED = 0.1  # share of the canaries guessed "in", and as many "out"
_AGREEMENT = 1e-6  # of the bound's two computations


@dataclass(frozen=True)
class Checked:
    """What one check said of one run.

    Attributes:
        statistic: What was measured; what it is compared with is in `Check.threshold`.
        p_value: Chance that a sound run looks at least as bad; 1 or 0 where chance plays no part.
        flagged: Whether the p-value is below `FALSE_ALARM`.
    """

    statistic: float
    p_value: float
    flagged: bool


@dataclass(frozen=True)
class Check:
    """A check and what a reader must know of it.

    Attributes:
        measure: The function that checks a run.
        statistic: What is measured, in words.
        threshold: When it flags, in words.
        blind: What it cannot see, in words.
        false_alarm_rate: Chance at most that it flags a sound run; 0 where chance plays no part.
    """

    measure: Callable[[CanaryRun], Checked]
    statistic: str
    threshold: str
    blind: str
    false_alarm_rate: float = FALSE_ALARM


def longest_row(run: CanaryRun) -> Checked:
    """Compare the most that one canary added to a party's sum with the clip norm."""
    flagged = run.largest > 1 + SLACK
    return Checked(run.largest, 0.0 if flagged else 1.0, flagged)


def noise_level(run: CanaryRun) -> Checked:
    """Compare the noise of a run with what the plan's parties add; too much is wrong, too.

    Squares of Gaussian noise over its variance add up to a chi-square variable. So do those of k
    shares, each a discrete Gaussian around its own unrounded sum: together they have the variance
    kσ² and a Gaussian's moments to one part in 10^30 (docs/privacy.md).

    Returns:
        What the check found.
    """
    residuals = run.residuals
    squares = float(np.sum((residuals / _deviation(run.plan)) ** 2))
    law = stats.chi2(residuals.size)
    both_ways = 2 * min(law.cdf(squares), law.sf(squares))
    return _judge(float(np.sqrt(squares / residuals.size)), both_ways)


def noise_repeats(run: CanaryRun) -> Checked:
    """Look for two rounds with the same noise, or with opposite noise.

    The correlation r of two independent Gaussian vectors of length d and mean zero makes
    r·√((d − 1)/(1 − r²)) a Student's t of d − 1 degrees. The p-value is Bonferroni's over pairs.

    Returns:
        What the check found.

    Raises:
        ConfigError: The run has one round only.
    """
    residuals = run.residuals
    unit = residuals / np.linalg.norm(residuals, axis=1, keepdims=True)
    first, second = np.triu_indices(len(unit), 1)
    if not len(first):
        raise ConfigError("one round's noise cannot repeat: run at least two")
    worst = float(np.abs((unit @ unit.T)[first, second]).max())
    freedom = residuals.shape[1] - 1
    student = worst * np.sqrt(freedom / max(1 - worst**2, 1e-300))
    return _judge(worst, min(1.0, len(first) * 2 * float(stats.t.sf(student, freedom))))


def one_run(run: CanaryRun) -> Checked:
    """Test the plan's outsider ε by guessing which canaries were in.

    Returns:
        What the check found.

    Raises:
        ConfigError: Not even all right guesses would refute the plan, so that this cannot fail.
    """
    canaries, guesses, correct = guessed(run)
    plan = run.plan
    if p_value(canaries, guesses, guesses, plan.epsilon_outsider, plan.delta) >= FALSE_ALARM:
        raise ConfigError(
            f"{guesses} guesses cannot refute epsilon={at_most(plan.epsilon_outsider)} at "
            f"delta={as_given(plan.delta)}: audit with more canaries, or a smaller epsilon or delta"
        )
    chance = p_value(canaries, guesses, correct, plan.epsilon_outsider, plan.delta)
    return _judge(correct / guesses, chance)


CHECKS: Mapping[str, Check] = {
    "longest row": Check(
        longest_row,
        "the most that one canary of ten clip norms added to a party's sum, in clip norms",
        f"above 1 + {SLACK:g}; no chance is involved",
        "noise of any kind, and rows whose gradient goes another way than the canaries'",
        false_alarm_rate=0.0,
    ),
    "noise level": Check(
        noise_level,
        "standard deviation of what was let out minus what was added, over the plan's",
        f"chi-square, both sides, p below {FALSE_ALARM:g}",
        "unclipped rows; noise of the right size that is repeated, or that somebody can predict",
    ),
    "noise repeats": Check(
        noise_repeats,
        "largest correlation between two rounds' noise",
        f"Student's t, Bonferroni over all pairs of rounds, p below {FALSE_ALARM:g}",
        "how much noise there is; noise repeated at other coordinates, of another run, or that "
        "somebody can predict",
    ),
    "one-run audit": Check(
        one_run,
        "share of right guesses of which canaries were in",
        f"p at the claimed ε and δ below {FALSE_ALARM:g}",
        "noise that is repeated or predictable, noise a little too small, and anything about an ε "
        "above its ceiling",
    ),
}


@dataclass(frozen=True)
class LowerBound:
    """The one-run audit's ε, with all that is needed to read it.

    Attributes:
        canaries: m.
        guesses: r, fixed beforehand.
        correct: v.
        epsilon: Lower bound at `confidence`.
        epsilon_second_way: The same by another algorithm.
        ceiling: The bound if every guess had been right.
        claimed_epsilon: The plan's ε against an outsider, which is what the audit acts as.
        delta: The δ of every ε here.
        confidence: Confidence of the bound.
        p_value: Chance of such a result if the claim holds.
        statement: Unit, adjacency, sampling and accountant of the claim.
    """

    canaries: int
    guesses: int
    correct: int
    epsilon: float
    epsilon_second_way: float
    ceiling: float
    claimed_epsilon: float
    delta: float
    confidence: float
    p_value: float
    statement: str


def lower_bound(run: CanaryRun) -> LowerBound:
    """Return a lower bound on ε by the one-run audit, computed in two ways.

    Raises:
        ArithmeticError: The two ways disagree: one of them is wrong.
    """
    canaries, guesses, correct = guessed(run)
    delta, significance = run.plan.delta, 1 - CONFIDENCE
    first, second = (
        epsilon_lower_bound(canaries, guesses, correct, delta, significance, way=way)
        for way in (p_value, p_value_by_transport)
    )
    # The two may differ only past the envelope's first corner: there the second may be tighter.
    equal = 2 * canaries * delta <= 1
    if first > second + 2 * _AGREEMENT or (equal and second > first + 2 * _AGREEMENT):
        raise ArithmeticError(f"two computations of one bound give {first} and {second}")
    claimed = run.plan.epsilon_outsider
    return LowerBound(
        canaries=canaries,
        guesses=guesses,
        correct=correct,
        epsilon=first,
        epsilon_second_way=second,
        ceiling=ceiling(canaries, guesses, delta, significance),
        claimed_epsilon=claimed,
        delta=delta,
        confidence=CONFIDENCE,
        p_value=p_value(canaries, guesses, correct, claimed, delta),
        statement=run.plan.statement(),
    )


def guessed(run: CanaryRun) -> tuple[int, int, int]:
    """Return (m, r, v): canaries, guesses, right ones; r was fixed by `GUESSED` beforehand."""
    canaries = len(run.included)
    guesses: NDArray[np.int8] = guess(run.scores, max(1, round(GUESSED * canaries)))
    right = np.where(run.included, guesses > 0, guesses < 0)
    return canaries, int(np.count_nonzero(guesses)), int(right.sum())


def _deviation(plan: PrivacyPlan) -> float:
    """Return the standard deviation of the noise of all parties together, in clip norms."""
    if plan.noise == "central":
        return plan.noise_multiplier
    one = plan.grid * plan.share_grid_std if plan.is_shared else plan.noise_multiplier
    return float(one * np.sqrt(plan.parties))


def _judge(statistic: float, chance: float) -> Checked:
    return Checked(statistic, float(chance), bool(chance < FALSE_ALARM))
