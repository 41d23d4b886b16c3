"""How good a model is on given rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privfed.training.model import Loss, log_probabilities
from privfed.training.rows import wide

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A model on n rows.

    Attributes:
        loss: The mean over rows.
        accuracy: The share of rows whose class was predicted.
        predicted: Each row's prediction.
        truth: Each row's class.
        log_probabilities: What the model says of each row and class, (n, classes).
    """

    loss: float
    accuracy: float
    predicted: NDArray[np.int64]
    truth: NDArray[np.int64] = field(repr=False)
    log_probabilities: Tensor = field(repr=False)

    @cached_property
    def auc(self) -> float | None:
        """The area under the ROC curve; None where the rows lack a class.

        Of more than two classes it is one-against-rest, averaged over the classes. It is worked
        out when it is first asked for: of training rows nobody does.
        """
        classes = self.log_probabilities.shape[1]
        if len(np.unique(self.truth)) < classes:
            return None
        probabilities = self.log_probabilities.exp().numpy()
        if classes == 2:
            return _area(self.truth == 1, probabilities[:, 1])
        # As scikit-learn has it: float32 rows do not sum to one closely enough for its check.
        normalised = probabilities.astype(np.float64)
        normalised /= normalised.sum(axis=1, keepdims=True)
        return float(np.mean([_area(self.truth == c, normalised[:, c]) for c in range(classes)]))


def evaluate(
    model: nn.Module, features: Tensor, labels: Tensor, loss: Loss = "sigmoid"
) -> Evaluation:
    """Evaluate `model` on `features` (n, d) and `labels` (n,) without dropout; n ≥ 1."""
    log_p = class_log_probabilities(model, features, loss)
    predicted, truth = log_p.argmax(dim=1).numpy(), labels.numpy()
    return Evaluation(
        loss=float(functional.nll_loss(log_p, labels)),
        accuracy=float(np.mean(predicted == truth)),
        predicted=predicted,
        truth=truth,
        log_probabilities=log_p,
    )


def scores_of(model: nn.Module, features: Tensor) -> Tensor:
    """Return a model's scores of features (n, d) without dropout; it stays as it was.

    They are taken a few rows at once, as there may be many.
    """
    with _evaluating(model):
        return torch.cat([wide(model(each)) for each in torch.split(features, _ROWS_AT_ONCE)])


def class_log_probabilities(model: nn.Module, features: Tensor, loss: Loss = "sigmoid") -> Tensor:
    """Return a model's log class probabilities (n, classes) without dropout; it stays as it was.

    Args:
        model: Makes scores of features.
        features: (n, d).
        loss: What the scores mean.
    """
    scores = scores_of(model, features)
    with torch.inference_mode():
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


def _area(inside: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Return in what share of pairs the row inside has the higher score; a tie counts half."""
    ours, others = np.sort(scores[inside]), np.sort(scores[~inside])
    below = np.searchsorted(others, ours, "left") + np.searchsorted(others, ours, "right")
    return float(below.sum() / (2 * len(ours) * len(others)))
