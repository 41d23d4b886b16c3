"""Intervals against published values, and means over seeds by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from privfed.experiment import Run
from privfed.experiment.summary import mean_interval, summarise, wilson_interval
from tests.experiment.mini import RUN


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


def run(**changes: Any) -> Run:
    return dataclasses.replace(RUN, **changes)


def test_means_over_seeds_and_pooled_counts() -> None:
    runs = [
        run(),
        run(arm="host"),
        run(
            seed=1, test_accuracy=0.7, test_auc=0.75, seen_accuracy=1.0, seen_n=6,
            unseen_accuracy=1.0, unseen_n=2, unseen_correct=2, unseen_majority_correct=2,
            wall_seconds=2.0,
        ),
    ]  # fmt: skip
    guest, host = summarise(runs)
    assert (guest.arm, guest.seeds, host.arm, host.seeds) == ("guest", 2, "host", 1)
    assert guest.test_accuracy_mean == pytest.approx(0.65)
    assert guest.test_accuracy_ci95 == mean_interval([0.6, 0.7])
    assert guest.test_auc_mean == pytest.approx(0.7)
    assert guest.seen_accuracy == pytest.approx((0.5 * 4 + 1.0 * 6) / 10)
    assert guest.unseen_accuracy == 4 / 5  # pooled, not a mean of means
    assert guest.unseen_ci95 == wilson_interval(4, 5)
    assert guest.unseen_majority == 3 / 5
    assert (guest.seen_n, guest.unseen_n) == (10, 5)
    assert guest.wall_seconds_mean == 1.5
    assert host.test_accuracy_ci95 is None


def test_splits_and_epsilons_stay_apart() -> None:
    runs = [run(), run(split="overlapping"), run(epsilon=1.0), run(epsilon=3.0)]
    assert [(s.split, s.epsilon) for s in summarise(runs)] == [
        *(("disjoint", None), ("overlapping", None), ("disjoint", 1.0), ("disjoint", 3.0))
    ]


def test_what_is_not_there_is_none() -> None:
    nothing = run(
        test_auc=None, seen_accuracy=None, seen_n=0, unseen_accuracy=None, unseen_n=0,
        unseen_correct=0, unseen_majority_correct=0,
    )  # fmt: skip
    [summary] = summarise([nothing])
    assert summary.test_auc_mean is None
    assert summary.seen_accuracy is None
    assert summary.unseen_accuracy is None
    assert summary.unseen_ci95 is None
    assert summary.unseen_majority is None
    assert summarise([]) == []
