"""Intervals against published values, and by what they promise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from privfed.experiment.intervals import (
    PairedRows,
    mean_interval,
    paired_spread,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_by_newcombe(correct: int, n: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857-872, Table I, method 3."""
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(n - correct, n) == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_wilson_of_nothing() -> None:
    assert wilson_interval(0, 0) is None


def test_student_by_student() -> None:
    """Extra hours of sleep (Biometrika 6, 1908); R's t.test(sleep) gives 0.7001142, 2.4598858."""
    hours = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    assert mean_interval(hours) == pytest.approx((0.7001142, 2.4598858), abs=5e-8)
    low, high = mean_interval([0.5, 0.6]) or (0, 0)  # t with one degree of freedom: 12.706
    assert (low, high) == pytest.approx((0.55 - 12.7062 * 0.05, 0.55 + 12.7062 * 0.05), abs=1e-4)
    assert mean_interval([0.7, 0.7]) == (0.7, 0.7)
    assert mean_interval([0.7]) is None


def rows(differences: Sequence[float], units: Sequence[int] | None = None) -> PairedRows:
    """What accuracies give: each row is right under one arm (1), under the other (-1) or alike."""
    each = np.array(differences, float)
    mean = float(each.mean())
    return PairedRows(mean, (each - mean) / len(each), np.array(units or range(len(each))))


def test_one_seed_is_mcnemars_test() -> None:
    """Of 30 rows that tell the arms apart 22 speak for the first: z = 14 / sqrt(30) = 2.556."""
    paired = rows([1] * 22 + [-1] * 8 + [0] * 70)
    spread = paired_spread([paired])
    assert paired.difference / spread.standard_error == pytest.approx(14 / math.sqrt(30))
    assert spread.degrees == pytest.approx(29)  # 30 rows count, of 100
    half = 2.0452296 * math.sqrt(30) / 100  # t(29, 0.975) as in any table
    assert spread.bounds(0.14) == pytest.approx((0.14 - half, 0.14 + half))
    for of in (2, 10):
        assert spread.bounds(0.14, of=of)[0] < 0.14 - half


@pytest.mark.parametrize(
    ("right", "sure"), [(1, False), (3, False), (5, False), (6, False), (7, True)]
)
def test_a_handful_of_rows_is_sure_where_a_sign_test_is(right: int, sure: bool) -> None:
    """Of six rows all six would be right by chance in one of 32 cases, with t a little more."""
    for others in (0, 50):
        paired = rows([1] * right + [0] * others)
        assert (paired_spread([paired]).bounds(paired.difference)[0] > 0) == sure


def test_rows_of_one_unit_are_one_piece_of_evidence() -> None:
    once = paired_spread([rows([1, 0, 0, -1, 1, 0])])
    twice = paired_spread([rows([1, 0, 0, -1, 1, 0] * 2, [0, 1, 2, 3, 4, 5] * 2)])
    assert (twice.standard_error, twice.degrees) == pytest.approx(
        (once.standard_error, once.degrees)
    )


def test_the_same_units_in_another_seed_are_no_new_evidence() -> None:
    one, other = rows([1, 0, 0, -1, 1, 0]), rows([1, 0, 0, -1, 1, 0], [6, 7, 8, 9, 10, 11])
    alone = paired_spread([one])
    assert paired_spread([one, one]).standard_error == pytest.approx(alone.standard_error)
    assert paired_spread([one, other]).standard_error == pytest.approx(
        alone.standard_error / math.sqrt(2)
    )
    assert alone.seed_error is paired_spread([one, other]).seed_error is None


def test_three_seeds_hold_at_least_what_students_t_over_them_holds() -> None:
    # Differences 0.1, 0.2, 0.3: mean 0.2, standard deviation 0.1; t(2, 0.975) = 4.302653 as in
    # any table, so half the interval is at least 4.302653 * 0.1 / sqrt(3) = 0.248414.
    seeds = [
        rows([1] * plus + [0] * (10_000 - plus), range(at, at + 10_000))
        for at, plus in ((0, 1000), (10_000, 2000), (20_000, 3000))
    ]
    spread = paired_spread(seeds)
    assert spread.seed_error == pytest.approx(0.1 / math.sqrt(3))
    assert spread.bounds(0.2) == pytest.approx((0.2 - 0.248414, 0.2 + 0.248414), abs=2e-3)
    assert spread.bounds(0.2)[0] <= 0.2 - 0.248413
    # Seeds that happen to agree say nothing of the rows.
    agreeing = [rows([1, 1, 1, -1, 0, 0], [0, 1, 2, 3, 4, 5])] * 3
    assert paired_spread(agreeing).bounds(1 / 3)[0] < 0


def test_arms_that_agree_everywhere_differ_by_nothing() -> None:
    for seeds in (1, 3):
        assert paired_spread([rows([0] * 9)] * seeds).bounds(0.0) == (0.0, 0.0)


@pytest.mark.parametrize("seeds", [1, 3, 5])
@pytest.mark.parametrize("training", [0.0, 0.05])
def test_intervals_miss_as_seldom_as_they_say(seeds: int, training: float) -> None:
    """2,000 tables: at most 2.5 % of the intervals lie above zero, but for 3 standard errors."""
    if seeds == 1 and training:
        return  # one seed does not show how training varies, and says so
    drawn, tables, n = np.random.default_rng(16), 2000, 60
    alarms = 0
    for _ in range(tables):
        found = []
        # How hard a row is shows in every seed; whom training favours is new in each.
        lean = drawn.normal(0, 0.3, 5 * n)
        for _ in range(seeds):
            units = drawn.choice(5 * n, n, replace=False)
            score = drawn.normal(lean[units] + drawn.normal(0, 4 * training), 1)
            found.append(rows(((score > 1).astype(int) - (score < -1)).tolist(), units.tolist()))
        mean = float(np.mean([each.difference for each in found]))
        alarms += paired_spread(found).bounds(mean)[0] > 0
    assert alarms / tables <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / tables)
