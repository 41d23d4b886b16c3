"""Intervals against published values."""

from __future__ import annotations

import pytest

from privfed.experiment.intervals import (
    mean_interval,
    newcombe_interval,
    shares_interval,
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


@pytest.mark.parametrize(
    ("one", "n_one", "other", "n_other", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (10, 10, 0, 10, 0.6075, 1),
        (5, 56, 0, 29, -0.0381, 0.1926),
    ],
)
def test_newcombe_by_newcombe(
    one: int, n_one: int, other: int, n_other: int, low: float, high: float
) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 873-890, Table II, method 10."""
    found = newcombe_interval(one / n_one, n_one, other / n_other, n_other)
    assert found == pytest.approx((low, high), abs=5e-5)
    turned = newcombe_interval(other / n_other, n_other, one / n_one, n_one)
    assert turned == pytest.approx((-high, -low), abs=5e-5)


def test_the_normal_interval_of_two_shares() -> None:
    # 1.959964, as in any table, times sqrt(0.25 / 100 + 0.09 / 100) is 0.114285.
    found = shares_interval(0.4, [(0.9, 100), (0.5, 100)])
    assert found == pytest.approx((0.4 - 0.114285, 0.4 + 0.114285), abs=1e-6)
