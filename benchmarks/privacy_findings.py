"""What the rows of benchmarks.privacy_accuracy say: who gains what, and at which ε others do."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from privfed.experiment.intervals import mean_interval

# What is wanted of ten parties on digits: at ε = 1 of noise shares over arms that trust nobody, and
# against central noise; and what noise shares reach at least, by ε.
GAIN, LOSS = 0.12, 0.015
REACHED = {0.25: 0.668, 1.0: 0.895}


class Measured(Protocol):
    """What is read of a row."""

    @property
    def arm(self) -> str:
        """Name."""

    @property
    def trusts(self) -> str:
        """Who is trusted."""

    @property
    def epsilon(self) -> float | None:
        """Asked ε."""

    @property
    def accuracy_mean(self) -> float:
        """Over the seeds."""

    @property
    def accuracies(self) -> list[float]:
        """One per seed."""


def find(rows: Sequence[Measured], delta: float) -> dict[str, Any]:
    """Compare noise shares at ε = 1 (or the least) with central noise and arms that trust nobody.

    Differences are paired by seed: both arms have the same split and initial weights.

    Returns:
        The findings, as the JSON file keeps them.
    """
    by = {(row.arm, row.epsilon): row for row in rows}
    epsilons = sorted({row.epsilon for row in rows if row.epsilon is not None})
    at = 1.0 if 1.0 in epsilons else epsilons[0]
    shares, central = by["noise-shares", at], by["central-noise", at]
    alone = sorted(
        (row for row in rows if row.trusts == "nobody" and row.epsilon == at),
        key=lambda row: row.accuracy_mean,
    )
    best = alone[-1]
    curve = [(each, by[best.arm, each].accuracy_mean) for each in epsilons]
    reached = reaches(curve, shares.accuracy_mean)
    gain, loss = _difference(shares, best), _difference(central, shares)
    sentences = [
        f"At ε = {at:g}, noise shares reach {shares.accuracy_mean:.3f}, central noise "
        f"{central.accuracy_mean:.3f}; the best arm that trusts nobody, {best.arm}, "
        f"{best.accuracy_mean:.3f}.",
        f"Noise shares − {best.arm}: {_words(gain)}. Central noise − noise shares: {_words(loss)}.",
        f"{best.arm} first has at ε = {reached:.2g} what noise shares have at ε = {at:g} "
        "(interpolated in log ε)."
        if reached is not None
        else f"{best.arm} has at no ε up to {epsilons[-1]:g} what noise shares have at ε = {at:g}.",
    ]
    return {
        "epsilon": at,
        "delta": delta,
        "noise_shares_accuracy": shares.accuracy_mean,
        "central_noise_accuracy": central.accuracy_mean,
        "best_arm_that_trusts_nobody": best.arm,
        "its_accuracy": best.accuracy_mean,
        "gain_of_shares_over_it": gain,
        "loss_of_shares_to_central": loss,
        "epsilon_at_which_it_reaches_shares": reached,
        "how": "paired by seed, 95 % t intervals; that ε is interpolated in log ε",
        "sentences": sentences,
    }


def targets(rows: Sequence[Measured], findings: dict[str, Any]) -> dict[str, Any]:
    """Return whether the means are as wanted for ten parties on digits."""
    gain, loss = findings["gain_of_shares_over_it"], findings["loss_of_shares_to_central"]
    shares = {row.epsilon: row.accuracy_mean for row in rows if row.arm == "noise-shares"}
    return {
        "gain_at_least": GAIN,
        "gain_met": gain["mean"] >= GAIN,
        "loss_at_most": LOSS,
        "loss_met": loss["mean"] <= LOSS,
        "shares": [
            {
                "epsilon": epsilon,
                "accuracy": shares[epsilon],
                "at_least": least,
                "met": shares[epsilon] >= least,
            }
            for epsilon, least in REACHED.items()
            if epsilon in shares
        ],
    }


def reaches(curve: Sequence[tuple[float, float]], accuracy: float) -> float | None:
    """Return the first ε at which a curve of (ε, accuracy), ε rising, reaches an accuracy.

    Between two points it is a straight line in log ε. None: it never does.
    """
    if curve[0][1] >= accuracy:
        return curve[0][0]
    for (low, below), (high, above) in itertools.pairwise(curve):
        if above >= accuracy:
            share = (accuracy - below) / (above - below)
            return math.exp(math.log(low) + share * math.log(high / low))
    return None


def _difference(one: Measured, other: Measured) -> dict[str, Any]:
    paired = list(np.subtract(one.accuracies, other.accuracies))
    return {"mean": float(np.mean(paired)), "ci95": mean_interval(paired)}


def _words(difference: dict[str, Any]) -> str:
    interval = difference["ci95"]
    around = "" if interval is None else f" ({interval[0]:+.3f} to {interval[1]:+.3f})"
    return f"{difference['mean']:+.3f}{around}"
