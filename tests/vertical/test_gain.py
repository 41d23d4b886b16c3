"""Whether a gain is seen where there is one, and no gain where there is none."""

from __future__ import annotations

import pytest

from privfed.vertical.measures import measure, measured_gain
from tests.vertical.joined import held_out

SEEDS = 40
# Without any gain an interval lies above 0 with probability .025 at most (the other side's columns
# are noise then, and cost a little). More than 4 of 40 have probability .004.
MOST_FALSE_ALARMS = 4


def gains(worth: float) -> int:
    """How many seeds show a gain."""
    found = 0
    for seed in range(SEEDS):
        rows = held_out(worth, customers=1200, seed=seed)
        gain = measured_gain("AUC", rows.labels, rows.pooled, rows.alone, "logistic")
        assert gain is not None
        found += gain.low > 0
    return found


def test_a_shop_whose_columns_are_worth_nothing_gains_nothing() -> None:
    assert gains(0.0) <= MOST_FALSE_ALARMS


def test_and_a_gain_that_there_is_is_seen_by_the_same_count() -> None:
    assert gains(1.0) >= 30


@pytest.mark.parametrize(
    ("worth", "alone", "pooled"), [(0.0, 0.695, 0.692), (0.5, 0.673, 0.704), (1.0, 0.647, 0.750)]
)
def test_the_knob_is_worth_what_was_measured(worth: float, alone: float, pooled: float) -> None:
    rows = held_out(worth, customers=20_000, seed=0)
    assert measure("AUC", rows.labels, rows.alone, "logistic") == pytest.approx(alone, abs=0.02)
    assert measure("AUC", rows.labels, rows.pooled, "logistic") == pytest.approx(pooled, abs=0.02)
