"""How good outputs are on test rows, and by which measure arms are judged.

A measure gives its value and each row's influence on it (the infinitesimal jackknife): what the
value would move by if the row counted a little more. From the influences of two arms on the same
rows follows how sure their difference is. Those of an AUC are DeLong's (Biometrics 44, 1988,
837-845).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

MeasureName = Literal["accuracy", "balanced accuracy", "AUC", "R²", "MAE"]

UNEVEN = 1.1
"""Classes are uneven where the commonest holds over 1.1 times an equal share: 55 % of two."""

NUMBER_MEASURES: tuple[MeasureName, ...] = ("R²", "MAE")
"""By which a label that is a number is judged. The larger R² the better, the smaller MAE."""

_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measurement:
    """A measure's value on n rows, and each row's influence on it, (n,), which add up to 0."""

    value: float
    influence: _Floats


def measures_for(labels: NDArray[Any]) -> tuple[MeasureName, ...]:
    """Return the names of the measures for some labels; by the first of them verdicts are given.

    Numbers are judged by R² and beside it MAE, even classes by accuracy, and uneven ones by AUC
    and beside it balanced accuracy: there accuracy rises with how often a model names the
    commonest class, whatever it has learned.

    Args:
        labels: (n,) of all parties' rows: class numbers from 0, or floating-point numbers.
    """
    if np.issubdtype(labels.dtype, np.floating):
        return NUMBER_MEASURES
    counts = np.unique(labels, return_counts=True)[1]
    if counts.max() * len(counts) > UNEVEN * counts.sum():
        return "AUC", "balanced accuracy", "accuracy"
    return "accuracy", "balanced accuracy", "AUC"


def measurement(
    name: MeasureName, truth: NDArray[Any], outputs: NDArray[Any]
) -> Measurement | None:
    """Measure outputs on test rows.

    Args:
        name: The measure.
        truth: (n,) the labels.
        outputs: (n, classes) scores, a class's the higher the likelier it is; or (n,) numbers.

    Returns:
        The measurement; None where the rows do not allow it, as an AUC of one class.
    """
    return _MEASURES[name](truth, outputs) if len(truth) else None


def _accuracy(truth: NDArray[Any], outputs: NDArray[Any]) -> Measurement:
    right = outputs.argmax(axis=1) == truth
    value = float(right.mean())
    return Measurement(value, (right - value) / len(truth))


def _balanced_accuracy(truth: NDArray[Any], outputs: NDArray[Any]) -> Measurement:
    right = outputs.argmax(axis=1) == truth
    return _class_mean([_share(right, truth == each) for each in np.unique(truth)])


def _share(right: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Measurement:
    value = float(right[rows].mean())
    return Measurement(value, np.where(rows, right - value, 0.0) / rows.sum())


def _auc(truth: NDArray[Any], outputs: NDArray[Any]) -> Measurement | None:
    """Return each class against the rest, averaged; with two classes both would say the same."""
    present = np.unique(truth)
    if len(present) < 2:
        return None
    asked = [1] if outputs.shape[1] == 2 else present
    return _class_mean([_ranked(truth == each, outputs[:, each]) for each in asked])


def _ranked(positive: NDArray[np.bool_], scores: NDArray[Any]) -> Measurement:
    """Return the share of pairs of a positive and a negative that are in order; a tie is half."""
    influence = np.empty(len(scores))
    own, others = scores[positive], scores[~positive]
    for rows, mine, beside, sign in ((positive, own, others, 1), (~positive, others, own, -1)):
        ordered = np.sort(beside)
        below = np.searchsorted(ordered, mine, "left") + np.searchsorted(ordered, mine, "right")
        placed = below / (2 * len(beside))
        influence[rows] = sign * (placed - placed.mean()) / len(mine)
        value = float(placed.mean()) if sign < 0 else 0.0
    return Measurement(1 - value, influence)


def _class_mean(found: list[Measurement]) -> Measurement:
    return Measurement(
        float(np.mean([each.value for each in found])),
        np.mean([each.influence for each in found], axis=0),
    )


def _r2(truth: NDArray[Any], outputs: NDArray[Any]) -> Measurement | None:
    left, around = (truth - outputs) ** 2, (truth - truth.mean()) ** 2
    if not (total := float(around.sum())):
        return None
    value = 1 - float(left.sum()) / total
    return Measurement(value, ((1 - value) * around - left) / total)


def _mae(truth: NDArray[Any], outputs: NDArray[Any]) -> Measurement:
    off = np.abs(truth - outputs)
    value = float(off.mean())
    return Measurement(value, (off - value) / len(truth))


_MEASURES: Mapping[MeasureName, Callable[[NDArray[Any], NDArray[Any]], Measurement | None]] = {
    "accuracy": _accuracy,
    "balanced accuracy": _balanced_accuracy,
    "AUC": _auc,
    "R²": _r2,
    "MAE": _mae,
}
