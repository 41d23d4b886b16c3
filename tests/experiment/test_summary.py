"""Means over seeds by hand."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from privfed.experiment import Run
from privfed.experiment.intervals import mean_interval, wilson_interval
from privfed.experiment.summary import summarise
from tests.experiment.mini import RUN


def run(**changes: Any) -> Run:
    return structs.replace(RUN, **changes)


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
