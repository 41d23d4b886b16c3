"""How good a model is on given rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privfed.training.model import log_probabilities
from privfed.training.rows import wide


@dataclass(frozen=True)
class Evaluation:
    """A model on n rows: mean loss, accuracy and AUC in [0, 1], and each row's prediction.

    `auc` is one-against-rest, averaged over the classes, and None where the rows lack a class.
    """

    loss: float
    accuracy: float
    auc: float | None
    predicted: NDArray[np.int64]


def evaluate(model: nn.Module, features: Tensor, labels: Tensor) -> Evaluation:
    """Evaluate `model` on `features` (n, d) and `labels` (n,) without dropout; n ≥ 1."""
    model.eval()
    with torch.inference_mode():
        log_p = log_probabilities(wide(model(features)))
        loss = float(functional.nll_loss(log_p, labels))
        predicted = log_p.argmax(dim=1).numpy()
        probabilities = log_p.exp().numpy()
    truth = labels.numpy()
    return Evaluation(
        loss=loss,
        accuracy=float(np.mean(predicted == truth)),
        auc=_auc(truth, probabilities),
        predicted=predicted,
    )


def _auc(truth: NDArray[np.int64], probabilities: NDArray[np.float32]) -> float | None:
    if len(np.unique(truth)) < probabilities.shape[1]:
        return None
    from sklearn.metrics import roc_auc_score  # a second, which training does not wait for

    if probabilities.shape[1] == 2:
        return float(roc_auc_score(truth, probabilities[:, 1]))
    # float32 rows need not sum to one closely enough for scikit-learn's check
    normalised = probabilities.astype(np.float64)
    normalised /= normalised.sum(axis=1, keepdims=True)
    return float(roc_auc_score(truth, normalised, multi_class="ovr"))
