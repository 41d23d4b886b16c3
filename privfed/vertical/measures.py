"""How good scores are on held-out rows, and what collaborating gains, with its interval.

A score is the linear predictor: log odds, the number itself, or the logarithm of the mean count.
Of more than two classes a row has one a class, and its largest names its class.
The interval is the 2.5th to the 97.5th percentile over 2,000 bootstrap samples of the held-out
rows, drawn with a fixed seed; both models are measured on the same sample (paired). It tells of
the luck in which rows were held out, not in which were trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.vertical.roles import Family

RESAMPLES = 2_000
_SEED = 15
_MOST_CELLS = 2**22  # weights that are in memory at once

_Floats = NDArray[np.float64]
_Measure = Callable[[_Floats, _Floats, _Floats], _Floats]


@dataclass(frozen=True)
class MeasuredGain:
    """What one model has over another on the same rows.

    Attributes:
        value: The difference of a measure.
        low: The lower end of its 95 % interval.
        high: The upper end.
    """

    value: float
    low: float
    high: float


def measures_of(family: Family, *, classes_only: bool = False, outputs: int = 1) -> tuple[str, ...]:
    """Name a family's measures, the one by which gains are told first.

    Args:
        family: What the label is.
        classes_only: Whether scores were opened as classes only, which have no order within one.
        outputs: How many scores a row has: of K > 2 classes K, else 1.

    Returns:
        Their names.
    """
    if outputs > 1:
        return ("accuracy",) if classes_only else ("accuracy", "mean AUC")
    if family == "logistic":
        return ("accuracy",) if classes_only else ("AUC", "accuracy")
    return ("R²", "MAE") if family == "linear" else ("D²", "MAE")


def measure(name: str, labels: _Floats, scores: _Floats, family: Family) -> float | None:
    """Measure scores; None where the rows do not allow it, as an AUC of one class.

    Args:
        name: One of the family's measures.
        labels: (n,); of K > 2 classes their numbers.
        scores: (n,) linear predictors; of K > 2 classes (n, K).
        family: What the label is.

    Returns:
        The measure.

    Raises:
        ConfigError: The family has no such measure, or labels and scores differ in number.
    """
    found = float(_weighted(name, labels, scores, family, np.ones((1, len(labels))))[0])
    return found if np.isfinite(found) else None


def measured_gain(
    name: str, labels: _Floats, scores: _Floats, others: _Floats, family: Family
) -> MeasuredGain | None:
    """Measure what some scores have over others on the same rows.

    Args:
        name: One of the family's measures.
        labels: As of `measure`, and scores, too.
        scores: Those of both companies together.
        others: Those of the label holder alone.
        family: What the label is.

    Returns:
        The difference and its interval; None where the rows do not allow one.

    Raises:
        ConfigError: As `measure`.
    """
    whole = measure(name, labels, scores, family), measure(name, labels, others, family)
    if whole[0] is None or whole[1] is None:
        return None
    generator, rows = np.random.default_rng(_SEED), len(labels)
    differences, left = [], RESAMPLES
    while left:
        some = min(left, max(1, _MOST_CELLS // rows))
        weights = generator.multinomial(rows, np.full(rows, 1 / rows), some).astype(np.float64)
        differences.append(
            _weighted(name, labels, scores, family, weights)
            - _weighted(name, labels, others, family, weights)
        )
        left -= some
    # A sample with one class only has no AUC: it is not counted.
    drawn = np.concatenate(differences)
    low, high = np.quantile(drawn[np.isfinite(drawn)], (0.025, 0.975))
    return MeasuredGain(whole[0] - whole[1], float(low), float(high))


def _weighted(
    name: str, labels: _Floats, scores: _Floats, family: Family, weights: _Floats
) -> _Floats:
    """Measure each sample, whose rows count as often as its weights, (samples, n), say."""
    if name not in measures_of(family, outputs=scores[0].size if len(scores) else 1):
        raise ConfigError(f"{family} models are not measured by {name}")
    if not len(labels) or len(labels) != len(scores):
        raise ConfigError(f"{len(labels)} labels and {len(scores)} scores: give one of each a row")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _MEASURES[name](labels, _means(scores, family), weights)


def _means(scores: _Floats, family: Family) -> _Floats:
    """Return what a model expects; of two classes the log odds, which have the same order."""
    return np.exp(scores) if family == "poisson" else scores


def _auc(labels: _Floats, scores: _Floats, weights: _Floats) -> _Floats:
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])  # of rows with one score
    weights, ones = weights[:, order], labels[order]
    positive = np.add.reduceat(weights * ones, starts, axis=1)
    negative = np.add.reduceat(weights * (1 - ones), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2  # of a tie half
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    found: _Floats = (positive * below).sum(axis=1) / pairs
    return found


def _mean_auc(labels: _Floats, scores: _Floats, weights: _Floats) -> _Floats:
    """Return the mean AUC of one class against the rest, over those that a sample has."""
    aucs = [
        _auc((labels == number).astype(np.float64), own, weights)
        for number, own in enumerate(scores.T)
    ]
    known = np.isfinite(aucs)
    found: _Floats = np.where(known, aucs, 0).sum(axis=0) / known.sum(axis=0)
    return found


def _accuracy(labels: _Floats, scores: _Floats, weights: _Floats) -> _Floats:
    if scores.ndim > 1:
        return _average(scores.argmax(axis=1) == labels, weights)
    return _average((scores > 0) == (labels > 0.5), weights)


def _mae(labels: _Floats, means: _Floats, weights: _Floats) -> _Floats:
    return _average(np.abs(labels - means), weights)


def _r2(labels: _Floats, means: _Floats, weights: _Floats) -> _Floats:
    centre = _average(labels, weights)
    around = _average(labels**2, weights) - centre**2
    return np.where(around > 0, 1 - _average((labels - means) ** 2, weights) / around, np.nan)


def _d2(labels: _Floats, means: _Floats, weights: _Floats) -> _Floats:
    """Return the share of the Poisson deviance that is explained."""
    own = np.where(labels > 0, labels * np.log(np.where(labels > 0, labels, 1.0)), 0.0)
    centre = _average(labels, weights)
    null = _average(own, weights) - centre * np.log(centre)
    left = _average(own - labels * np.log(means) - (labels - means), weights)
    return np.where(null > 0, 1 - left / null, np.nan)


def _average(values: NDArray[np.float64] | NDArray[np.bool_], weights: _Floats) -> _Floats:
    found: _Floats = weights @ values.astype(np.float64) / weights.sum(axis=1)
    return found


_MEASURES: Mapping[str, _Measure] = {
    "AUC": _auc,
    "mean AUC": _mean_auc,
    "accuracy": _accuracy,
    "R²": _r2,
    "MAE": _mae,
    "D²": _d2,
}
