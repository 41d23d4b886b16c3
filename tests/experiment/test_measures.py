"""Measures against scikit-learn, and each row's influence against leaving the row out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from privfed.experiment.measures import MeasureName, measurement, measures_for

CLASS_MEASURES: tuple[MeasureName, ...] = ("accuracy", "balanced accuracy", "AUC")


def value(name: MeasureName, truth: NDArray[Any], outputs: NDArray[Any]) -> float:
    found = measurement(name, truth, outputs)
    assert found is not None
    return found.value


@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.booleans())
def test_classes_as_scikit_learn_measures_them(seed: int, classes: int, tied: bool) -> None:
    drawn = np.random.default_rng(seed)
    truth = np.r_[np.arange(classes), drawn.integers(0, classes, 30)]
    outputs = drawn.dirichlet(np.ones(classes), len(truth))
    if tied:
        outputs = outputs.round(1)
        outputs[:, -1] = 1 - outputs[:, :-1].sum(axis=1)
    predicted = outputs.argmax(axis=1)
    assert value("accuracy", truth, outputs) == pytest.approx(
        metrics.accuracy_score(truth, predicted)
    )
    assert value("balanced accuracy", truth, outputs) == pytest.approx(
        metrics.balanced_accuracy_score(truth, predicted)
    )
    scores = outputs[:, 1] if classes == 2 else outputs
    assert value("AUC", truth, outputs) == pytest.approx(
        metrics.roc_auc_score(truth, scores, multi_class="ovr")
    )


@given(st.integers(0, 2**32 - 1))
def test_numbers_as_scikit_learn_measures_them(seed: int) -> None:
    drawn = np.random.default_rng(seed)
    truth = drawn.normal(size=20)
    outputs = truth + drawn.normal(size=20)
    assert value("R²", truth, outputs) == pytest.approx(metrics.r2_score(truth, outputs))
    assert value("MAE", truth, outputs) == pytest.approx(
        metrics.mean_absolute_error(truth, outputs)
    )


@pytest.mark.parametrize("name", ["accuracy", "balanced accuracy", "AUC", "R²", "MAE"])
def test_a_rows_influence_is_what_leaving_it_out_undoes(name: MeasureName) -> None:
    drawn = np.random.default_rng(3)
    n = 2000
    truth: NDArray[Any]
    if name in CLASS_MEASURES:
        truth = drawn.integers(0, 3, n)
        outputs = drawn.normal(size=(n, 3)) + np.eye(3)[truth]
    else:
        truth = drawn.normal(size=n)
        outputs = truth + drawn.normal(size=n)
    whole = measurement(name, truth, outputs)
    assert whole is not None
    assert whole.influence.sum() == pytest.approx(0, abs=1e-12)
    for row in range(0, n, 97):
        left = value(name, np.delete(truth, row), np.delete(outputs, row, axis=0))
        assert whole.value - left == pytest.approx(whole.influence[row], rel=5e-3, abs=4e-6)


def test_the_spread_of_an_auc_is_delongs() -> None:
    """Of two classes: the variance of the placements in each, over its rows."""
    truth = np.array([0, 0, 0, 0, 1, 1, 1])
    scores = np.array([0.1, 0.4, 0.35, 0.8, 0.3, 0.9, 0.7])
    # Placements by hand: of the ones 1/4, 4/4, 3/4 zeros are below; of the zeros 3/3, 2/3, 2/3, 1/3
    # ones are above. AUC 8/12.
    found = measurement("AUC", truth, np.stack([1 - scores, scores], axis=1))
    assert found is not None
    assert found.value == pytest.approx(8 / 12)
    ones, zeros = np.array([1 / 4, 1, 3 / 4]), np.array([1, 2 / 3, 2 / 3, 1 / 3])
    expected = ones.var() / 3 + zeros.var() / 4
    assert (found.influence**2).sum() == pytest.approx(expected)


def test_what_never_varies_has_the_value_of_chance() -> None:
    truth = np.array([0, 0, 0, 1])
    always = np.tile([1.0, 0.0], (4, 1))
    assert [value(name, truth, always) for name in CLASS_MEASURES] == [0.75, 0.5, 0.5]


def test_rows_that_allow_no_measure_have_none() -> None:
    nothing, one_class = np.zeros(0, np.int64), np.zeros(3, np.int64)
    assert measurement("accuracy", nothing, np.zeros((0, 2))) is None
    assert measurement("AUC", one_class, np.ones((3, 2))) is None
    assert measurement("R²", np.ones(3), np.ones(3)) is None
    # A class that no test row has is left out of the average, for all arms alike.
    three = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    assert value("AUC", np.array([0, 1]), three) == 1


@pytest.mark.parametrize(
    ("counts", "first"),
    [
        ([50, 50], "accuracy"),
        ([55, 45], "accuracy"),
        ([56, 44], "AUC"),
        ([45, 55], "accuracy"),
        ([861, 139], "AUC"),
        ([36, 32, 32], "accuracy"),
        ([37, 32, 31], "AUC"),
        ([10] * 10, "accuracy"),
    ],
)
def test_the_measure_follows_from_the_classes(counts: list[int], first: MeasureName) -> None:
    found = measures_for(np.repeat(np.arange(len(counts)), counts))
    assert found[0] == first
    assert sorted(found) == sorted(CLASS_MEASURES)
    assert measures_for(np.linspace(0, 1, 9)) == ("R²", "MAE")
