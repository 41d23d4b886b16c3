"""Measures are scikit-learn's, and a bootstrap is paired and repeats."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from privfed.errors import ConfigError
from privfed.vertical.measures import RESAMPLES, _weighted, measure, measured_gain, measures_of
from privfed.vertical.roles import Family

DRAW = np.random.default_rng(4)
N = 400
SCORES = DRAW.normal(0, 1, N).round(1)  # with ties
CLASSES = (DRAW.random(N) < 1 / (1 + np.exp(-SCORES))).astype(float)
NUMBERS = SCORES + DRAW.normal(0, 0.5, N)
COUNTS = DRAW.poisson(np.exp(SCORES)).astype(float)


def test_measures_are_those_of_scikit_learn() -> None:
    means = np.exp(SCORES)
    assert measure("AUC", CLASSES, SCORES, "logistic") == pytest.approx(
        metrics.roc_auc_score(CLASSES, SCORES)
    )
    assert measure("accuracy", CLASSES, SCORES, "logistic") == pytest.approx(
        metrics.accuracy_score(CLASSES, SCORES > 0)
    )
    assert measure("R²", NUMBERS, SCORES, "linear") == pytest.approx(
        metrics.r2_score(NUMBERS, SCORES)
    )
    assert measure("MAE", NUMBERS, SCORES, "linear") == pytest.approx(
        metrics.mean_absolute_error(NUMBERS, SCORES)
    )
    assert measure("D²", COUNTS, SCORES, "poisson") == pytest.approx(
        metrics.d2_tweedie_score(COUNTS, means, power=1)
    )
    assert measure("MAE", COUNTS, SCORES, "poisson") == pytest.approx(
        metrics.mean_absolute_error(COUNTS, means)
    )


@pytest.mark.parametrize(
    ("family", "labels"), [("logistic", CLASSES), ("linear", NUMBERS), ("poisson", COUNTS)]
)
def test_a_sample_with_weights_is_the_sample_with_repeated_rows(
    family: Family, labels: np.ndarray
) -> None:
    weights = DRAW.multinomial(N, np.full(N, 1 / N), 3)
    for name in measures_of(family):
        found = _weighted(name, labels, SCORES, family, weights.astype(float))
        for row, value in zip(weights, found, strict=True):
            repeated = np.repeat(labels, row), np.repeat(SCORES, row)
            assert value == pytest.approx(measure(name, *repeated, family))


def test_a_gain_is_paired_and_repeats() -> None:
    worse = SCORES + 0.01 * DRAW.normal(size=N)
    gain = measured_gain("AUC", CLASSES, SCORES, worse, "logistic")
    assert gain is not None
    assert gain == measured_gain("AUC", CLASSES, SCORES, worse, "logistic")
    # Nearly equal scores: were the samples not paired, the interval would be of some .07.
    assert gain.low <= gain.value <= gain.high
    assert gain.high - gain.low < 0.01
    same = measured_gain("AUC", CLASSES, SCORES, SCORES, "logistic")
    assert same is not None
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        shift = draw.normal(0.3, 1, 60)  # one model is right where another is off by this
        labels = draw.normal(size=60)
        gain = measured_gain("MAE", labels, labels + np.abs(shift), labels, "linear")
        assert gain is not None
        truth = 0.3 * (1 - 2 * 0.3820886) + 2 * 0.3813878  # the mean of |N(.3, 1)|
        inside += gain.low <= truth <= gain.high
    assert 175 <= inside <= 199  # of 200; 95 % are 190


def test_what_rows_do_not_allow_is_not_measured() -> None:
    ones = np.ones(5)
    assert measure("AUC", ones, SCORES[:5], "logistic") is None
    assert measured_gain("AUC", ones, SCORES[:5], SCORES[:5], "logistic") is None
    assert measure("R²", ones, SCORES[:5], "linear") is None
    assert measure("D²", 0 * ones, SCORES[:5], "poisson") is None
    assert measure("D²", COUNTS, np.full(N, 1e4), "poisson") is None


def test_of_few_rows_samples_of_one_class_are_not_counted() -> None:
    labels = np.array([1.0, 0, 0, 0])
    gain = measured_gain("AUC", labels, np.array([3.0, 2, 1, 0]), np.zeros(4), "logistic")
    assert gain is not None
    assert np.isfinite([gain.low, gain.high]).all()


def test_a_measure_of_another_family_or_shape_is_refused() -> None:
    with pytest.raises(ConfigError, match="not measured by R²"):
        measure("R²", CLASSES, SCORES, "logistic")
    with pytest.raises(ConfigError, match="one of each"):
        measure("AUC", CLASSES, SCORES[:-1], "logistic")
    assert measures_of("logistic", classes_only=True) == ("accuracy",)
    assert RESAMPLES == 2000
