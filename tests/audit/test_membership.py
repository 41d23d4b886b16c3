"""LiRA finds what is there and nothing where nothing is."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from privfed.audit.membership import (
    FALSE_POSITIVE_RATES,
    RocCurve,
    judge,
    likelihood_ratios,
    logits,
    private_plan,
    random_halves,
    train_dp,
    train_plain,
)
from privfed.data import Dataset
from privfed.dp import SeededRandomness


def test_each_model_has_half_of_the_rows() -> None:
    members = random_halves(10, 101, 0)
    assert members.sum(axis=1).tolist() == [50] * 10
    assert len({row.tobytes() for row in members}) == 10


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.47, 0.53), (1.0, 0.72, 0.78)])
def test_known_gaps_between_members_and_others_give_known_areas(
    shift: float, low: float, high: float
) -> None:
    """With normal logits a shift s apart the best area is Φ(s/√2): 0.5 and 0.760."""
    rng = np.random.default_rng(1)
    members = random_halves(64, 300, 1)
    observed = rng.normal(size=300) * 3 + rng.normal(size=(64, 300)) + shift * members
    found = judge("", observed, members, 0)
    assert low < found.auc < high
    assert found.auc_interval[0] < found.auc < found.auc_interval[1]


def test_the_curve_is_that_of_scikit_learn_ties_included() -> None:
    rng = np.random.default_rng(2)
    members = random_halves(6, 80, 2)
    scores = np.round(rng.normal(size=(6, 80)) + members, 1)
    area, rates, _ = RocCurve(scores, members).weighted(np.ones(80))
    assert area == pytest.approx(roc_auc_score(members.ravel(), scores.ravel()))
    false, true, _ = roc_curve(members.ravel(), scores.ravel(), drop_intermediate=False)
    expected = np.interp(FALSE_POSITIVE_RATES, false, true)
    assert rates == pytest.approx(expected)


def test_a_model_is_not_among_its_own_shadow_models() -> None:
    """Where only one model's logit is odd, its own score must not have been fitted to it."""
    members = np.array([[True], [True], [True], [False], [False], [False]])
    observed = np.array([[50.0], [1.0], [1.2], [0.0], [0.2], [0.1]])
    scores = likelihood_ratios(observed, members)
    assert scores[0, 0] > 100  # in-mean of the others is 1.1: far closer to 50 than 0.1 is


def test_logits_are_those_of_the_true_class(dresses: Dataset) -> None:
    model = train_plain(dresses, np.arange(len(dresses)) < 250, 0, 1)
    found = logits(dresses, model)
    assert found.shape == (len(dresses),)
    assert np.isfinite(found).all()


def test_plain_training_tells_members_and_private_training_does_not(dresses: Dataset) -> None:
    members = random_halves(12, len(dresses), 0)
    plan = private_plan(dresses, 1.0, 40, 32)
    observed = {
        "plain": [
            logits(dresses, train_plain(dresses, row, i, 60)) for i, row in enumerate(members)
        ],
        "private": [
            logits(dresses, train_dp(dresses, row, i, plan, partial(SeededRandomness, i)))
            for i, row in enumerate(members)
        ],
    }
    found = {name: judge(name, np.array(each), members, 0) for name, each in observed.items()}
    assert found["plain"].auc_interval[0] > 0.6
    assert 0.45 < found["private"].auc < 0.55
