"""The sum of clipped per-row gradients, with its sensitivity, whatever the model.

Abadi et al., "Deep Learning with Differential Privacy", arXiv 1607.00133, algorithm 1. Stacks of
linear layers take a closed form, every other model Opacus's hooks; both end in the same clipping
here, in float64.

Dropout is off. torch draws its masks by place in the batch: with one row more or fewer, the rows
after it would get other masks and gradients, a change beyond the clip norm that the noise hides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privfed.errors import ConfigError
from privfed.training.linear_stack import LinearStack, linear_stack
from privfed.training.model import log_probabilities
from privfed.training.per_sample import OpacusGradients

RowLosses = Callable[[Tensor, Tensor], Tensor]
"""Each row's loss, (n,), from scores (n, …) and labels (n,); no row's depends on another row."""

_OPACUS_SLACK = 1e-6  # Opacus clips by C/(norm + 1e-6), and so do we
_UNIT_ROUNDOFF = 2.0**-53
_CHUNK = 1024  # rows at once; bounds memory and the length of a sum


def cross_entropy_by_row(scores: Tensor, labels: Tensor) -> Tensor:
    """Return each row's cross-entropy: `scores` (n, classes) before the sigmoid, `labels` (n,)."""
    return functional.nll_loss(log_probabilities(scores), labels, reduction="none")


class RowGradients(Protocol):
    """Every row's gradient at one batch of b rows, in whatever form is cheap."""

    def squared_norms(self) -> NDArray[np.float64]:
        """Return the squared L2 norm of each row's gradient, (b,)."""

    def weighted_sum(self, factors: NDArray[np.float64], out: list[NDArray[np.float64]]) -> None:
        """Write the sum of factors (b,) times gradients into one array per parameter."""


@dataclass(frozen=True)
class ClippedSum:
    """The sum of a batch's clipped gradients before any noise: as secret as the rows.

    Attributes:
        arrays: float64, by name of each trainable parameter in the model's order; views of `flat`.
        flat: The same values, one after another, as one vector.
        l2_sensitivity: How far, at most, one row more or fewer moves `flat`: what noise must hide.
    """

    arrays: dict[str, NDArray[np.float64]] = field(repr=False)
    flat: NDArray[np.float64] = field(repr=False)
    l2_sensitivity: float


class GradientClipper:
    """Clips each row's gradient of one model on one party's rows and adds up a batch of them.

    The model's structure is read once, its weights at every call. `parameters` are those trained,
    in the model's order, `rows` is n. `method` says which way was
    chosen: "closed form" for an `nn.Sequential` of linear layers and elementwise activations
    (see `linear_stack`), "opacus" for every other model.

    `l2_sensitivity` is the clip norm C and a little more for floating point. With u = 2^-53, d
    parameters and at most m additions behind a value, a row's norm is off by at most d·u of itself
    (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1), and a sum of n rows of
    norm C by n·m·u·C, for each of two neighbours. n counts all rows of the party, as the size of
    a batch is secret. Rows are added in chunks of 1024, so m ≤ 1024 + n/1024 + 2. A row's own
    gradient is assumed to be the same in every batch; BLAS may round it differently by its place.

    Args:
        model: The model; its parameters that require a gradient are trained.
        features: (n, …) training rows; n is public.
        labels: (n,).
        l2_clip_norm: Bound C > 0 on the L2 norm of a row's gradient.
        row_losses: Each row's loss; by default the paper's cross-entropy.

    Raises:
        ConfigError: The clip norm, the labels or the model cannot be used; names the layer.
    """

    def __init__(
        self,
        model: nn.Module,
        features: Tensor,
        labels: Tensor,
        l2_clip_norm: float,
        *,
        row_losses: RowLosses = cross_entropy_by_row,
    ) -> None:
        if not (l2_clip_norm > 0 and math.isfinite(l2_clip_norm)):
            raise ConfigError(f"the clip norm must be a positive number, not {l2_clip_norm}")
        if len(features) != len(labels):
            raise ConfigError(f"{len(features)} rows have {len(labels)} labels: give each row one")
        trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
        if not trained:
            raise ConfigError("no parameter of the model requires a gradient: nothing to train")
        self.parameters = list(trained.values())
        self.rows = len(features)
        self._names = list(trained)
        ends = list(accumulate((each.numel() for each in self.parameters), initial=0))
        self._size = ends[-1]
        self._places = [
            (slice(start, end), each.shape)
            for each, (start, end) in zip(self.parameters, pairwise(ends), strict=True)
        ]
        self._clip = float(l2_clip_norm)
        layers = linear_stack(model, features)
        self.method = "opacus" if layers is None else "closed form"
        self._gradients: Callable[[NDArray[np.intp]], RowGradients]
        if layers is None:
            self._gradients = OpacusGradients(model, features, labels, row_losses)
        else:
            known = row_losses is cross_entropy_by_row
            self._gradients = LinearStack(layers, features, labels, None if known else row_losses)
        self.l2_sensitivity = self._clip * (1 + _rounding(self.rows, self._size))

    def clipped_sum(self, batch: NDArray[np.bool_]) -> ClippedSum:
        """Return the sum of the clipped gradients of the rows where `batch` (n,) is True.

        Raises:
            ConfigError: `batch` is no mask of the rows, or a row's gradient is not finite.
        """
        if batch.shape != (self.rows,) or batch.dtype != np.bool_:
            raise ConfigError(f"a batch is a mask of {self.rows} booleans, one for each row")
        flat = np.zeros(self._size)
        views = self._views(flat)
        (places,) = batch.nonzero()
        if len(places):
            self._add_up(places[:_CHUNK], views)
        for start in range(_CHUNK, len(places), _CHUNK):
            part = np.empty(self._size)
            self._add_up(places[start : start + _CHUNK], self._views(part))
            flat += part
        return ClippedSum(dict(zip(self._names, views, strict=True)), flat, self.l2_sensitivity)

    def _add_up(self, places: NDArray[np.intp], out: list[NDArray[np.float64]]) -> None:
        with np.errstate(over="ignore", invalid="ignore"):  # refused below, by the norm
            gradients = self._gradients(places)
            norms = np.sqrt(gradients.squared_norms())
        if not math.isfinite(np.add.reduce(norms)):  # each is below 10^155 or not finite
            raise ConfigError(
                "a row's gradient is not a finite number, so no clip norm bounds it: "
                "look for NaN or huge values in the features"
            )
        gradients.weighted_sum(np.minimum(1.0, self._clip / (norms + _OPACUS_SLACK)), out)

    def _views(self, flat: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return [flat[place].reshape(shape) for place, shape in self._places]


def _rounding(rows: int, size: int) -> float:
    """Bound what floating point adds to a sensitivity of 1, as `GradientClipper` explains."""
    longest = min(rows, _CHUNK) + math.ceil(rows / _CHUNK) + 2
    return 1.01 * _UNIT_ROUNDOFF * (size + 100 + 2 * rows * longest)
