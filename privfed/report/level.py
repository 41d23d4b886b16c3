"""How good an arm is on its own test rows: accuracy of classes, R² of labels that are numbers.

Beside it stands what takes no look at a row: the commonest class, or the mean of training labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from privfed.experiment.arms import MAJORITY, MEAN
from privfed.experiment.measures import MeasureName
from privfed.experiment.results import NumberSummary, Summary
from privfed.report.view import View
from privfed.report.words import decimal, in_points, measured, percent_range, present
from privfed.rounding import outwards


@dataclass(frozen=True)
class Levels:
    """By what arms are shown on their own rows, in figures and words.

    Attributes:
        measure: "accuracy" or "R²".
        beside: The name in results of what takes no look at a row.
        usual: What that is called.
        short: The same where there is little room.
        always: What it does.
    """

    measure: MeasureName
    beside: str
    usual: str
    short: str
    always: str

    def of(self, summary: Summary) -> float:
        """Return an arm's mean over seeds; NaN where it has none."""
        if self.measure == "accuracy":
            return summary.test_accuracy_mean
        return _known(figures(summary).test_r2_mean)

    def interval(self, summary: Summary) -> tuple[float, float] | None:
        """Return the 95 % interval of that over seeds."""
        if self.measure == "accuracy":
            return summary.test_accuracy_ci95
        return figures(summary).test_r2_ci95

    def of_usual(self, summary: Summary) -> float:
        """Return what takes no look has on the same rows."""
        if self.measure == "accuracy":
            return summary.majority_accuracy
        return _known(figures(summary).mean_r2)

    def shown(self, value: float | None) -> str:
        """Write a level."""
        return measured(self.measure, value)

    def shown_range(self, interval: Sequence[float] | None) -> str:
        """Write an interval of levels, rounded outwards."""
        if in_points(self.measure):
            return percent_range(interval)
        if interval is None or not all(map(present, interval)):
            return decimal(None)
        low, high = (text.replace("-", "−") for text in outwards(interval, 3))
        return f"{low} to {high}"


_CLASSES = Levels(
    "accuracy",
    MAJORITY,
    "majority class",
    "majority class",
    "always naming the commonest class",
)
_NUMBERS = Levels(
    "R²",
    MEAN,
    "mean of training labels",
    "the mean",
    "always saying the mean of training labels",
)


_NOTHING = NumberSummary(
    test_r2_mean=None,
    test_r2_ci95=None,
    test_mae_mean=math.nan,
    mean_r2=None,
    mean_mae=math.nan,
    seen_mae=None,
    unseen_mae=None,
    unseen_mean_mae=None,
)


def levels(view: View) -> Levels:
    """Return by what the arms of some results are shown."""
    return _NUMBERS if view.is_of_numbers else _CLASSES


def figures(summary: Summary) -> NumberSummary:
    """Return what a label that is a number gave; without any figure where it is classes."""
    return summary.number or _NOTHING


def _known(value: float | None) -> float:
    return math.nan if value is None else value
