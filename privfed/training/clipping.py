"""The sum of clipped per-row gradients, with its sensitivity, whatever the model.

Abadi et al., "Deep Learning with Differential Privacy", arXiv 1607.00133, algorithm 1. Stacks of
linear layers and ReLUs take a closed form, other models `torch.func.vmap`, and what that does not
take Opacus's hooks; all end on the same grid, where sums are exact.

Dropout is off. torch draws its masks by place in the batch: with one row more or fewer, the rows
after it would get other masks and gradients, a change beyond the clip norm that the noise hides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privfed.dp import PrivacyPlan
from privfed.errors import ConfigError
from privfed.training.exact_stack import ExactStack, Shape
from privfed.training.linear_stack import linear_stack
from privfed.training.model import log_probabilities
from privfed.training.row_gradients import RowWise, try_out
from privfed.training.row_grid import Array, RowGrid, sum_in_halves
from privfed.training.row_kernels import RowLosses as RowLosses
from privfed.training.rows import HALF, Features, Inputs, LabelledRows, PublicRows, picked
from privfed.training.supported import check_model
from privfed.training.vector import one_vector

_LEAST, _MOST = 1e-100, 1e100  # of the clip norm: what lies on the grid is a normal number
_WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_NOT_FINITE = "a weight of the model is not a finite number: start anew"
_KERNELS = "torch's kernels round no row by what other rows hold"
_PLACE = f"{_KERNELS}, or by its place in a tile"
_OUTSIDE = "the model and its loss keep nothing outside of the model from one call to the next"
_FETCHED = "the Dataset gives a row whatever other rows hold, and whichever were read before"
_RULES = "functions with a vmap rule of their own keep rows apart in it"
_ASSUMED = {  # and in tiles that are not strict
    "closed form": ("", ""),
    "vmap": (f"{_KERNELS}; {_RULES}; {_OUTSIDE}", f"{_PLACE}; {_RULES}; {_OUTSIDE}"),
    "opacus": 2 * (f"{_PLACE}; {_OUTSIDE}, and take each row by itself, whatever rows hold",),
    "row by row": (_OUTSIDE, _OUTSIDE),
}


def cross_entropy_by_row(scores: Tensor, labels: Tensor) -> Tensor:
    """Return each row's cross-entropy: `scores` (n, classes) before the sigmoid, `labels` (n,)."""
    return functional.nll_loss(log_probabilities(scores), labels, reduction="none")


