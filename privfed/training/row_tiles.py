"""Rows in tiles of one fixed size, so that how many a batch has changes none of them.

A row's gradient may be rounded differently by how many rows a library's kernel is given, and by its
place among them (vectors in the body and scalars in the tail; rows of odd length lie at different
alignments). So there are always as many rows, those of no one in the places that a batch leaves
empty, memory is fresh, there is one thread, and neither autocast nor inference mode. A check at the
start, on rows of no one, looks for what is left: a row that others or its place change. In strict
tiles a row's place is its own, whatever the batch; rows that share one come after each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privfed.training.row_grid import Array
from privfed.training.row_kernels import RowKernel
from privfed.training.rows import Inputs, LabelledRows, columnwise, picked, put

_TILE = 64  # rows; also what kernels' vectors divide
_VALUES = 1 << 25  # of rows' own gradients in a tile, unless the smallest has more
_FEWEST = 8  # rows that are looked at
_SHIFTS = (1, 3)  # of places


class RowsMixError(Exception):
    """A row's gradient is another one beside other rows, or at another place."""


class RoundingError(Exception):
    """A row's gradient has other last bits beside other rows."""


class PlacesError(RoundingError):
    """A row's gradient has other last bits at another place."""


def tile_rows(expected: float, values: int) -> int:
    """Return the size of a tile for batches of about so many rows of so many values."""
    tiles = math.ceil(max(1.0, expected + 6 * math.sqrt(expected)) / _TILE)
    return _TILE * max(1, min(tiles, _VALUES // (_TILE * values)))


class RowTiles:
    """Per-row gradients on rows that stay the same.

    Args:
        kernel: How they are computed.
        rows: The rows.
        sizes: How many values each trained parameter has.
        size: LabelledRows in a tile.
        strict: Whether each row has a place of its own.
    """

    def __init__(
        self,
        kernel: RowKernel,
        rows: LabelledRows,
        sizes: Sequence[int],
        size: int,
        *,
        strict: bool,
    ) -> None:
        self._kernel, self._rows, self._sizes = kernel, rows, list(sizes)
        self._size, self.strict = size, strict
        nobody = rows.made_up(1, 0)
        self._nobody: tuple[Inputs, Tensor] = (
            columnwise(nobody[0], lambda column: column.repeat_interleave(size, dim=0)),
            nobody[1].repeat_interleave(size, dim=0),
        )

    def __call__(self, places: NDArray[np.intp]) -> Iterator[list[Array]]:
        """Yield the gradients of some rows, a tile after another: (rows, size) by parameter."""
        for chosen, at in self._tiles(places):
            yield self._gradients(*self._rows.take(chosen), at)

    def _tiles(
        self, places: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield rows, and where in a tile they go."""
        if not self.strict:
            for start in range(0, len(places), self._size):
                chosen = places[start : start + self._size]
                yield chosen, np.arange(len(chosen))
            return
        own = places % self._size
        turns = np.zeros(len(places), np.intp)  # how many rows before share the place
        for place in np.unique(own):
            turns[own == place] = np.arange((own == place).sum())
        for turn in range(turns.max(initial=-1) + 1):
            yield places[turns == turn], own[turns == turn]

    def _gradients(self, features: Inputs, labels: Tensor, at: NDArray[np.intp]) -> list[Array]:
        """Return the gradients of rows at these places of a tile.

        A row at which the model or the loss raises, an id out of range or a label that a loss
        leaves out, say, has none: whether a round runs must not tell of it.

        Raises:
            ConfigError: The loss is not one for each row.
        """
        try:
            return self._of_tile(features, labels, at)
        except Exception:  # noqa: S110  (whatever the model raises; its text may tell of the row)
            pass
        if len(at) == 1:
            nobody, label = self._rows.made_up(1, 0)
            self._of_tile(nobody, label, at)  # raises, too, unless it was for the row
            return [np.full((1, size), np.nan) for size in self._sizes]
        each = [slice(row, row + 1) for row in range(len(at))]
        parts = [self._gradients(picked(features, row), labels[row], at[row]) for row in each]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def _of_tile(self, features: Inputs, labels: Tensor, at: NDArray[np.intp]) -> list[Array]:
        where = torch.from_numpy(at)
        with settled():
            x, y = columnwise(self._nobody[0], Tensor.clone), self._nobody[1].clone()
            put(x, where, features)
            put(y, where, labels)
            found = self._kernel(x, y)
            return [
                gradient.detach().reshape(self._size, -1)[where].double().numpy()
                for gradient in found
            ]

    def check(self) -> None:
        """Compare rows' gradients beside others, and at other places: rows of no one.

        Raises:
            RowsMixError: They differ.
            RoundingError: Their last bits do; `PlacesError` if it is for the place.
        """
        count = max(self._size, _FEWEST)
        features, labels = self._rows.made_up(count, 0)
        alone = self._of(features, labels)
        for first in (0, 1):  # every second row stays
            places = torch.arange(first, count, 2)
            others, other_labels = self._rows.made_up(count, 1 + first)
            put(others, places, picked(features, places))
            put(other_labels, places, labels[places])
            _compare(self._of(others, other_labels)[first::2], alone[first::2], RoundingError)
        if self._size == 1 or self.strict:
            return
        for shift in _SHIFTS:
            order = torch.arange(count).roll(shift)
            moved = self._of(picked(features, order), labels[order])
            _compare(np.roll(moved, -shift, axis=0), alone, PlacesError)

    def _of(self, features: Inputs, labels: Tensor) -> Array:
        """Return the gradients of made-up rows, as many as are a tile or more."""
        at, parts = np.arange(self._size), []
        for start in range(0, len(labels), self._size):
            part = slice(start, start + self._size)
            tile = self._of_tile(picked(features, part), labels[part], at)
            parts.append(np.concatenate(tile, axis=1))
        return np.concatenate(parts)


def _compare(found: Array, wanted: Array, rounding: type[RoundingError]) -> None:
    if found.tobytes() == wanted.tobytes():
        return
    # What is left of a gradient where scores saturate is rounding of numbers as large as others'.
    # So little mixing as that is taken for rounding, which rows then do not see either.
    size = np.abs(wanted[np.isfinite(wanted)]).max(initial=0.1)
    if not np.allclose(found, wanted, rtol=1e-3, atol=1e-5 * size, equal_nan=True):
        raise RowsMixError
    raise rounding


@contextmanager
def settled() -> Iterator[None]:
    """Leave out what the caller may have set for its own calls of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        # Out of inference mode gradients are on, whether or not the caller has turned them off.
        with torch.inference_mode(mode=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_num_threads(before)
