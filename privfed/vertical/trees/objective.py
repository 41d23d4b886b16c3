"""What boosting makes small, and its derivatives by the score of each row.

The families are those of a linear model; of more than two classes each is told from the rest, by a
tree of its own in each round.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.vertical.roles import Family

__all__ = ["Objective", "means"]

Floats: TypeAlias = NDArray[np.float64]

_LEAST_HESSIAN = 1e-16
_MOST_LOG = 30.0  # of a mean count: its exponential stays finite


@dataclass(frozen=True, eq=False)
class Objective:
    """Labels, what they count, and the family's loss. Its repr shows no label.

    Attributes:
        family: What the label is.
        labels: Shape (rows, outputs): of K > 2 classes a column each of 0 and 1, else one column.
        weights: Shape (rows,): how often each row counts; rows that do not train count 0.

    Raises:
        ConfigError: On construction, a weight is negative or not finite, or none is positive.
    """

    family: Family
    labels: Floats = field(repr=False)
    weights: Floats = field(repr=False)

    def __post_init__(self) -> None:
        if not np.isfinite(self.weights).all() or (self.weights < 0).any():
            raise ConfigError("a row's weight is negative or not finite: give 0 or more")
        if not self.weights.any():
            raise ConfigError("no row has a weight above 0: there is nothing to learn from")

    @classmethod
    def of_classes(cls, classes: NDArray[np.int64], count: int, weights: Floats) -> Objective:
        """Return the objective that tells each of some classes from the rest.

        Args:
            classes: Shape (rows,): the number of each row's.
            count: How many classes there are.
            weights: Shape (rows,).
        """
        return cls("logistic", (classes[:, None] == np.arange(count)).astype(np.float64), weights)

    @property
    def outputs(self) -> int:
        """How many scores a row has, and trees a round."""
        return int(self.labels.shape[1])

    @property
    def base(self) -> Floats:
        """The score that fits all rows best, (outputs,): where boosting begins."""
        rows = self.weights.sum()
        mean: Floats = self.weights @ self.labels / rows
        if self.family == "linear":
            return mean
        # As if there were one more row of half a count: what no row has stays finite.
        mean = (mean * rows + 0.5) / (rows + 1)
        logs: Floats = np.log(mean / (1 - mean) if self.family == "logistic" else mean)
        return logs

    def gradients(self, scores: Floats, output: int) -> tuple[Floats, Floats]:
        """Return the first and second derivative of each row's weighted loss, (rows,) each.

        Args:
            scores: Shape (rows,) of that output.
            output: Which one.
        """
        labels = self.labels[:, output]
        if self.family == "linear":
            return self.weights * (scores - labels), self.weights.copy()
        mean = _mean(self.family, scores)
        spread = mean * (1 - mean) if self.family == "logistic" else mean
        hessians = np.where(self.weights > 0, np.maximum(spread, _LEAST_HESSIAN), 0)
        return self.weights * (mean - labels), self.weights * hessians

    def loss(self, scores: Floats, weights: Floats) -> float:
        """Return the mean loss of some rows: log loss, half a squared error, or half a deviance.

        Of Poisson's it is what depends on the scores. Losses of several outputs are added.

        Args:
            scores: Shape (rows, outputs).
            weights: Shape (rows,): how often each counts, 0 for rows to leave out.
        """
        labels = self.labels
        if self.family == "logistic":
            each = np.logaddexp(0, scores) - labels * scores
        elif self.family == "linear":
            each = (scores - labels) ** 2 / 2
        else:
            each = _mean("poisson", scores) - labels * scores
        return float(weights @ each.sum(axis=1) / weights.sum())


def means(family: Family, scores: Floats) -> Floats:
    """Return what a model expects of rows, (rows, outputs); of K > 2 classes shares that add up.

    Args:
        family: What the label is.
        scores: Shape (rows, outputs).
    """
    found = _mean(family, scores)
    return found / found.sum(axis=1, keepdims=True) if found.shape[1] > 1 else found


def _mean(family: Family, scores: Floats) -> Floats:
    if family == "linear":
        return scores
    if family == "poisson":
        return np.exp(np.minimum(scores, _MOST_LOG))
    half: Floats = np.tanh(scores / 2) / 2
    return half + 0.5
