"""Who was in the training rows? The likelihood-ratio attack (LiRA) on small models.

Carlini et al., "Membership Inference Attacks From First Principles" (IEEE S&P 2022,
arXiv 2112.03570), online attack: every model is trained on a random half of the rows, every row is
in about half of the models. A model is attacked with all the others as its shadow models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from privfed.data import Dataset
from privfed.dp import PrivacyBudget, PrivacyPlan, calibrate
from privfed.dp.randomness import NoiseSource
from privfed.training import (
    AdamTrainer,
    CentralNoise,
    RecordGradients,
    initial_model,
    log_probabilities,
    paper_network,
    train_private,
)

Floats = NDArray[np.float64]

FALSE_POSITIVE_RATES = (0.001, 0.01, 0.1)
_RESAMPLES = 200
_WIDEST = 30.0  # bound on a logit; float32 has no more digits there


@dataclass(frozen=True)
class Membership:
    """How well LiRA tells members from others, pooled over models and rows.

    Attributes:
        trained: How the models were trained, in words.
        models: Shadow models, each attacked in turn.
        auc: Area under the ROC curve; 0.5 is guessing.
        auc_interval: 95 %, by a bootstrap over rows.
        true_positive_rates: At each of `FALSE_POSITIVE_RATES`.
        true_positive_intervals: 95 %, likewise.
        right_members: Share of (model, member) whose true class got more than half: how much the
            models learned.
        right_others: The same of rows that the model was not trained on.
        roc: Some points (false positive rate, true positive rate) for a picture.
        statement: The ε that the models were trained at, with all its terms; None without noise.
    """

    trained: str
    models: int
    auc: float
    auc_interval: tuple[float, float]
    true_positive_rates: tuple[float, ...]
    true_positive_intervals: tuple[tuple[float, float], ...]
    right_members: float
    right_others: float
    roc: tuple[tuple[float, float], ...]
    statement: str | None = None


def random_halves(models: int, rows: int, seed: int) -> NDArray[np.bool_]:
    """Draw (models, rows) memberships, exactly half of the rows in each model."""
    rng = np.random.default_rng(seed)
    members = np.zeros((models, rows), np.bool_)
    for each in members:
        each[rng.permutation(rows)[: rows // 2]] = True
    return members


def train_plain(dataset: Dataset, members: NDArray[np.bool_], seed: int, epochs: int) -> nn.Module:
    """Train the paper's network without protection on the member rows (n,)."""
    model = _network(dataset, seed)
    trainer = AdamTrainer(*_rows(dataset, members))
    for epoch in range(epochs):
        trainer.train_epoch(model, (seed << 12) + epoch)
    return model


