"""Clipped sums over stacks of linear layers and ReLUs, in which every row counts for itself.

Each row is computed by +, -, times and / of IEEE 754 binary64 in one order that the network's shape
alone decides: no library's product, whose rounding depends on how many rows it is given, on their
places and on the machine. With a row's input `a` to a layer and its gradient `d` at the layer's
output, the row's gradient is the outer product of d and a for the weights, and d for the bias; its
squared norm is |d|^2 (|a|^2 + 1), summed over layers (Goodfellow, arXiv 1510.01799).

`exact_stack_compiled` does the same for one row after another by numba, with equal bits: where it
is there and a check on rows of no one agrees, it takes over. Without it, here, each operation is
done for all rows of a chunk at once, elementwise.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from privfed.errors import PrivacyWarning
from privfed.training.row_grid import Array, RowGrid

_CHUNK_VALUES = 1 << 20  # of rows' own gradients at once
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # Cody, Waite 1980: k·high exact
LOWEST = -700.0  # e^-700 is as good as zero beside 1
TO_WHOLE = 6755399441055744.0  # 1.5·2^52: adding it rounds to a whole number
TAYLOR = np.array([1 / np.prod(np.arange(1, n + 1, dtype=float)) for n in range(13, -1, -1)])
POWERS = 2.0 ** -np.arange(1024, dtype=float)
LEAST = 2.0**-1020  # for each square: more than it loses where it underflows
CHECKED_ROWS = 7


@dataclass(frozen=True)
class Shape:
    """A stack's layers, in order, and its loss.

    Attributes:
        widths: Inputs of each linear layer, then the outputs of the last.
        biases: Whether each has a bias.
        relus: Whether a ReLU comes after each.
        squared: Whether the loss is the squared error of a row's one score; else the paper's.
    """

    widths: tuple[int, ...]
    biases: tuple[bool, ...]
    relus: tuple[bool, ...]
    squared: bool = False

    @property
    def size(self) -> int:
        """How many parameters there are."""
        return sum(o * (i + has) for i, o, has in self._layers())

    def _layers(self) -> list[tuple[int, int, bool]]:
        return list(zip(self.widths[:-1], self.widths[1:], self.biases, strict=True))

    def split(self, flat: Array) -> list[tuple[Array, Array | None]]:
        """Return each layer's weights (outputs, inputs) and bias as views of one vector."""
        found: list[tuple[Array, Array | None]] = []
        start = 0
        for inputs, outputs, has in self._layers():
            weight = flat[start : start + inputs * outputs].reshape(outputs, inputs)
            start += inputs * outputs
            found.append((weight, flat[start : start + outputs] if has else None))
            start += outputs * has
        return found


class ExactStack:
    """Clipped sums of a stack on rows that stay the same.

    Args:
        shape: The layers.
        features: (n, inputs) float64 rows.
        labels: (n,) float64: classes from 0, below the outputs; of a squared loss any numbers.
        grid: Where clipped rows lie.

    Attributes:
        is_compiled: Whether numba does the work.
    """

    def __init__(self, shape: Shape, features: Array, labels: Array, grid: RowGrid) -> None:
        self._shape, self._grid = shape, grid
        self._features, self._labels = np.ascontiguousarray(features), labels
        self._compiled = _checked(shape)
        self.is_compiled = self._compiled is not None

    def integers(self, weights: Array, places: NDArray[np.intp]) -> Array:
        """Return the sum of the clipped gradients of some rows, in units of the grid's spacing.

        Args:
            weights: All parameters, one after another.
            places: The rows.
        """
        return _integers(
            self._compiled,
            self._shape,
            self._grid,
            weights,
            self._features.take(places, axis=0),
            self._labels.take(places),
        )


