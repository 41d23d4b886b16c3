"""The private mean of rows whose ranges are public: one noisy sum, paid like any other.

It is a plan of one round in which every row takes part: a party's vectors are its rows, moved to
the middle of their ranges, in units of half of them, and clipped to the plan's norm on the grid of
`privfed.training.row_grid`, so that each row counts for itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from privfed.dp import PrivacyBudget, PrivacyPlan
from privfed.errors import ConfigError
from privfed.training.clipping import ClippedSum
from privfed.training.contributions import check_rows
from privfed.training.noisy_sums import NoisySums
from privfed.training.row_grid import RowGrid, sum_in_halves

Floats = NDArray[np.float64]


class _RowVectors:
    """One party's rows as what it puts into a sum; a `Contributor`."""

    def __init__(
        self, rows: Floats, middle: Floats, half: Floats, plan: PrivacyPlan, party: int
    ) -> None:
        check_rows(plan, party, len(rows))
        if rows.shape != (len(rows), plan.dimension):
            raise ConfigError(
                f"the plan is for rows of {plan.dimension} values, not {list(rows.shape[1:])}"
            )
        self.plan, self.party = plan, party
        self._rows, self._middle, self._half = rows, middle, half

    def contribute(self, round_id: int) -> ClippedSum:
        """Add up the clipped rows; one that is not finite adds nothing."""
        grid = RowGrid(len(self._rows), self.plan.dimension, self.plan.l2_clip_norm)
        with np.errstate(over="ignore", invalid="ignore"):
            centred = (self._rows - self._middle) / self._half
            factors = grid.factors(sum_in_halves(centred * centred))
        kept = factors > 0
        flat: Floats = np.rint(centred[kept] * factors[kept, None]).sum(axis=0) * grid.spacing
        return ClippedSum({"rows": flat}, flat, self.plan.l2_clip_norm)


def private_mean(
    rows: Sequence[ArrayLike],
    ranges: tuple[ArrayLike, ArrayLike],
    sums: NoisySums,
    budget: PrivacyBudget,
) -> Floats:
    """Return the mean of all parties' rows with the plan's noise; the budget pays before it.

    Rows may leave their ranges, and then count as far as the clip norm lets them. In units of half
    the ranges a row within them is no longer than the root of their number, so that a clip norm of
    that changes no row; a smaller one needs less noise.

    Args:
        rows: (n, d) numbers of each party, in the plan's order.
        ranges: The least and the largest value, for all columns or one each; public.
        sums: How the noisy sum is made. Its plan has one round of one step, rates of 1, the
            dimension d, and a clip norm in units of half the ranges.
        budget: What may be spent on the same units.

    Returns:
        (d,) the noisy mean, in the rows' units: it may be published, and need not lie in the range.

    Raises:
        BudgetExceededError: The mean would exceed the budget, or was taken; no row was touched.
        ConfigError: The rows, the ranges or the plan do not fit one another.
    """
    plan = sums.plan
    once = plan.rounds == 1 and set(plan.steps_per_round) == {1}
    if not once or set(plan.sampling_rates) != {1.0} or plan.truncated_batch_sizes is not None:
        raise ConfigError(
            "a mean takes every row once: calibrate a plan with rounds=1 and sampling rates of 1"
        )
    if len(rows) != plan.parties:
        raise ConfigError(f"the plan has {plan.parties} parties, not {len(rows)}")
    try:
        ends = np.broadcast_arrays(*(np.asarray(end, np.float64) for end in ranges))
        low, high = (np.broadcast_to(end, (plan.dimension,)) for end in ends)
        given = [np.asarray(each, np.float64) for each in rows]
    except (TypeError, ValueError):
        raise ConfigError(
            f"rows are numbers, and ranges two numbers, or two for each of {plan.dimension} columns"
        ) from None
    half = high / 2 - low / 2
    if not (np.isfinite(half).all() and (half > 0).all()):
        raise ConfigError("a range has a finite least value, and a larger finite one")
    middle = low + half
    contributors = [
        _RowVectors(each, middle, half, plan, party) for party, each in enumerate(given)
    ]
    round_id = budget.spend_round(plan)
    sums.prepare(round_id)
    released = sums.release(round_id, [each.contribute(round_id) for each in contributors])
    mean: Floats = middle + half * (released.total / sum(plan.rows))
    return mean
