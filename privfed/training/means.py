"""The private mean of rows whose ranges are public: one noisy sum, paid like any other.

It is a plan of one round in which every row takes part: a party's vectors are its rows, moved to
the middle of their ranges, in units of half of them, and clipped to the plan's norm on the grid of
`privfed.training.row_grid`, so that each row counts for itself.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any

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
        self,
        rows: ArrayLike,
        middle: Floats,
        half: Floats,
        plan: PrivacyPlan,
        party: int,
        ids: ArrayLike | None,
    ) -> None:
        self._rows = _by_row(rows, plan.dimension)
        check_rows(plan, party, len(self._rows), ids)
        self.plan, self.party = plan, party
        self._middle, self._half = middle, half

    def contribute(self, round_id: int) -> ClippedSum:
        """Add up the clipped rows; one that is not finite, or no row of numbers, adds nothing."""
        grid = RowGrid(len(self._rows), self.plan.dimension, self.plan.l2_clip_norm)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one that numpy gives of a cell would tell of it
            rows = _numbers(self._rows, self.plan.dimension)
            centred = (rows - self._middle) / self._half
            factors = grid.factors(sum_in_halves(centred * centred))
            kept = factors > 0
            total = np.rint(centred[kept] * factors[kept, None]).sum(axis=0)
        flat: Floats = total * grid.spacing
        return ClippedSum({"rows": flat}, flat, self.plan.l2_clip_norm)


def _by_row(rows: Any, dimension: int) -> NDArray[Any] | list[Any]:
    """Return an array of numbers, or whatever each row is; no cell is read.

    Raises:
        ConfigError: These are no rows of so many numbers, by type and shape alone.
    """
    if not hasattr(rows, "__array__"):
        if isinstance(rows, Sequence):
            return list(rows)
        raise ConfigError(f"rows are an array or a list of rows, not a {type(rows).__name__}")
    try:
        read = rows if isinstance(rows, np.ma.MaskedArray) else np.asarray(rows)
    except Exception as error:  # whatever an array of another library raises, by its type
        raise ConfigError(
            f"rows are an array of numbers, and numpy does not read this {type(rows).__name__}: "
            f"{type(error).__name__}"
        ) from None
    if read.ndim != 2 or read.shape[1] != dimension or read.dtype.kind not in "biufO":
        raise ConfigError(
            f"the plan is for rows of {dimension} numbers, not {list(read.shape[1:])} of "
            f"{read.dtype}"
        )
    if read.dtype.kind == "O" or isinstance(read, np.ma.MaskedArray):
        return list(read)
    return read


def _numbers(rows: NDArray[Any] | list[Any], dimension: int) -> Floats:
    """Return (n, d) numbers; NaN for a row that has a cell which is none."""
    if not isinstance(rows, list):
        return rows.astype(np.float64)
    found = np.full((len(rows), dimension), np.nan)
    for place, row in enumerate(rows):
        with contextlib.suppress(Exception):  # whatever a cell raises; it would tell of the row
            if not np.ma.is_masked(row):
                found[place] = np.asarray(row, np.float64).reshape(dimension)
    return found


def private_mean(
    rows: Sequence[ArrayLike],
    ranges: tuple[ArrayLike, ArrayLike],
    sums: NoisySums,
    budget: PrivacyBudget,
    *,
    ids: Sequence[ArrayLike] | None = None,
) -> Floats:
    """Return the mean of all parties' rows with the plan's noise; the budget pays before it.

    Rows may leave their ranges, and then count as far as the clip norm lets them. In units of half
    the ranges a row within them is no longer than the root of their number, so that a clip norm of
    that changes no row; a smaller one needs less noise.

    Args:
        rows: (n, d) numbers of each party, in the plan's order. Their form alone is looked at
            before it is paid: n, and of arrays type and shape. A row with a cell that is no finite
            number, or with other than d cells, adds nothing, and nothing says so.
        ranges: The least and the largest value, for all columns or one each; public.
        sums: How the noisy sum is made. Its plan has one round of one step, rates of 1, the
            dimension d, and a clip norm in units of half the ranges.
        budget: What may be spent on the same units.
        ids: For each party the unit of each row, which are then checked against the plan's
            placements.

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
    for given in (rows, ids):
        if given is not None and len(given) != plan.parties:
            raise ConfigError(f"the plan has {plan.parties} parties, not {len(given)}")
    try:
        ends = np.broadcast_arrays(*(np.asarray(end, np.float64) for end in ranges))
        low, high = (np.broadcast_to(end, (plan.dimension,)) for end in ends)
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(
            f"ranges are two numbers, or two for each of {plan.dimension} columns"
        ) from None
    half = high / 2 - low / 2
    if not (np.isfinite(half).all() and (half > 0).all()):
        raise ConfigError("a range has a finite least value, and a larger finite one")
    middle = low + half
    contributors = [
        _RowVectors(each, middle, half, plan, party, None if ids is None else ids[party])
        for party, each in enumerate(rows)
    ]
    round_id = budget.spend_round(plan)
    sums.prepare(round_id)
    released = sums.release(round_id, [each.contribute(round_id) for each in contributors])
    mean: Floats = middle + half * (released.total / sum(plan.rows))
    return mean