def squared_by_row(scores: Tensor, labels: Tensor) -> Tensor:
    """Return each row's squared error: `scores` (n, 1), `labels` (n,) numbers."""
    return functional.mse_loss(scores[:, 0], labels, reduction="none")


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
    `nn.Sequential` of linear layers and ReLUs with the paper's loss or the squared error of its one
    score (see `exact_stack`), "vmap" for every other model that `torch.func.vmap` takes (see
    `row_tiles`), else "opacus" for its hooks, else "row by row" (see `row_gradients`).

    `l2_sensitivity` is the clip norm C, exactly: each row's clipped gradient lies on a grid, and
    sums on it are exact (see `row_grid`). For that a row's own gradient must not depend on others:
    in the closed form it cannot, and `assumption` says what is assumed otherwise. A row whose
    gradient is not finite, or at which the model raises, adds exactly nothing: whether a round runs
    must not tell of one row. Half types are computed in float32, or where stated in float64, and
    dropout and autocast are off.

    Args:
        model: The model; its parameters that require a gradient are trained.
        features: (n, …) training rows, or such by name for a model that takes a dict, or a Dataset
            of rows that are fetched; n is public.
        labels: (n,); None: a Dataset gives pairs of features and label.
        l2_clip_norm: Bound C on the L2 norm of a row's gradient, 1e-100 to 1e100.
        row_losses: Each row's loss; by default the paper's cross-entropy.
        expected_rows: About how many rows a batch has, a public number by which "vmap" chooses
            its tiles; None: at most 256.
        public_rows: Features and labels of rows of no one, by which the model is checked; needed
            for a Dataset, and where numbers that are made up won't do.
        strict: Whether to take no way in which others than a row itself could be seen in it: each
            row has its own place in a tile, and there are no hooks. Slower, and less is assumed.

    Raises:
        ConfigError: The clip norm, the rows or the model cannot be used; names the layer.
    """

    def __init__(
        self,
        model: nn.Module,
        features: Features,
        labels: Tensor | None,
        l2_clip_norm: float,
        *,
        row_losses: RowLosses = cross_entropy_by_row,
        expected_rows: float | None = None,
        public_rows: PublicRows | None = None,
        strict: bool = False,
    ) -> None:
        if not _LEAST <= l2_clip_norm <= _MOST:
            raise ConfigError(f"the clip norm must be 1e-100 to 1e100, not {l2_clip_norm}")
        rows = LabelledRows(features, labels, public_rows)
        check_model(model)
        trained = {name: own for name, own in model.named_parameters() if own.requires_grad}
        if not trained:
            raise ConfigError("no parameter of the model requires a gradient: nothing to train")
        self.parameters = list(trained.values())
        self.rows, self._rows = rows.count, rows
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
        squared = row_losses is squared_by_row
        self._stack: ExactStack | None = None
        self._addresses: list[int] = []
        self._read: Callable[[], Array]
        self._shape = linear_stack(model, rows.example) if known or squared else None
        if self._shape is not None and squared:
            self._shape = replace(self._shape, squared=True)
        self._fetched = rows.in_memory is None
        if self._shape is not None:
            _exact_stack(self._shape, *rows.made_up(2, 0), self._grid)
            if rows.in_memory is not None:
                self._stack = _exact_stack(self._shape, *rows.in_memory, self._grid)
            self.method = "closed form"
            return
        scores = try_out(model, row_losses, rows)
        if known and scores is not None and rows.in_memory is not None:
            _check_classes(rows.in_memory[1], scores)
        most = min(rows.count, 256) if expected_rows is None else expected_rows
        sizes = [each.numel() for each in self.parameters]
        row_wise = RowWise(model, row_losses, rows, sizes)
        self.method, self._gradients = row_wise.gradients(most, strict=strict)

    def statement(self, plan: PrivacyPlan) -> str:
        """Return what the plan promises, and what is assumed of these rows' gradients for it."""
        assumed = f", assuming that {self.assumption}" if self.assumption else ""
        return f"{plan.statement()}; gradients by row: {self.method}{assumed}"

    @property
    def assumption(self) -> str:
        """What must hold of the machine for a row to count for itself; nothing if it does so."""
        in_tiles = self.method != "closed form" and not self._gradients.strict
        assumed = _ASSUMED[self.method][in_tiles]
        return "; ".join(filter(None, (assumed, _FETCHED if self._fetched else "")))

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
        if self._shape is not None:
            weights = self._weights()
            if not np.isfinite(weights).all():
                raise ConfigError(_NOT_FINITE)
            if self._stack is not None:
                return self._stack.integers(weights, places)
            features, labels = self._rows.take(places)
            known = labels.isfinite()  # others add nothing
            if not self._shape.squared:
                known &= (labels >= 0) & (labels < self._shape.widths[-1])
            chosen = picked(features, known)
            stack = _exact_stack(self._shape, chosen, labels[known], self._grid)
            return stack.integers(weights, np.arange(int(known.sum())))
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
            source = one_vector(self.parameters).detach()
            self._addresses = [each.data_ptr() for each in self.parameters]
            if source.dtype in HALF:  # which numpy has not
                self._read = lambda: source.double().numpy()
            else:
                values: NDArray[np.floating] = source.numpy()
                self._read = lambda: values.astype(np.float64)
        return self._read()


def _exact_stack(shape: Shape, features: Inputs, labels: Tensor, grid: RowGrid) -> ExactStack:
    rows = cast(Tensor, features)
    flat = rows.reshape(len(rows), math.prod(rows.shape[1:])).double().numpy()
    if flat.shape[1] != shape.widths[0]:
        raise ConfigError(f"the model takes {shape.widths[0]} features, rows have {flat.shape[1]}")
    if shape.squared:
        _check_numbers(labels, shape.widths[-1])
    else:
        _check_classes(labels, shape.widths[-1])
    return ExactStack(shape, flat, labels.double().numpy(), grid)


def _check_numbers(labels: Tensor, scores: int) -> None:
    if labels.ndim != 1 or not labels.is_floating_point():
        raise ConfigError("labels must be floating-point numbers, one for each row")
    if scores != 1:
        raise ConfigError(f"a squared error is of one score a row: the model has {scores}")


def _check_classes(labels: Tensor, count: int) -> None:
    if labels.ndim != 1 or labels.dtype not in _WHOLE:
        raise ConfigError("labels must be whole numbers, one for each row")
    if len(labels) and not (labels.min() >= 0 and labels.max() < count):
        raise ConfigError(f"labels must lie from 0 to {count - 1}: the model has {count} scores")
