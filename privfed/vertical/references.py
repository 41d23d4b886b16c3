"""What collaborating is compared with: the same model in the clear, alone or on both tables.

All minimise one objective: the mean loss and penalty / 2 times the squared length of the weights of
standardised columns; the intercept is free.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from privfed.data.schema import shown
from privfed.errors import ConfigError
from privfed.vertical.roles import Family

_TOLERANCE = 1e-10
_MOST_STEPS = 10_000


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A linear model in the clear.

    Attributes:
        coefficients: (columns,).
        intercept: What all rows have.
    """

    coefficients: NDArray[np.float64] = field(repr=False)
    intercept: float = field(repr=False)

    def scores(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the linear predictor of each row, (n,)."""
        found: NDArray[np.float64] = matrix @ self.coefficients + self.intercept
        return found


def check_labels(labels: NDArray[np.float64], family: Family) -> None:
    """Check that labels are of a family.

    Raises:
        ConfigError: The family is unknown, a label does not belong to it, or all are equal.
    """
    if family not in get_args(Family):
        raise ConfigError(f"unknown family {shown(family)}: use {', '.join(get_args(Family))}")
    if not len(labels) or not np.isfinite(labels).all():
        raise ConfigError("labels are missing or not finite: give each row one")
    if family == "logistic" and not np.isin(labels, (0.0, 1.0)).all():
        raise ConfigError("a logistic model needs two classes, 0 and 1")
    if family == "poisson" and (labels < 0).any():
        raise ConfigError("a Poisson model needs counts, 0 or more")
    if (labels == labels[0]).all():
        raise ConfigError(
            f"all {len(labels)} rows have one label: training needs rows that differ in it"
        )


def fit_exactly(
    matrix: NDArray[np.float64], labels: NDArray[np.float64], family: Family, penalty: float
) -> LinearFit:
    """Fit a model in the clear, by scikit-learn, to the optimum.

    Args:
        matrix: (n, columns), standardised; no column is needed.
        labels: (n,); classes are 0 and 1.
        family: What the label is.
        penalty: L2, at least 0.

    Returns:
        The optimum.

    Raises:
        ConfigError: Labels do not belong to the family, or the penalty is negative.
    """
    # Importing it takes a second.
    from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

    check_labels(labels, family)
    if not 0 <= penalty < np.inf:
        raise ConfigError(f"a penalty of {penalty}: give 0 or more")
    if not matrix.shape[1]:
        matrix = np.zeros((len(matrix), 1))
        return LinearFit(
            np.zeros(0), fit_exactly(matrix, labels, family, max(penalty, 1.0)).intercept
        )
    if family == "linear":
        model = Ridge(alpha=penalty * len(matrix), solver="svd", tol=_TOLERANCE)
    elif family == "poisson":
        model = PoissonRegressor(
            alpha=penalty, solver="newton-cholesky", tol=_TOLERANCE, max_iter=_MOST_STEPS
        )
    else:
        weight = 1 / (penalty * len(matrix)) if penalty else np.inf
        model = LogisticRegression(
            C=weight, solver="newton-cholesky", tol=_TOLERANCE, max_iter=_MOST_STEPS
        )
    model.fit(matrix, labels)
    return LinearFit(
        np.asarray(model.coef_, dtype=np.float64).reshape(-1),
        float(np.asarray(model.intercept_).reshape(-1)[0]),
    )


def shares_of_variance(
    one: NDArray[np.float64], other: NDArray[np.float64]
) -> tuple[float, float] | None:
    """Return how much of the variance of a sum of two parts of scores each part carries.

    A part's share is its covariance with the sum over the sum's variance: shares add up to 1, and
    one is negative where its part is outweighed by the other that it goes against. None where the
    sum does not vary.
    """
    both = one + other
    variance = float(np.var(both))
    if variance <= 0:
        return None
    first = float(np.mean((one - one.mean()) * (both - both.mean()))) / variance
    return first, 1 - first
