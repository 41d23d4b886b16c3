"""How a model's scores are judged, over a batch and row by row, by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from privfed.training.clipping import RowLosses, cross_entropy_by_row
from privfed.training.model import Loss, cross_entropy


def softmax_by_row(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each row under a softmax."""
    return functional.cross_entropy(scores, labels, reduction="none")


@dataclass(frozen=True)
class Judged:
    """A loss of scores (n, classes) and labels (n,): its mean, and each row's."""

    mean: Callable[[Tensor, Tensor], Tensor]
    by_row: RowLosses


LOSSES: dict[Loss, Judged] = {
    "sigmoid": Judged(cross_entropy, cross_entropy_by_row),
    "softmax": Judged(functional.cross_entropy, softmax_by_row),
}
