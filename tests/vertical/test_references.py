"""References are the optimum of one objective, whatever the family."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from privfed.errors import ConfigError
from privfed.vertical.labels import read_labels
from privfed.vertical.references import check_labels, fit_exactly, shares_of_variance
from privfed.vertical.roles import Family

DRAW = np.random.default_rng(6)
MATRIX = DRAW.normal(size=(800, 7))
SCORES = MATRIX @ DRAW.normal(0, 0.3, 7) - 0.4
LABELS: dict[Family, np.ndarray] = {
    "logistic": (DRAW.random(800) < 1 / (1 + np.exp(-SCORES))).astype(float),
    "linear": SCORES + DRAW.normal(size=800),
    "poisson": DRAW.poisson(np.exp(SCORES)).astype(float),
}
MEANS: dict[Family, Callable[[np.ndarray], np.ndarray]] = {
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "linear": lambda z: z,
    "poisson": np.exp,
}


@pytest.mark.parametrize("family", LABELS)
@pytest.mark.parametrize("penalty", [0.0, 0.003, 0.5])
def test_the_gradient_of_the_objective_vanishes(family: Family, penalty: float) -> None:
    labels = LABELS[family]
    fit = fit_exactly(MATRIX, labels, family, penalty)
    residuals = MEANS[family](fit.scores(MATRIX)) - labels
    gradient = MATRIX.T @ residuals / 800 + penalty * fit.coefficients
    assert np.abs(gradient).max() < 1e-7
    assert abs(residuals.mean()) < 1e-7  # the intercept is free


@pytest.mark.parametrize("family", LABELS)
def test_without_columns_the_mean_is_left(family: Family) -> None:
    fit = fit_exactly(np.zeros((800, 0)), LABELS[family], family, 0.1)
    assert fit.coefficients.shape == (0,)
    assert MEANS[family](fit.scores(np.zeros((3, 0)))) == pytest.approx(
        [LABELS[family].mean()] * 3, rel=1e-5
    )


def test_shares_of_the_variance_add_up_to_one() -> None:
    one, other = DRAW.normal(0, 2, 4000), DRAW.normal(0, 1, 4000)
    found = shares_of_variance(one, other)
    assert found is not None
    assert sum(found) == pytest.approx(1)
    assert found[0] == pytest.approx(0.8, abs=0.03)
    against = shares_of_variance(one, -0.5 * one)
    assert against == pytest.approx((2, -1))
    assert shares_of_variance(np.ones(3), np.ones(3)) is None


def test_labels_that_do_not_suit_a_family_are_refused() -> None:
    for family, labels, said in (
        ("logistic", [0, 1, 2], "two classes"),
        ("logistic", [1, 1, 1], "one label"),
        ("poisson", [0, -1, 2], "0 or more"),
        ("linear", [0, np.nan, 2], "not finite"),
        ("linear", [], "missing"),
        ("cox", [0, 1], "logistic, linear, poisson"),
    ):
        with pytest.raises(ConfigError, match=said):
            check_labels(np.array(labels, dtype=float), family)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="penalty"):
        fit_exactly(MATRIX, LABELS["linear"], "linear", -1.0)


def test_a_label_column_becomes_numbers() -> None:
    labels, classes = read_labels(["no", "yes", "no"], "logistic", "late")
    assert labels.tolist() == [0, 1, 0]
    assert classes == ("no", "yes")
    assert read_labels(["10", "9", "10"], "logistic", "late")[1] == ("9", "10")
    numbers, none = read_labels(["2", "0.5"], "linear", "spent")
    assert numbers.tolist() == [2, 0.5]
    assert none == ()


@pytest.mark.parametrize(
    ("cells", "family", "said"),
    [
        (["no", "no"], "logistic", "1 value: a logistic"),
        (["a", "b", "c"], "logistic", "3 values"),
        (["a", "", "b"], "logistic", "no label in data row 2"),
        (["1", "", "2"], "linear", "no label in data row 2"),
        (["1", "x", "2"], "poisson", "'x' in data row 2"),
        (["1", "-2"], "poisson", "0 or more"),
        (["3", "3"], "poisson", "one label"),
    ],
)
def test_a_bad_label_column_is_named(cells: list[str], family: Family, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_labels(cells, family, "late")
