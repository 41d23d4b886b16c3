"""The sum of clipped per-row gradients, with its sensitivity, whatever the model.

Abadi et al., "Deep Learning with Differential Privacy", arXiv 1607.00133, algorithm 1. Stacks of
linear layers and ReLUs take a closed form, other models `torch.func.vmap`, and what that does not
take Opacus's hooks; all end on the same grid, where sums are exact.

Dropout is off. torch draws its masks by place in the batch: with one row more or fewer, the rows
after it would get other masks and gradients, a change beyond the clip norm that the noise hides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privfed.errors import ConfigError
from privfed.training.exact_stack import ExactStack, Shape
from privfed.training.linear_stack import linear_stack
from privfed.training.model import log_probabilities
from privfed.training.per_sample import OpacusGradients, check_layers
from privfed.training.row_grid import Array, RowGrid, sum_in_halves
from privfed.training.row_tiles import TileGradients
from privfed.training.vector import one_vector

RowLosses = Callable[[Tensor, Tensor], Tensor]
"""Each row's loss, (n,), from scores (n, …) and labels (n,); no row's depends on another row."""

_LEAST, _MOST = 1e-100, 1e100  # of the clip norm: what lies on the grid is a normal number
_NOT_FINITE = "a weight of the model is not a finite number: start anew"
_ASSUMED = {
    "closed form": "",
    "vmap": "torch's kernels round no row by what other rows hold",
    "opacus": "torch's kernels round no row by what other rows hold, by how many there are, or by "
    "their places; the model and its loss take each row by itself",
}


def cross_entropy_by_row(scores: Tensor, labels: Tensor) -> Tensor:
    """Return each row's cross-entropy: `scores` (n, classes) before the sigmoid, `labels` (n,)."""
    return functional.nll_loss(log_probabilities(scores), labels, reduction="none")


class RowGradients(Protocol):
    """Every row's own gradient, for some rows after others."""

    def __call__(self, places: NDArray[np.intp]) -> Iterator[list[Array]]:
        """Yield them in parts of the rows: (rows, size) for each parameter."""


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
    in the model's order, `rows` is n. `method` says which way was chosen: "closed form" for an
    `nn.Sequential` of linear layers and ReLUs with the paper's loss (see `exact_stack`), "vmap"
    for every other model that `torch.func.vmap` takes (see `row_tiles`), else "opacus".

    `l2_sensitivity` is the clip norm C, exactly: each row's clipped gradient lies on a grid, and
    sums on it are exact (see `row_grid`). For that a row's own gradient must not depend on others:
    in the closed form it cannot, and `assumption` says what is assumed otherwise. A row whose
    gradient is not finite adds exactly nothing: whether a round runs must not tell of one row.

    Args:
        model: The model; its parameters that require a gradient are trained.
        features: (n, …) training rows; n is public.
        labels: (n,).
        l2_clip_norm: Bound C on the L2 norm of a row's gradient, 1e-100 to 1e100.
        row_losses: Each row's loss; by default the paper's cross-entropy.
        expected_rows: About how many rows a batch has, a public number by which "vmap" chooses
            its tiles; None: at most 256.

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
        expected_rows: float | None = None,
    ) -> None:
        if not _LEAST <= l2_clip_norm <= _MOST:
            raise ConfigError(f"the clip norm must be 1e-100 to 1e100, not {l2_clip_norm}")
        if len(features) != len(labels):
            raise ConfigError(f"{len(features)} rows have {len(labels)} labels: give each row one")
        trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
        if not trained:
            raise ConfigError("no parameter of the model requires a gradient: nothing to train")
        self.parameters = list(trained.values())
        self.rows = len(features)
        self.l2_sensitivity = float(l2_clip_norm)
        self._model, self._names = model, list(trained)
        ends = list(accumulate((each.numel() for each in self.parameters), initial=0))
        self._size = ends[-1]
        self._places = [
            (slice(start, end), each.shape)
            for each, (start, end) in zip(self.parameters, pairwise(ends), strict=True)
        ]
        self._grid = RowGrid(self.rows, self._size, self.l2_sensitivity)
        known = row_losses is cross_entropy_by_row
        shape = linear_stack(model, features) if known else None
        self._stack: ExactStack | None = None
        self._addresses: list[int] = []
        self._source: NDArray[np.floating]
        if shape is not None:
            self._stack = _exact_stack(shape, features, labels, self._grid)
            self.method = "closed form"
            return
        check_layers(model)
        most = min(len(features), 256) if expected_rows is None else expected_rows
        self._gradients: RowGradients
        try:
            self._gradients = TileGradients(model, features, labels, row_losses, most)
            self.method = "vmap"
        except NotImplementedError:
            self._gradients = OpacusGradients(model, features, labels, row_losses)
            self.method = "opacus"

    @property
    def assumption(self) -> str:
        """What must hold of the machine for a row to count for itself; nothing if it does so."""
        return _ASSUMED[self.method]

    def clipped_sum(self, batch: NDArray[np.bool_]) -> ClippedSum:
        """Return the sum of the clipped gradients of the rows where `batch` (n,) is True.

        Raises:
            ConfigError: `batch` is no mask of the rows, or a weight of the model is not finite.
        """
        if batch.shape != (self.rows,) or batch.dtype != np.bool_:
            raise ConfigError(f"a batch is a mask of {self.rows} booleans, one for each row")
        (places,) = batch.nonzero()
        flat = self._integers(places)
        flat *= self._grid.spacing  # a power of two: exact
        views = [flat[place].reshape(shape) for place, shape in self._places]
        return ClippedSum(dict(zip(self._names, views, strict=True)), flat, self.l2_sensitivity)

    def _integers(self, places: NDArray[np.intp]) -> Array:
        """Return the sum in units of the grid."""
        if self._stack is not None:
            weights = self._weights()
            if not np.isfinite(weights).all():
                raise ConfigError(_NOT_FINITE)
            return self._stack.integers(weights, places)
        if not all(bool(torch.isfinite(each).all()) for each in self._model.parameters()):
            raise ConfigError(_NOT_FINITE)
        total = np.zeros(self._size)
        views = [total[place] for place, _ in self._places]
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for samples in self._gradients(places) if len(places) else ():
                squared = np.zeros(len(samples[0]))
                for sample in samples:
                    squared += sum_in_halves(sample * sample)
                factors = self._grid.factors(squared)
                kept = factors > 0
                for sample, view in zip(samples, views, strict=True):
                    view += np.rint(sample[kept] * factors[kept, None]).sum(axis=0)
        return total

    def _weights(self) -> Array:
        """Return the trained parameters as they are now, one after another."""
        addresses = [each.data_ptr() for each in self.parameters]
        if addresses != self._addresses:  # somebody has moved them since
            self._source = one_vector(self.parameters).detach().numpy()
            self._addresses = [each.data_ptr() for each in self.parameters]
        return self._source.astype(np.float64)


def _exact_stack(shape: Shape, features: Tensor, labels: Tensor, grid: RowGrid) -> ExactStack:
    flat = features.detach().reshape(len(features), -1).numpy().astype(np.float64)
    if flat.shape[1] != shape.widths[0]:
        raise ConfigError(f"the model takes {shape.widths[0]} features, rows have {flat.shape[1]}")
    classes, count = labels.numpy(), shape.widths[-1]
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        raise ConfigError("labels must be whole numbers, one for each row")
    if len(classes) and not (classes.min() >= 0 and classes.max() < count):
        raise ConfigError(f"labels must lie from 0 to {count - 1}: the model has {count} scores")
    return ExactStack(shape, flat, classes.astype(np.int64), grid)
