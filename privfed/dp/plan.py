"""One object that binds what must agree: sampling, clipping, noise, steps, unit and their cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from privfed.dp.accounting import (
    ACCOUNTANT,
    ADJACENCY,
    Placement,
    calibrate_noise_multiplier,
    dp_sgd_epsilon,
    search_discretisation,
    worst_placements,
)
from privfed.errors import ConfigError


@dataclass(frozen=True)
class DPSGDPlan:
    """Local DP-SGD at every party, full noise each; made by `plan_dp_sgd`, never by hand.

    Attributes:
        rounds: federated rounds; each party does `steps_per_round` noisy steps in one.
        rows: public number of training rows of each party.
        sampling_rates: Poisson rate of each party's rows in a step.
        steps_per_round: noisy steps a round of each party.
        l2_clip_norm: bound on one row's gradient.
        noise_multiplier: standard deviation of the noise on a clipped sum over `l2_clip_norm`.
        target_epsilon: asked.
        epsilon: what the worst-placed unit spends in all rounds, at most `target_epsilon`.
        epsilon_single_row: what a unit with one row at one party spends.
        delta: the δ of both.
        privacy_unit: what is protected, in words.
        placements: rows of the worst-placed units at each party; assumed public.
    """

    rounds: int
    rows: tuple[int, ...]
    sampling_rates: tuple[float, ...]
    steps_per_round: tuple[int, ...]
    l2_clip_norm: float
    noise_multiplier: float
    target_epsilon: float
    epsilon: float
    epsilon_single_row: float
    delta: float
    privacy_unit: str
    placements: tuple[Placement, ...]
    adjacency: str = ADJACENCY
    accountant: str = ACCOUNTANT
    sampling: str = "Poisson, secret coins at each party"

    @property
    def steps(self) -> tuple[int, ...]:
        """Noisy steps of each party in all rounds."""
        return tuple(self.rounds * count for count in self.steps_per_round)


def check_delta(delta: float, rows: Sequence[int]) -> None:
    """Refuse a δ that would allow a party to publish one of its rows.

    Raises:
        ConfigError: `delta` is not below one over the rows of every party.
    """
    if not 0 < delta < 1 / max(rows):
        raise ConfigError(
            f"delta={delta} is not between 0 and 1/{max(rows)}, one over a party's rows: "
            "a larger delta allows a row to be published; ask for a smaller one"
        )


def plan_dp_sgd(
    target_epsilon: float,
    *,
    delta: float,
    rounds: int,
    rows: Sequence[int],
    expected_batch_size: int,
    l2_clip_norm: float,
    placements: Sequence[Placement],
    privacy_unit: str,
) -> DPSGDPlan:
    """Calibrate local DP-SGD so that the worst-placed unit spends at most `target_epsilon`.

    Args:
        target_epsilon: asked ε > 0 over all rounds and parties.
        delta: the δ, which should be below one over the number of units.
        rounds: federated rounds of one local epoch, ≥ 1.
        rows: training rows of each party, ≥ 1; assumed public.
        expected_batch_size: rows expected in a Poisson batch; a party with fewer takes all.
        l2_clip_norm: bound on one row's gradient, > 0.
        placements: for each unit, its training rows at each party.
        privacy_unit: what is protected, in words, such as "all rows of one Dress_ID".

    Raises:
        ConfigError: a value outside its range, or an ε that no noise reaches.
    """
    if rounds < 1 or expected_batch_size < 1 or not rows or min(rows) < 1:
        raise ConfigError("rounds, the batch size and every party's rows must be at least 1")
    if not l2_clip_norm > 0 or not math.isfinite(l2_clip_norm):
        raise ConfigError(f"the clip norm must be a positive number, not {l2_clip_norm}")
    check_delta(delta, rows)
    sampling_rates = tuple(min(1.0, expected_batch_size / count) for count in rows)
    steps_per_round = tuple(math.ceil(count / expected_batch_size) for count in rows)
    steps = tuple(rounds * count for count in steps_per_round)
    worst = tuple(worst_placements(placements))
    noise_multiplier = calibrate_noise_multiplier(
        target_epsilon,
        sampling_rates=sampling_rates,
        steps=steps,
        placements=worst,
        delta=delta,
    )

    def spent(placement: Placement) -> float:
        return dp_sgd_epsilon(
            noise_multiplier,
            sampling_rates=sampling_rates,
            steps=steps,
            placement=placement,
            delta=delta,
            discretisation=search_discretisation(target_epsilon),
        )

    one_row = [tuple(int(i == j) for j in range(len(rows))) for i in range(len(rows))]
    return DPSGDPlan(
        rounds=rounds,
        rows=tuple(rows),
        sampling_rates=sampling_rates,
        steps_per_round=steps_per_round,
        l2_clip_norm=l2_clip_norm,
        noise_multiplier=noise_multiplier,
        target_epsilon=target_epsilon,
        epsilon=max(spent(placement) for placement in worst),
        epsilon_single_row=max(spent(placement) for placement in one_row),
        delta=delta,
        privacy_unit=privacy_unit,
        placements=worst,
    )
