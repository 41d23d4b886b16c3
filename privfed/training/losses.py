"""How a model's scores are judged, over a batch and row by row, by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from privfed.training.clipping import RowLosses, cross_entropy_by_row, squared_by_row
from privfed.training.model import AnyLoss, cross_entropy


def softmax_by_row(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each row under a softmax."""
    return functional.cross_entropy(scores, labels, reduction="none")


def mean_squared(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error of scores (n, 1) and numbers (n,)."""
    return functional.mse_loss(scores[:, 0], labels)


@dataclass(frozen=True)
class Judged:
    """A loss of scores (n, classes) or (n, 1) and labels (n,): its mean, and each row's."""

    mean: Callable[[Tensor, Tensor], Tensor]
    by_row: RowLosses


LOSSES: dict[AnyLoss, Judged] = {
    "sigmoid": Judged(cross_entropy, cross_entropy_by_row),
    "softmax": Judged(functional.cross_entropy, softmax_by_row),
    "squared": Judged(mean_squared, squared_by_row),
}
