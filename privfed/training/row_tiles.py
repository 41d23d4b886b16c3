"""Per-row gradients of any model by `torch.func.vmap`, in tiles of one fixed size.

A row's gradient may be rounded differently by how many rows a library's kernel is given, and by its
place among them (vectors in the body and scalars in the tail; rows of odd length lie at different
alignments). So there are always as many rows, zeros in the places that a batch leaves empty, each
row has a place of its own, memory is fresh, and there is one thread; and vmap keeps rows apart: a
model or loss that mixes them is an error or harmless. Rows that share a place come one after the
other. What remains assumed: that kernels have no path that other rows' values choose; a check at
the start, on rows of no one, looks for one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from privfed.errors import ConfigError
from privfed.training.row_grid import Array

_TILE = 64
MIXES = (
    "the model or its loss mixes the rows of a batch, so no row has a gradient of its own: use "
    "layers and losses that take each row by itself, such as GroupNorm"
)


def tile_rows(expected: float) -> int:
    """Return the size of a tile for batches of about so many rows."""
    return _TILE * math.ceil(max(1.0, expected + 6 * math.sqrt(expected)) / _TILE)


class TileGradients:
    """Per-row gradients on rows that stay the same; the model is left unchanged.

    Args:
        model: Anything that `torch.func.vmap` takes.
        features: (n, …) rows.
        labels: (n, …).
        row_losses: Each row's loss.
        expected: About how many rows a batch has; public.

    Raises:
        ConfigError: The model or the loss mixes rows.
        NotImplementedError: The model is not one that vmap takes.
    """

    def __init__(
        self,
        model: nn.Module,
        features: Tensor,
        labels: Tensor,
        row_losses: Callable[[Tensor, Tensor], Tensor],
        expected: float,
    ) -> None:
        self._model, self._features, self._labels = model, features, labels
        self._row_losses, self._size = row_losses, tile_rows(expected)
        self._check()

    def __call__(self, places: NDArray[np.intp]) -> Iterator[list[Array]]:
        """Yield the gradients of some rows, a tile after another: (rows, size) by parameter."""
        for rows, at in self._tiles(places):
            chosen = torch.from_numpy(rows)
            yield self._gradients(self._features[chosen], self._labels[chosen], at)

    def _tiles(
        self, places: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield rows, and where in a tile they go."""
        own = places % self._size
        turns = np.zeros(len(places), np.intp)  # how many rows before share the place
        for place in np.unique(own):
            turns[own == place] = np.arange((own == place).sum())
        for turn in range(turns.max(initial=-1) + 1):
            yield places[turns == turn], own[turns == turn]

    def _gradients(self, features: Tensor, labels: Tensor, at: NDArray[np.intp]) -> list[Array]:
        where = torch.from_numpy(at)
        x = features.new_zeros((self._size, *features.shape[1:]))
        y = labels.new_zeros((self._size, *labels.shape[1:]))
        x[where], y[where] = features, labels
        names, parameters = self._parameters()

        def loss(values: list[Tensor], row: Tensor, label: Tensor) -> Tensor:
            given = {name: values[number] for name, number in names.items()}
            scores = functional_call(self._model, given, (row.unsqueeze(0),), tie_weights=False)
            losses = self._row_losses(scores, label.unsqueeze(0))
            if losses.shape != (1,):
                raise ConfigError("row_losses must give one loss for each row, not their mean")
            return losses[0]

        each_row = vmap(grad(loss), in_dims=(None, 0, 0), randomness="error")
        training = {module: module.training for module in self._model.modules()}
        self._model.eval()  # dropout is off, see privfed.training.clipping
        try:
            with _one_thread(), warnings.catch_warnings():
                # Where vmap goes row by row, it warns that this is slow.
                warnings.filterwarnings("ignore", "There is a performance drop")
                found = each_row(parameters, x, y)
        finally:
            for module, was in training.items():
                module.training = was
        return [each.reshape(self._size, -1).numpy()[at].astype(np.float64) for each in found]

    def _parameters(self) -> tuple[dict[str, int], list[Tensor]]:
        """Return the trained parameters, and the number of each by every name that it has.

        Two modules may hold one parameter; a module that is used twice has its first name here, as
        `functional_call` would leave what it was given in one that it is told of twice.
        """
        trained = [each for each in self._model.parameters() if each.requires_grad]
        numbers = {id(each): number for number, each in enumerate(trained)}
        names = {}
        for prefix, module in self._model.named_modules():
            for name, each in module.named_parameters(prefix, recurse=False):
                if id(each) in numbers:
                    names[name] = numbers[id(each)]
        return names, [each.detach() for each in trained]

    def _check(self) -> None:
        """Compare one row's gradients beside others, and beside others again: rows of no one.

        On somebody's rows a refusal would tell of them.

        Raises:
            ConfigError: They differ.
        """
        found = [self._nobody(seed) for seed in range(4)]
        if not all(np.allclose(each, found[0], rtol=1e-3, atol=1e-6) for each in found):
            raise ConfigError(MIXES)
        if any(each.tobytes() != found[0].tobytes() for each in found):
            raise ConfigError(
                "torch's kernels round a row of this model by what other rows hold: give the model "
                "another number type, or use other layers"
            )

    def _nobody(self, seed: int) -> Array:
        """Return the gradient of one made-up row in the middle of a tile of others."""
        rows, labels = (made_up(each, self._size, seed) for each in (self._features, self._labels))
        middle = self._size // 2
        rows[middle] = made_up(self._features, 1, -1)[0]
        labels[middle] = made_up(self._labels, 1, -1)[0]
        try:
            found = self._gradients(rows, labels, np.arange(self._size))
        except ConfigError:
            raise
        except Exception as error:  # vmap raises whatever a model's operation does
            raise NotImplementedError(f"torch.func.vmap does not take the model: {error}") from None
        gradient: Array = np.concatenate(found, axis=1)[middle]
        return gradient


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def made_up(like: Tensor, count: int, seed: int) -> Tensor:
    """Return rows of no one in the form of others: seeded normal numbers, or zeros for integers."""
    shape = (count, *like.shape[1:])
    if like.is_floating_point():
        draw = torch.Generator().manual_seed(seed)
        return torch.randn(shape, generator=draw, dtype=torch.float64).to(like.dtype)
    return torch.zeros(shape, dtype=like.dtype)  # any other could be no class or no entry
