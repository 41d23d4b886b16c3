"""The privacy of a training between companies: what a plan's few words come to."""

from __future__ import annotations

import math
from collections.abc import Sequence

from privfed.dp import Noise, PrivacyPlan, calibrate


def training_privacy(
    epsilon: float,
    delta: float,
    *,
    noise: Noise,
    rows: Sequence[int],
    rounds: int,
    spare_rounds: int | None,
    expected_batch_size: int,
    l2_clip_norm: float,
    per_id: int | None,
    dimension: int,
) -> PrivacyPlan:
    """Return the plan with the least noise for a target, in which every party takes part each time.

    Args:
        epsilon: Asked ε > 0 over all rounds, against insiders.
        delta: Below one over the number of units.
        noise: As in `PrivacyPlan`. "local": an epoch of noisy steps a round; else one step.
        rows: Training rows of each party; public.
        rounds: Rounds that are finished in the end.
        spare_rounds: Rounds more that are paid for, as one that gets lost is paid anew; None: one
            in twenty, and at least 3.
        expected_batch_size: Rows expected in a party's batch.
        l2_clip_norm: Bound on one row's gradient.
        per_id: The most rows of one ID at each party, whose rows at all parties are then protected
            together. None: each row by itself.
        dimension: Parameters of the model.

    Raises:
        ConfigError: A value is out of its range, or no noise reaches the ε.
    """
    spare = max(3, math.ceil(rounds / 20)) if spare_rounds is None else spare_rounds
    return calibrate(
        epsilon,
        delta,
        noise=noise,
        rows=rows,
        rounds=rounds + spare,
        expected_batch_size=expected_batch_size,
        l2_clip_norm=l2_clip_norm,
        placements=None if per_id is None else [(per_id,) * len(rows)],
        privacy_unit=_unit(per_id),
        dimension=dimension,
    )


def unit_of(private: PrivacyPlan) -> str | None:
    """Return what the placements of a plan protect, in the words that `training_privacy` uses."""
    if all(sum(unit) == 1 for unit in private.placements):
        return _unit(None)
    counts = {count for unit in private.placements for count in unit}
    return _unit(counts.pop()) if len(counts) == 1 else None


def _unit(per_id: int | None) -> str:
    if per_id is None:
        return "one row"
    return f"all rows of one ID at all parties, at most {per_id} at each"
