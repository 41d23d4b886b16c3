"""The privacy cost of noisy steps by privacy loss distributions, for units with several rows.

A unit (all rows of one Dress_ID, say) with r rows at a party enters each Poisson batch j times with
probability Binomial(r, q)(j). Where each party adds its own noise, a step shows one noisy sum for
each party, and these compose. Where all parties' sums become one sum under one noise, a step shows
only that one, with the unit's rows of all parties in it. What one step costs is in
`privfed.dp.losses`, what many cost together in `privfed.dp.composition`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from privfed.dp.batches import BatchCap, Cases, covers, likely_rows, together, unit_cases
from privfed.errors import ConfigError

# They bring SciPy, which who only draws noise does not wait for.
if TYPE_CHECKING:
    from privfed.dp.composition import Composition
    from privfed.dp.envelope import Part

ACCOUNTANT = "PLD (connect-the-dots, tilted FFT)"
ADJACENCY = "zero-out of one unit"  # its rows add nothing, their number stays: sizes are public

_LEAST_NOISE, _MOST_NOISE = 0.1, 2.0**20
_LEAST_DELTA = 1e-250
_TAIL = 2.0**-40  # of δ, that each step may lose in its tails
_WASTE = 1e-3  # share of the noise, at most, that the target would not need
_NEAR = 2e-4  # a spent ε so near its target is found

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
    batch_caps: Sequence[BatchCap] | None = None,
    discretisation: float | None = None,
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
        batch_caps: Each party's rows, and the most of them in one batch; None: no batch is cut.
        discretisation: Grid of the privacy loss; a coarser one is faster and gives a larger ε.
            None: fine enough that the noise is within 0.5 % of what is needed.

    Returns:
        The upper bound on ε under zeroing out the unit, for somebody who sees every model;
        errors of floating point are in it (docs/accounting.md).

    Raises:
        ConfigError: A value outside its range, or lists of different lengths.
    """
    if not noise_multiplier > 0 or not math.isfinite(noise_multiplier):
        raise ConfigError(f"the noise multiplier must be a positive number, not {noise_multiplier}")
    if discretisation is not None and not discretisation > 0:
        raise ConfigError(f"the discretisation must be a positive number, not {discretisation}")
    _check(sampling_rates, steps, [placement], delta, joint, batch_caps)
    releases = _releases(sampling_rates, steps, placement, joint, batch_caps)
    return _epsilon(noise_multiplier, releases, delta, discretisation)


def worst_kinds(
    noise_multiplier: float,
    *,
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placements: Sequence[Placement],
    joint: bool,
    batch_caps: Sequence[BatchCap] | None = None,
) -> tuple[tuple[Part, ...], ...]:
    """Return what each kind of unit takes part in, but for kinds that never lose the most.

    Those are left out that never lose more than another one, whatever is composed with them.
    """
    kinds = {
        _releases(sampling_rates, steps, placement, joint, batch_caps) for placement in placements
    }
    kinds -= {()}
    worst = [kind for kind in kinds if not any(_covers(other, kind) for other in kinds - {kind})]
    return tuple(
        tuple((noise_multiplier, cases, count) for cases, count in kind) for kind in sorted(worst)
    )


def compose(
    parts: Sequence[Part], delta: float, discretisation: float | None = None
) -> tuple[Composition, Composition]:
    """Return the losses of all parts together, for removing the unit and for adding it.

    Args:
        parts: At least one.
        delta: The least δ that will be asked for.
        discretisation: As in `dp_sgd_epsilon`.
    """
    from privfed.dp.composition import Composition
    from privfed.dp.losses import release_losses

    tail = step_tail(delta)
    if discretisation is None:
        discretisation = common_grid(parts, delta)
    found = [
        (release_losses(sigma, cases, discretisation, tail), count) for sigma, cases, count in parts
    ]
    return (
        Composition([(each.removed, count) for each, count in found]),
        Composition([(each.added, count) for each, count in found]),
    )


