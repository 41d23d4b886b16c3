"""How good a model is on given rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privfed.training.model import Loss, log_probabilities
from privfed.training.rows import wide

_ROWS_AT_ONCE = 4096


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
    log_p = class_log_probabilities(model, features)
    predicted, truth = log_p.argmax(dim=1).numpy(), labels.numpy()
    return Evaluation(
        loss=float(functional.nll_loss(log_p, labels)),
        accuracy=float(np.mean(predicted == truth)),
        auc=_auc(truth, log_p.exp().numpy()),
        predicted=predicted,
    )


def class_log_probabilities(model: nn.Module, features: Tensor, loss: Loss = "sigmoid") -> Tensor:
    """Return a model's log class probabilities (n, classes) without dropout; it stays as it was.

    Args:
        model: Makes scores of features.
        features: (n, d), taken a few at once, as there may be many.
        loss: What the scores mean.
    """
    with _evaluating(model):
        scores = torch.cat([wide(model(each)) for each in torch.split(features, _ROWS_AT_ONCE)])
        return log_probabilities(scores, loss)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Take each layer out of training, and put it back as it was."""
    modes = [(layer, layer.training) for layer in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for layer, mode in modes:
            layer.training = mode


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