def _integers(
    kernel: _Kernel | None,
    shape: Shape,
    grid: RowGrid,
    weights: Array,
    features: Array,
    labels: Array,
) -> Array:
    total = np.zeros(shape.size)
    if kernel is not None:
        kernel(weights, features, labels, grid.limit, grid.spacing, total)
        return total
    chunk = max(1, _CHUNK_VALUES // shape.size)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for start in range(0, len(features), chunk):
            part = slice(start, start + chunk)
            _add_rows(shape, grid, weights, features[part], labels[part], total)
    return total


def _add_rows(
    shape: Shape,
    grid: RowGrid,
    weights: Array,
    features: Array,
    labels: Array,
    total: Array,
) -> None:
    layers, inputs, values = shape.split(weights), list[Array](), features
    for (weight, bias), relu in zip(layers, shape.relus, strict=True):
        inputs.append(values)
        scores = np.zeros((len(values), len(weight)))
        if bias is not None:
            scores += bias
        for place in range(weight.shape[1]):
            scores += values[:, place, None] * weight[:, place]
        values = np.where(scores <= 0, 0.0, scores) if relu else scores  # NaN stays
    gradient = 2.0 * (values - labels[:, None]) if shape.squared else score_gradient(values, labels)
    deltas = _deltas(layers, shape.relus, inputs, gradient)
    squared = np.zeros(len(features))
    for given, delta, has in zip(inputs, deltas, shape.biases, strict=True):
        squared += _squares(delta) * (_squares(given) + has)
    factors = grid.factors(squared)[:, None]
    kept = factors[:, 0] > 0
    for given, delta, (weight, bias) in zip(inputs, deltas, shape.split(total), strict=True):
        scaled = (delta * factors)[kept]
        weight += np.rint(scaled[:, :, None] * given[kept][:, None, :]).sum(axis=0)
        if bias is not None:
            bias += np.rint(scaled).sum(axis=0)


def _deltas(
    layers: Sequence[tuple[Array, Array | None]],
    relus: Sequence[bool],
    inputs: Sequence[Array],
    delta: Array,
) -> list[Array]:
    """Return the gradients at each layer's outputs."""
    deltas = [delta]
    for number in range(len(layers) - 1, 0, -1):
        weight, _ = layers[number]
        passed = np.zeros_like(inputs[number])
        for place, row in enumerate(weight):
            passed += delta[:, place, None] * row
        delta = np.where(inputs[number] > 0, passed, 0.0) if relus[number - 1] else passed
        deltas.append(delta)
    return deltas[::-1]


def _squares(values: Array) -> Array:
    """Return each row's sum of squares, added one after another, and no less where they underflow.

    The other factor of a layer's norm may be so large that what underflows here would count.
    """
    total = np.full(len(values), values.shape[1] * LEAST)
    for column in values.T:
        total += column * column
    return total


def score_gradient(scores: Array, classes: Array) -> Array:
    """Return the derivative of the paper's loss, -log(s(z_y) / sum s(z_j)), s the logistic one.

    That is (s(z_j) / sum s(z) - [j = y]) · s(-z_j); e^z is taken of what is at most 0 alone, so
    that scores of any size are safe.

    Args:
        scores: (n, classes).
        classes: (n,).
    """
    small, low = exponential(-np.abs(scores)), np.minimum(scores, 0.0)
    inverse = 1.0 / (1.0 + small)
    shares = exponential(low - low.max(axis=1, keepdims=True)) * inverse
    sums = np.zeros(len(scores))
    for column in shares.T:
        sums += column
    shares /= sums[:, None]
    shares -= classes[:, None] == np.arange(scores.shape[1])
    return shares * (np.where(scores > 0, small, 1.0) * inverse)


def exponential(values: Array) -> Array:
    """Return e^x for x at most 0, by + - times alone: equal bits on every machine.

    Cody, Waite, "Software Manual for the Elementary Functions", 1980: x = k·ln 2 + r with |r| at
    most ln 2 / 2, and a Taylor polynomial of degree 13, whose remainder is below 2^-56.
    """
    clipped = np.maximum(values, LOWEST)
    whole = (clipped * LOG2_E + TO_WHOLE) - TO_WHOLE
    rest = (clipped - whole * LN2_HIGH) - whole * LN2_LOW
    power = np.full_like(rest, TAYLOR[0])
    for coefficient in TAYLOR[1:]:
        power = power * rest + coefficient
    places = np.where(np.isfinite(whole), -whole, 0.0).astype(np.intp)
    return power * POWERS[places]


class _Kernel:
    """The compiled code for one shape."""

    def __init__(self, shape: Shape) -> None:
        self._add = importlib.import_module("privfed.training.exact_stack_compiled").add_rows
        self._shape = shape
        self._widths = np.array(shape.widths, np.int64)
        self._biases, self._relus = np.array(shape.biases), np.array(shape.relus)

    def __call__(
        self,
        weights: Array,
        features: Array,
        labels: Array,
        limit: float,
        spacing: float,
        total: Array,
    ) -> None:
        turned = np.concatenate([w.T.ravel() for w, _ in self._shape.split(weights)])
        self._add(
            weights, turned, features, labels, self._widths, self._biases, self._relus,
            self._shape.squared, limit, spacing, total,
        )  # fmt: skip


@cache
def _checked(shape: Shape) -> _Kernel | None:
    """Return compiled code that agrees with this module on rows of no one; or None."""
    if importlib.util.find_spec("numba") is None:
        return None
    kernel, rng = _Kernel(shape), np.random.default_rng(0)
    weights = rng.normal(size=shape.size)
    features = rng.normal(size=(CHECKED_ROWS, shape.widths[0])) * 10.0 ** np.arange(-3, 4)[:, None]
    features[1, 0], features[2, -1] = np.inf, np.nan
    labels = rng.integers(shape.widths[-1], size=CHECKED_ROWS).astype(np.float64)
    if shape.squared:
        labels = rng.normal(size=CHECKED_ROWS)
    grid = RowGrid(1000, shape.size, 1.0)
    found = [_integers(each, shape, grid, weights, features, labels) for each in (kernel, None)]
    if found[0].tobytes() == found[1].tobytes():
        return kernel
    warnings.warn(
        "compiled code rounds differently from the definition on this machine: clipping goes on "
        "without it, several times slower",
        PrivacyWarning,
        stacklevel=4,
    )
    return None