def step_tail(delta: float) -> float:
    """Return the mass at an end of a step's noise that needs not be followed for that δ."""
    return delta * _TAIL


def common_grid(parts: Sequence[Part], delta: float, cells: int | None = None) -> float:
    """Return the grid on which all parts together waste little; `cells` as in `loss_grid`."""
    from privfed.dp.losses import loss_grid, release_grid

    grids = [release_grid(sigma, cases, step_tail(delta)) for sigma, cases, _ in parts]
    counts = [count for *_, count in parts]
    variance = sum(count * each for count, (each, _) in zip(counts, grids, strict=True))
    return loss_grid(variance, sum(counts), max(finest for _, finest in grids), cells)


def calibrate_noise_multiplier(
    target_epsilon: float,
    *,
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placements: Sequence[Placement],
    delta: float,
    joint: bool = False,
    batch_caps: Sequence[BatchCap] | None = None,
) -> float:
    """Return a noise multiplier whose ε is at most `target_epsilon` for every placement.

    It is at most one part in a thousand more than the least that the same grid of losses allows.

    Raises:
        ConfigError: `target_epsilon` is not positive or no noise reaches it, or another value is
            one that `dp_sgd_epsilon` refuses.
    """
    if not target_epsilon > 0 or not math.isfinite(target_epsilon):
        raise ConfigError(f"epsilon must be a positive number, not {target_epsilon}")
    _check(sampling_rates, steps, placements, delta, joint, batch_caps)
    kinds = {
        _releases(sampling_rates, steps, placement, joint, batch_caps)
        for placement in worst_placements(placements)
    }
    found = 0.0
    for releases in sorted(kinds, key=lambda kind: (_likely_cost(kind), kind), reverse=True):

        def spent(noise_multiplier: float, releases: _Releases = releases) -> float:
            return _epsilon(noise_multiplier, releases, delta, None, target_epsilon)

        if releases and (found == 0.0 or spent(found) > target_epsilon):
            nearly = math.sqrt(-2 * _likely_cost(releases) * math.log(delta)) / target_epsilon
            found = least_noise(spent, target_epsilon, nearly)
    if found == 0.0:
        raise ConfigError("no step shows a row of any unit: there is nothing to calibrate")
    return found


def least_noise(spent: Callable[[float], float], target_epsilon: float, guess: float) -> float:
    """Search along the line through the last two points, ε over noise in logarithms."""
    low, high = _LEAST_NOISE / 2, math.inf  # too little, and enough
    sigma, slope, before = min(max(guess, 2 * _LEAST_NOISE), _MOST_NOISE), -1.0, (0.0, 0.0)
    while True:
        found = spent(sigma)
        low, high = (low, sigma) if found <= target_epsilon else (sigma, high)
        if low >= _MOST_NOISE:
            raise ConfigError(
                f"no noise multiplier up to {_MOST_NOISE:g} gives epsilon={target_epsilon} at this "
                "delta: ask for a larger epsilon or fewer rounds"
            )
        if high <= _LEAST_NOISE:
            raise ConfigError(
                f"epsilon={target_epsilon} needs next to no noise: ask for a smaller one"
            )
        near = (1 - _NEAR) * target_epsilon <= found <= target_epsilon
        if near or high - low < _WASTE / 2 * high:
            return high
        step = 2.0 if found > target_epsilon else 0.5
        if 0 < found < math.inf:
            now = math.log(sigma), math.log(found)
            if before[1] and now[0] != before[0]:
                slope = min(-0.5, (now[1] - before[1]) / (now[0] - before[0]))
            before = now
            step = math.exp((math.log(target_epsilon * (1 - _NEAR / 2)) - now[1]) / slope)
        sigma *= min(max(step, 1 / 8), 8.0)
        if not low < sigma < high:
            sigma = math.sqrt(low * high) if high < math.inf else 2 * low
        sigma = min(max(sigma, _LEAST_NOISE), _MOST_NOISE)


