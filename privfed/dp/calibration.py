"""The least noise that keeps a target: a plan from an ε."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Sequence

from privfed.dp.accounting import Placement, calibrate_noise_multiplier
from privfed.dp.domination import domination_gap
from privfed.dp.plan import Noise, PrivacyPlan, check_rates
from privfed.errors import ConfigError, PrivacyWarning


def calibrate(
    target_epsilon: float,
    delta: float,
    *,
    noise: Noise,
    rows: Sequence[int],
    rounds: int,
    l2_clip_norm: float,
    sampling_rates: Sequence[float] | None = None,
    expected_batch_size: int | None = None,
    steps_per_round: Sequence[int] | None = None,
    placements: Sequence[Placement] | None = None,
    privacy_unit: str = "one row",
    quorum: int | None = None,
    colluders: int = 1,
    left_out: int = 0,
    dimension: int = 1,
    truncated_batch_sizes: Sequence[int] | None = None,
) -> PrivacyPlan:
    """Return the plan with the least noise that keeps the worst-placed unit at `target_epsilon`.

    Args:
        target_epsilon: Asked ε > 0 over all rounds, against insiders.
        delta: Below one over the number of units.
        noise: As in `PrivacyPlan`.
        rows: Training rows of each party, ≥ 1.
        rounds: Rounds in all, ≥ 1.
        l2_clip_norm: Bound on one row's part of a sum, > 0.
        sampling_rates: One per party in (0, 1]; or give `expected_batch_size`.
        expected_batch_size: Rows expected in a party's batch; one with fewer takes all.
        steps_per_round: One per party. None: with local noise once over the rows, else one step.
        placements: For each unit its rows at each party; None: every row is a unit of its own.
        privacy_unit: What is protected, in words.
        quorum: As in `PrivacyPlan`; None: all parties.
        colluders: As in `PrivacyPlan`.
        left_out: As in `PrivacyPlan`.
        dimension: As in `PrivacyPlan`.
        truncated_batch_sizes: As in `PrivacyPlan`.

    Raises:
        ConfigError: A value outside its range, or an ε that no noise reaches.
    """
    if not 0 < target_epsilon < math.inf:
        raise ConfigError(f"epsilon must be a positive number, not {target_epsilon}")
    rows = tuple(rows)
    if (sampling_rates is None) == (expected_batch_size is None):
        raise ConfigError("give either sampling_rates or expected_batch_size")
    if not rows or min(rows) < 1 or (expected_batch_size is not None and expected_batch_size < 1):
        raise ConfigError("the batch size and every party's rows must be at least 1")
    if sampling_rates is None:
        sampling_rates = [min(1.0, (expected_batch_size or 1) / count) for count in rows]
    check_rates(sampling_rates)
    if steps_per_round is None:
        once = noise != "local"
        steps_per_round = [1 if once else math.ceil(1 / rate - 1e-9) for rate in sampling_rates]
    if placements is None:
        placements = [tuple(int(i == p) for i in range(len(rows))) for p in range(len(rows))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyWarning)  # the plan itself will say it
        draft = PrivacyPlan(
            noise=noise,
            rows=rows,
            sampling_rates=tuple(sampling_rates),
            rounds=rounds,
            steps_per_round=tuple(steps_per_round),
            l2_clip_norm=l2_clip_norm,
            noise_multiplier=1.0,
            delta=delta,
            privacy_unit=privacy_unit,
            placements=tuple(placements),
            quorum=len(rows) if quorum is None else quorum,
            colluders=colluders,
            left_out=left_out,
            dimension=dimension,
            truncated_batch_sizes=(
                None if truncated_batch_sizes is None else tuple(truncated_batch_sizes)
            ),
        )
    gap = domination_gap(dimension, rounds, len(rows)) if draft.is_shared else 0.0
    noise_multiplier = calibrate_noise_multiplier(
        target_epsilon - 2 * gap,
        sampling_rates=draft.sampling_rates,
        steps=draft.steps,
        placements=draft.placements,
        delta=delta * math.exp(-gap),
        joint=noise != "local",
        batch_caps=draft.batch_caps,
    )
    # Rounded up a little, so that converting to the grid and back never gives too little noise.
    return dataclasses.replace(
        draft, noise_multiplier=noise_multiplier * (1 + 1e-9), target_epsilon=target_epsilon
    )
