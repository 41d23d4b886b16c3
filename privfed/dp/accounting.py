"""The privacy cost of noisy steps by privacy loss distributions, for units with several rows.

A unit (all rows of one Dress_ID, say) with r rows at a party enters each Poisson batch j times with
probability Binomial(r, q)(j). Where each party adds its own noise, a step shows one noisy sum for
each party, and these compose. Where all parties' sums become one sum under one noise, a step shows
only that one, with the unit's rows of all parties in it. What one step costs is in
`privfed.dp.losses`; dp-accounting composes the steps.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from privfed.errors import ConfigError

if TYPE_CHECKING:
    from dp_accounting.pld import privacy_loss_distribution as pld

ACCOUNTANT = "PLD (dp-accounting, connect-the-dots)"
ADJACENCY = "zero-out of one unit"  # its rows add nothing, their number stays: sizes are public
_DISCRETISATION = 1e-3  # of the privacy loss; a coarser one gives a larger, still valid ε

_LEAST_NOISE, _MOST_NOISE = 0.1, 2.0**20
_WASTE = 1e-3  # share of the noise, at most, that the target would not need

Placement = tuple[int, ...]
"""Training rows that one unit has at each party, such as (2, 1)."""


def dp_sgd_epsilon(
    noise_multiplier: float,
    *,
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placement: Placement,
    delta: float,
    joint: bool = False,
    discretisation: float = _DISCRETISATION,
) -> float:
    """Return ε for a unit whose rows lie as `placement` says.

    Args:
        noise_multiplier: Standard deviation of the noise over the clip norm, > 0: of each party's
            noise, or where `joint` of the noise on the sum of all parties.
        sampling_rates: Poisson sampling rate in (0, 1] of each party.
        steps: Noisy steps of each party, ≥ 0; where `joint`, the same number for all.
        placement: The unit's training rows at each party.
        delta: In (0, 1).
        joint: Whether a step shows nothing but one noisy sum over all parties.
        discretisation: Grid of the privacy loss; a coarser one is faster and gives a larger ε.

    Returns:
        The upper bound on ε under zeroing out the unit, for somebody who sees every model.

    Raises:
        ConfigError: A value outside its range, or lists of different lengths.
    """
    if not noise_multiplier > 0 or not math.isfinite(noise_multiplier):
        raise ConfigError(f"the noise multiplier must be a positive number, not {noise_multiplier}")
    if not discretisation > 0:
        raise ConfigError(f"the discretisation must be a positive number, not {discretisation}")
    _check(sampling_rates, steps, [placement], delta, joint)
    releases = _releases(sampling_rates, steps, placement, joint)
    return _epsilon(noise_multiplier, releases, delta, discretisation)


def dp_sgd_losses(
    noise_multiplier: float,
    *,
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placements: Sequence[Placement],
    joint: bool,
    discretisation: float,
) -> list[pld.PrivacyLossDistribution]:
    """Return the distributions that `dp_sgd_epsilon` computes ε from, one for each placement.

    Placements that never lose more than another one, whatever is composed with them, are left out.
    """
    kinds = {_releases(sampling_rates, steps, placement, joint) for placement in placements}
    worst = [kind for kind in kinds if not any(_covers(other, kind) for other in kinds - {kind})]
    return [_composed(noise_multiplier, releases, discretisation) for releases in sorted(worst)]


def calibrate_noise_multiplier(
    target_epsilon: float,
    *,
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placements: Sequence[Placement],
    delta: float,
    joint: bool = False,
) -> float:
    """Return a noise multiplier whose ε is at most `target_epsilon` for every placement.

    It is at most one part in a thousand more than the least that the same grid of losses allows.

    Raises:
        ConfigError: `target_epsilon` is not positive or no noise reaches it, or another value is
            one that `dp_sgd_epsilon` refuses.
    """
    if not target_epsilon > 0 or not math.isfinite(target_epsilon):
        raise ConfigError(f"epsilon must be a positive number, not {target_epsilon}")
    _check(sampling_rates, steps, placements, delta, joint)
    discretisation = search_discretisation(target_epsilon)
    worst = [
        _releases(sampling_rates, steps, placement, joint)
        for placement in worst_placements(placements)
    ]

    def enough(releases: _Releases, noise_multiplier: float) -> bool:
        return _epsilon(noise_multiplier, releases, delta, discretisation) <= target_epsilon

    found = 0.0
    for releases in sorted(worst, key=_likely_cost, reverse=True):
        if found == 0.0 or not enough(releases, found):
            found = _least(functools.partial(enough, releases), target_epsilon)
    return found


def _least(enough: Callable[[float], bool], target_epsilon: float) -> float:
    """Search from above: little noise makes a long privacy loss and a slow answer."""
    high = 1.0
    while not enough(high):
        high *= 2
        if high > _MOST_NOISE:
            raise ConfigError(
                f"no noise multiplier up to {_MOST_NOISE:g} gives epsilon={target_epsilon} at this "
                "delta: ask for a larger epsilon or fewer rounds"
            )
    while high > _LEAST_NOISE and enough(high / 2):
        high /= 2
    if high <= _LEAST_NOISE:
        raise ConfigError(f"epsilon={target_epsilon} needs next to no noise: ask for a smaller one")
    low = high / 2
    while high - low > _WASTE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def search_discretisation(target_epsilon: float) -> float:
    """Grow the grid with ε, since a fine one costs seconds and saves less than one part in 200."""
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


_Releases = tuple[tuple[tuple[float, ...], int], ...]
"""Chances that j = 0, 1 … rows of a unit are in a release, and how often such a release is made."""


def _releases(
    sampling_rates: Sequence[float], steps: Sequence[int], placement: Placement, joint: bool
) -> _Releases:
    from scipy import stats  # half a second, which who only draws noise does not wait for

    each = [
        tuple(map(float, stats.binom.pmf(range(rows + 1), rows, rate)))
        for rows, rate in zip(placement, sampling_rates, strict=True)
    ]
    counts = list(steps)
    if joint:
        together = functools.reduce(np.convolve, map(np.asarray, each))
        each, counts = [tuple(map(float, together))], counts[:1]
    found: dict[tuple[float, ...], int] = {}
    for chances, count in zip(each, counts, strict=True):
        if len(chances) > 1 and count > 0:
            found[chances] = found.get(chances, 0) + int(count)
    return tuple(sorted(found.items()))


def _covers(one: _Releases, other: _Releases) -> bool:
    """Return whether `one` surely loses at least as much as `other`.

    It does if it is released as often or more, with any number of rows at least as likely. For the
    loss rises with the noisy value: the best test for the unit is a threshold, and more rows pass
    it more often.
    """
    if len(one) != 1 or len(other) != 1:
        return False
    (more, count), (fewer, least) = one[0], other[0]
    # Chances of at least 1, 2 … rows; summed from the far end, so that zeros there are exact.
    size = max(len(more), len(fewer))
    at_least = [np.cumsum(np.pad(p, (0, size - len(p)))[:0:-1]) for p in (more, fewer)]
    return count >= least and bool(np.all(at_least[0] >= at_least[1]))


def _likely_cost(releases: _Releases) -> float:
    return sum(
        count * sum(rows * chance for rows, chance in enumerate(chances)) ** 2
        for chances, count in releases
    )


@functools.lru_cache(maxsize=4096)  # parties of one size and rate cost the same
def _epsilon(
    noise_multiplier: float, releases: _Releases, delta: float, discretisation: float
) -> float:
    composed = _composed(noise_multiplier, releases, discretisation)
    return float(composed.get_epsilon_for_delta(delta))


def _composed(
    noise_multiplier: float, releases: _Releases, discretisation: float
) -> pld.PrivacyLossDistribution:
    from dp_accounting.pld import privacy_loss_distribution as pld  # half a second, as above

    from privfed.dp.losses import step_loss

    composed = pld.identity(discretisation)
    for chances, count in releases:
        step = step_loss(noise_multiplier, chances, discretisation)
        composed = composed.compose(step.self_compose(count))
    return composed


def _check(
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placements: Sequence[Placement],
    delta: float,
    joint: bool,
) -> None:
    if not sampling_rates or {len(steps), *map(len, placements)} - {len(sampling_rates)}:
        raise ConfigError("give one sampling rate, one number of steps and one row count a party")
    if any(not 0 < rate <= 1 for rate in sampling_rates):
        raise ConfigError("a Poisson sampling rate must lie in (0, 1]")
    if any(not count >= 0 or count % 1 for count in itertools.chain(steps, *placements)):
        raise ConfigError("steps and rows are whole numbers from 0 up")
    if joint and len(set(steps)) > 1:
        raise ConfigError("parties whose sums become one take the same number of steps")
    if not 0 < delta < 1:
        raise ConfigError(f"delta must lie between 0 and 1, not {delta}")