def private_plan(
    dataset: Dataset, target_epsilon: float, steps: int, batch_size: int
) -> PrivacyPlan:
    """Calibrate DP-SGD by one trusted trainer on half of the rows."""
    model = _network(dataset, 0)
    return calibrate(
        target_epsilon,
        1e-5,
        noise="central",
        rows=[len(dataset) // 2],
        rounds=steps,
        l2_clip_norm=1.0,
        expected_batch_size=batch_size,
        dimension=sum(parameter.numel() for parameter in model.parameters()),
    )


def train_dp(
    dataset: Dataset,
    members: NDArray[np.bool_],
    seed: int,
    plan: PrivacyPlan,
    source: Callable[[], NoiseSource],
) -> nn.Module:
    """Train the same network on the same rows by the plan."""
    model = _network(dataset, seed)
    simulation = source().simulation
    party = RecordGradients(
        model, *_rows(dataset, members), plan, 0, source(), simulation=simulation
    )
    sums = CentralNoise(plan, [source()], simulation=simulation)
    budget = PrivacyBudget(plan.epsilon, plan.delta, privacy_unit=plan.privacy_unit)
    train_private(model, [party], sums, budget, torch.optim.Adam(model.parameters(), lr=2e-3))
    return model


def logits(dataset: Dataset, model: nn.Module) -> Floats:
    """Return each row's ln(p/(1 − p)) of its true class, (n,): close to normal over models."""
    model.eval()
    with torch.no_grad():
        scores = log_probabilities(model(torch.from_numpy(dataset.features))).double().numpy()
    rows = np.arange(len(dataset))
    true = scores[rows, dataset.labels].copy()
    scores[rows, dataset.labels] = -np.inf
    others = np.logaddexp.reduce(scores, axis=1)
    clipped: Floats = np.clip(true - others, -_WIDEST, _WIDEST)
    return clipped


def likelihood_ratios(observed: Floats, members: NDArray[np.bool_]) -> Floats:
    """Score every (model, row) by LiRA, each model against all the others.

    Args:
        observed: (models, rows) logits.
        members: (models, rows) who was in.

    Returns:
        (models, rows) log-likelihood ratios, high for members. The variances of in and out are
        one number each for all rows, as in the paper for few shadow models (section VI-A).
    """
    scores = np.empty_like(observed)
    for model in range(len(observed)):
        others = np.arange(len(observed)) != model
        shadows, inside = observed[others], members[others]
        means, spreads = [], []
        for group in (inside, ~inside):
            count = np.maximum(group.sum(axis=0), 1)
            mean = (shadows * group).sum(axis=0) / count
            left = ((shadows - mean) ** 2 * group).sum() / max(1, group.sum() - group.shape[1])
            means.append(mean)
            spreads.append(max(np.sqrt(left), 1e-6))
        laws = [stats.norm(mean, spread) for mean, spread in zip(means, spreads, strict=True)]
        scores[model] = laws[0].logpdf(observed[model]) - laws[1].logpdf(observed[model])
    return scores


def judge(
    trained: str,
    observed: Floats,
    members: NDArray[np.bool_],
    seed: int,
    statement: str | None = None,
) -> Membership:
    """Attack every model with the others, and sum up with intervals by a bootstrap over rows.

    Args:
        trained: How the models were trained, in words.
        observed: (models, rows) logits.
        members: (models, rows) who was in.
        seed: Seed of the bootstrap.
        statement: The models' ε with all its terms.

    Returns:
        How well members are told from others.
    """
    scores = likelihood_ratios(observed, members)
    curve = RocCurve(scores, members)
    rng, count = np.random.default_rng(seed), scores.shape[1]
    redrawn = [curve.weighted(np.bincount(rng.integers(count, size=count), minlength=count))
               for _ in range(_RESAMPLES)]  # fmt: skip
    auc, rates, roc = curve.weighted(np.ones(count))
    low, high = np.percentile([each[0] for each in redrawn], [2.5, 97.5])
    bounds = np.percentile([each[1] for each in redrawn], [2.5, 97.5], axis=0)
    return Membership(
        trained=trained,
        models=len(scores),
        auc=auc,
        auc_interval=(float(low), float(high)),
        true_positive_rates=tuple(map(float, rates)),
        true_positive_intervals=tuple((float(a), float(b)) for a, b in bounds.T),
        right_members=float(np.mean(observed[members] > 0)),
        right_others=float(np.mean(observed[~members] > 0)),
        roc=roc,
        statement=statement,
    )


class RocCurve:
    """The ROC curve of pooled scores, for any weights of the rows.

    Args:
        scores: (models, rows), high for members.
        members: (models, rows) who was in.
    """

    def __init__(self, scores: Floats, members: NDArray[np.bool_]) -> None:
        order = np.argsort(-scores.ravel(), kind="stable")
        self._rows = np.broadcast_to(np.arange(scores.shape[1]), scores.shape).ravel()[order]
        self._members = members.ravel()[order]
        ranked = scores.ravel()[order]
        # Equal scores go together.
        self._ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)

    def weighted(
        self, weights: NDArray[Any]
    ) -> tuple[float, Floats, tuple[tuple[float, float], ...]]:
        """Return the area, the rates at `FALSE_POSITIVE_RATES`, and some points of the curve."""
        each = weights[self._rows].astype(np.float64)
        true = np.append(0.0, np.cumsum(each * self._members)[self._ends])
        false = np.append(0.0, np.cumsum(each * ~self._members)[self._ends])
        true, false = true / true[-1], false / false[-1]
        area = float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))
        rates = np.interp(FALSE_POSITIVE_RATES, false, true)
        grid = np.concatenate([[0.0], np.geomspace(1e-3, 1, 40)])
        points = tuple(zip(grid.tolist(), np.interp(grid, false, true).tolist(), strict=True))
        return area, rates, points


def _network(dataset: Dataset, seed: int) -> nn.Module:
    width, classes = dataset.features.shape[1], len(dataset.class_names)
    return initial_model(lambda: paper_network(width, classes), seed)


def _rows(dataset: Dataset, members: NDArray[np.bool_]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(dataset.features[members]), torch.from_numpy(dataset.labels[members])