def worst_placements(placements: Sequence[Placement]) -> list[Placement]:
    """Keep the placements that no other one covers in every party; only these can be worst."""
    distinct = sorted(set(placements), reverse=True)
    if not any(map(any, distinct)):
        raise ConfigError("privacy needs at least one unit with a training row")
    if len(set(map(len, distinct))) > 1:
        raise ConfigError("every unit needs one row count a party")
    sums = list(map(sum, distinct))  # who covers another one has more rows: of equal sums, nobody
    return [
        candidate
        for candidate, rows in zip(distinct, sums, strict=True)
        if not any(
            more > rows and all(o >= c for o, c in zip(other, candidate, strict=True))
            for other, more in zip(distinct, sums, strict=True)
        )
    ]


_Releases = tuple[tuple[Cases, int], ...]
"""Chances that j = 0, 1 … rows of a unit are in a release, and how often such a release is made."""


def _releases(
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placement: Placement,
    joint: bool,
    batch_caps: Sequence[BatchCap] | None,
) -> _Releases:
    caps = [None] * len(placement) if batch_caps is None else batch_caps
    each = [
        unit_cases(rows, rate, cap)
        for rows, rate, cap in zip(placement, sampling_rates, caps, strict=True)
    ]
    counts = list(steps)
    if joint:
        each, counts = [together(each)], counts[:1]
    found: dict[Cases, int] = {}
    for cases, count in zip(each, counts, strict=True):
        if any(any(chances[1:]) for _, chances in cases) and count > 0:
            found[cases] = found.get(cases, 0) + int(count)
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
    return count >= least and covers(more, fewer)


def _likely_cost(releases: _Releases) -> float:
    return sum(count * likely_rows(cases) for cases, count in releases)


@functools.lru_cache(maxsize=4096)  # parties of one size and rate cost the same
def _epsilon(
    noise_multiplier: float,
    releases: _Releases,
    delta: float,
    discretisation: float | None,
    enough: float = math.inf,
) -> float:
    """Return ε, or where it is more than `enough` perhaps that of one direction."""
    if not releases:
        return 0.0
    parts = [(noise_multiplier, cases, count) for cases, count in releases]
    removed, added = compose(parts, delta, discretisation)
    found = removed.epsilon(delta)
    return found if found > enough else max(found, added.epsilon(delta))


def _check(
    sampling_rates: Sequence[float],
    steps: Sequence[int],
    placements: Sequence[Placement],
    delta: float,
    joint: bool,
    batch_caps: Sequence[BatchCap] | None,
) -> None:
    if not sampling_rates or {len(steps), *map(len, placements)} - {len(sampling_rates)}:
        raise ConfigError("give one sampling rate, one number of steps and one row count a party")
    if any(not 0 < rate <= 1 for rate in sampling_rates):
        raise ConfigError("a Poisson sampling rate must lie in (0, 1]")
    if any(not count >= 0 or count % 1 for count in itertools.chain(steps, *placements)):
        raise ConfigError("steps and rows are whole numbers from 0 up")
    if batch_caps is not None and (
        len(batch_caps) != len(sampling_rates) or any(min(cap) < 1 for cap in batch_caps)
    ):
        raise ConfigError("give each party's rows and the most of them in a batch, from 1 up")
    if joint and len(set(steps)) > 1:
        raise ConfigError("parties whose sums become one take the same number of steps")
    check_delta(delta)


def check_delta(delta: float) -> None:
    """Refuse a δ that is none, or too small for doubles.

    Raises:
        ConfigError: It is not between 0 and 1, or less than 1e-250.
    """
    if not 0 < delta < 1:
        raise ConfigError(f"delta must lie between 0 and 1, not {delta}")
    if delta < _LEAST_DELTA:
        raise ConfigError(f"delta={delta} is less than can be accounted for: {_LEAST_DELTA:g}")
