"""The privacy cost of DP-SGD by privacy loss distributions, for units with several rows.

A unit (all rows of one Dress_ID, say) with r rows at a party enters each Poisson batch j times with
probability Binomial(r, q)(j), so a step is a mixture of Gaussians with sensitivities 0 … r in
units of the clip norm (Ganesh, "Tight Group-Level DP Guarantees for DP-SGD with Sampling via
Mixture of Gaussians Mechanisms", arXiv 2401.10294). Several parties' steps on one unit compose.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import dp_accounting
from dp_accounting import pld
from scipy import stats

from privfed.errors import ConfigError

ACCOUNTANT = "PLD (dp-accounting, connect-the-dots)"
ADJACENCY = "add or remove one unit"
_DISCRETISATION = 1e-3  # of the privacy loss; a coarser one gives a larger, still valid ε

_LEAST_NOISE, _MOST_NOISE = 0.1, 2.0**20

Placement = tuple[int, ...]
"""Training rows that one unit has at each party, such as (2, 1)."""


def dp_sgd_epsilon(
    noise_multiplier: float,
    *,
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placement: Placement,
    delta: float,
    discretisation: float = _DISCRETISATION,
) -> float:
    """Give ε for a unit whose rows lie as `placement` says; every party runs DP-SGD of its own.

    Args:
        noise_multiplier: standard deviation of each party's noise over its clip norm, > 0.
        sampling_rates: Poisson sampling rate in (0, 1] of each party.
        steps: noisy steps of each party, ≥ 0.
        placement: the unit's training rows at each party.
        delta: in (0, 1).
        discretisation: grid of the privacy loss; a coarser one is faster and gives a larger ε.

    Returns:
        The upper bound on ε under adding or removing the unit, for somebody who sees every model.

    Raises:
        ConfigError: a value outside its range, or lists of different lengths.
    """
    if not noise_multiplier > 0 or not math.isfinite(noise_multiplier):
        raise ConfigError(f"the noise multiplier must be a positive number, not {noise_multiplier}")
    if not discretisation > 0:
        raise ConfigError(f"the discretisation must be a positive number, not {discretisation}")
    _check(sampling_rates, steps, [placement], delta)
    accountant = _accountant(discretisation)
    accountant.compose(_training(noise_multiplier, sampling_rates, steps, placement))
    return float(accountant.get_epsilon(delta))


def calibrate_noise_multiplier(
    target_epsilon: float,
    *,
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placements: Sequence[Placement],
    delta: float,
) -> float:
    """Find the least noise multiplier whose ε is at most `target_epsilon` for every placement.

    dp-accounting's calibration returns the side of its bracket that keeps the target.

    Raises:
        ConfigError: `target_epsilon` is not positive or no noise reaches it, or another value is
            one that `dp_sgd_epsilon` refuses.
    """
    if not target_epsilon > 0 or not math.isfinite(target_epsilon):
        raise ConfigError(f"epsilon must be a positive number, not {target_epsilon}")
    _check(sampling_rates, steps, placements, delta)
    make_accountant = functools.partial(_accountant, search_discretisation(target_epsilon))

    def event(placement: Placement) -> Callable[[float], dp_accounting.DpEvent]:
        return functools.partial(
            _training, sampling_rates=sampling_rates, steps=steps, placement=placement
        )

    def enough(placement: Placement, noise_multiplier: float) -> bool:
        accountant = make_accountant().compose(event(placement)(noise_multiplier))
        return float(accountant.get_epsilon(delta)) <= target_epsilon

    def least(placement: Placement, start: float) -> float:
        # Little noise makes a long privacy loss and a slow accountant: come from above.
        high = start
        while not enough(placement, high):
            high *= 2
            if high > _MOST_NOISE:
                raise ConfigError(
                    f"no noise multiplier up to {_MOST_NOISE:g} gives epsilon={target_epsilon} at "
                    f"delta={delta}: ask for a larger epsilon or fewer rounds"
                )
        while high > _LEAST_NOISE and enough(placement, high / 2):
            high /= 2
        if high <= _LEAST_NOISE:
            raise ConfigError(
                f"epsilon={target_epsilon} needs next to no noise: ask for a smaller one"
            )
        return float(
            dp_accounting.calibrate_dp_mechanism(
                make_accountant,
                event(placement),
                target_epsilon,
                delta,
                dp_accounting.ExplicitBracketInterval(high / 2, high),
                tol=1e-3 * high,
            )
        )

    def needed(placement: Placement) -> float:
        # A mixture costs a hundred times a plain Gaussian; at most one row a party is plain and
        # tells where to look.
        single = tuple(min(1, rows) for rows in placement)
        floor = least(single, 1.0)
        return floor if placement == single else least(placement, 2 * floor)

    def likely_cost(placement: Placement) -> float:
        shares = zip(sampling_rates, steps, placement, strict=True)
        return sum(count * (rate * rows) ** 2 for rate, count, rows in shares)

    noise_multiplier = 0.0
    for placement in sorted(worst_placements(placements), key=likely_cost, reverse=True):
        if noise_multiplier == 0.0 or not enough(placement, noise_multiplier):
            noise_multiplier = needed(placement)
    return noise_multiplier


def search_discretisation(target_epsilon: float) -> float:
    """Grow the grid with ε, since a fine one costs minutes and saves less than one part in 200."""
    return 2 * _DISCRETISATION * min(max(1.0, target_epsilon), 50.0)


def worst_placements(placements: Sequence[Placement]) -> list[Placement]:
    """Keep the placements that no other one covers in every party; only these can be worst."""
    distinct = sorted(set(placements), reverse=True)
    if not any(map(any, distinct)):
        raise ConfigError("privacy needs at least one unit with a training row")
    if len(set(map(len, distinct))) > 1:
        raise ConfigError("every unit needs one row count a party")
    return [
        candidate
        for candidate in distinct
        if not any(
            other != candidate and all(o >= c for o, c in zip(other, candidate, strict=True))
            for other in distinct
        )
    ]


def _check(
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placements: Sequence[Placement],
    delta: float,
) -> None:
    if not sampling_rates or {len(steps), *map(len, placements)} - {len(sampling_rates)}:
        raise ConfigError("give one sampling rate, one number of steps and one row count a party")
    if any(not 0 < rate <= 1 for rate in sampling_rates):
        raise ConfigError("a Poisson sampling rate must lie in (0, 1]")
    if any(not count >= 0 or count % 1 for count in itertools.chain(steps, *placements)):
        raise ConfigError("steps and rows are whole numbers from 0 up")
    if not 0 < delta < 1:
        raise ConfigError(f"delta must lie between 0 and 1, not {delta}")


def _accountant(discretisation: float) -> pld.PLDAccountant:
    return pld.PLDAccountant(
        dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE,
        value_discretization_interval=discretisation,
    )


def _training(
    noise_multiplier: float,
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placement: Placement,
) -> dp_accounting.DpEvent:
    return dp_accounting.ComposedDpEvent(
        [
            dp_accounting.SelfComposedDpEvent(_step(noise_multiplier, rate, rows), count)
            for rate, count, rows in zip(sampling_rates, steps, placement, strict=True)
            if rows > 0 and count > 0
        ]
    )


def _step(noise_multiplier: float, rate: float, rows: int) -> dp_accounting.DpEvent:
    if rows == 1:
        return dp_accounting.PoissonSampledDpEvent(
            rate, dp_accounting.GaussianDpEvent(noise_multiplier)
        )
    sensitivities = list(range(rows + 1))
    probabilities = [float(p) for p in stats.binom.pmf(sensitivities, rows, rate)]
    return dp_accounting.dp_event.MixtureOfGaussiansDpEvent(
        noise_multiplier, sensitivities, probabilities
    )
