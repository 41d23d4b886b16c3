"""Chooses how a model's per-row gradients are computed, and says where it cannot be the fast way.

`torch.func.vmap` where it takes the model, else Opacus's hooks, else each row alone, which takes
every model and is slow. Each way is checked on rows of no one before a row of somebody's is read:
a model that mixes rows is refused, kernels that round a row by others lead to the next slower way.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from torch import Tensor, nn

from privfed.errors import ConfigError, PrivacyWarning
from privfed.training.mixing import what_mixes
from privfed.training.row_kernels import (
    AloneRows,
    HookRows,
    RowKernel,
    RowLosses,
    VmapRows,
    check_apart,
    elsewhere,
    first_line,
    losses_of,
    twin,
)
from privfed.training.row_tiles import (
    PlacesError,
    RoundingError,
    RowsMixError,
    RowTiles,
    settled,
    tile_rows,
)
from privfed.training.rows import LabelledRows, columnwise, picked, wide

_BY_ITSELF = "use layers and losses that take each row by itself, such as GroupNorm"
_OTHERS = "torch's kernels round a row of this model by what other rows hold"
_SLOWER = "each row is computed alone, which is slower"


_NOT_TAKEN = (
    "the model or its loss does not take a row made up for a check ({}): see whether it takes rows "
    "of this form, or give public_rows, rows of no one that it takes"
)
_TRIED = 8  # rows
KernelOf = Callable[[nn.Module, RowLosses], RowKernel]


@dataclass(frozen=True)
class RowWise:
    """A model, each row's loss, and rows of its kind.

    Attributes:
        model: Left unchanged.
        row_losses: Each row's loss.
        rows: None of them is read before a batch has them.
        sizes: How many values each trained parameter has.
    """

    model: nn.Module
    row_losses: RowLosses
    rows: LabelledRows
    sizes: Sequence[int]

    @settled()
    def gradients(self, expected: float, *, strict: bool) -> tuple[str, RowTiles]:
        """Return the name of a way that takes the model, and the rows' gradients by it.

        Args:
            expected: About how many rows a batch has; public.
            strict: Whether to take no way in which others than a row itself could be seen in it.

        Raises:
            ConfigError: The model or its loss mixes rows; names what does.
        """
        size = tile_rows(expected, max(sum(self.sizes), self.rows.values))
        try:
            tiles = self._checked(VmapRows, size, strict=strict)
        except RoundingError:
            _say(f"{_OTHERS}: {_SLOWER}")
        except ConfigError:
            raise
        except Exception as error:  # vmap raises whatever a model's operation does
            reason = f"torch.func.vmap does not take the model ({first_line(error)})"
            if not strict:
                hooks = self._by_hooks(size)
                if isinstance(hooks, RowTiles):
                    return "opacus", hooks
                reason += f", and {hooks}"
            _say(f"{reason}: {_SLOWER}")
        else:
            if found := self._what_mixes():
                _say(f"{found}, but here every row is as if alone in its batch: {_BY_ITSELF}")
            return "vmap", tiles
        try:
            alone = self._checked(AloneRows, 1, strict=strict)
        except RoundingError:
            raise ConfigError(
                f"{self._what_mixes(exactly=True) or 'a gradient'} rounds a row by what was "
                "computed before: use other layers, or another number type"
            ) from None
        except ConfigError:
            raise
        except Exception as error:  # whatever the model raises
            raise ConfigError(_NOT_TAKEN.format(first_line(error))) from None
        return "row by row", alone

    def _by_hooks(self, size: int) -> RowTiles | str:
        """Return tiles, or why there are none."""
        if not self.rows.differ:
            return (
                "made-up rows of integers would be all alike for Opacus's hooks: give public_rows"
            )
        try:
            return self._checked(HookRows, size, strict=False)
        except RoundingError:
            return _OTHERS
        except ConfigError:
            raise
        except Exception as error:  # whatever Opacus does
            return f"Opacus's hooks do not ({first_line(error)})"

    def _checked(self, kernel: KernelOf, size: int, *, strict: bool) -> RowTiles:
        """Return tiles in which a row depends on no other; strict ones where on its place.

        Raises:
            ConfigError: It does depend on others.
        """
        try:
            self._tiles(kernel, self._elsewhere, size, strict=strict).check()
        except RowsMixError:
            found = self._what_mixes() or "a gradient of the model or its loss mixes rows"
            raise ConfigError(
                f"{found}, so no row has a gradient of its own: {_BY_ITSELF}"
            ) from None
        except PlacesError:
            strict = True
        return self._tiles(kernel, self.model, size, strict=strict)

    def _tiles(self, kernel: KernelOf, model: nn.Module, size: int, *, strict: bool) -> RowTiles:
        return RowTiles(kernel(model, self.row_losses), self.rows, self.sizes, size, strict=strict)

    @cached_property
    def _elsewhere(self) -> nn.Module:
        return elsewhere(self.model)

    def _what_mixes(self, *, exactly: bool = False) -> str | None:
        try:
            return what_mixes(self._elsewhere, self.row_losses, self.rows, exactly=exactly)
        except Exception:  # the model takes a single row alone
            return None


@settled()
def try_out(model: nn.Module, row_losses: RowLosses, rows: LabelledRows) -> int | None:
    """Run the model on rows of no one, and see which can be made up for it.

    Returns:
        How many scores a row has, if they are one vector.

    Raises:
        ConfigError: It takes none of them.
    """
    for each in (model, row_losses):
        if isinstance(each, nn.Module):
            check_apart(each)
    errors: list[str] = []
    # Integers as a class or as an entry of a table; rows alone, or at least together.
    for together, below, widen in product((1, _TRIED), (2, 1), (True, False)):
        rows.ids_below = below
        try:
            scores = _run(model, row_losses, rows, together, widen=widen)
        except ConfigError:
            raise
        except Exception as error:  # whatever the model raises
            errors.append(first_line(error))
            continue
        if together > 1:
            raise ConfigError(
                f"the model or its loss takes several rows and no single one ({errors[0]}): it "
                f"mixes the rows of a batch; {_BY_ITSELF}"
            )
        return scores
    raise ConfigError(_NOT_TAKEN.format(errors[0]))


def _run(
    model: nn.Module, row_losses: RowLosses, rows: LabelledRows, together: int, *, widen: bool
) -> int | None:
    """Run some made-up rows, so many at once, and return how many scores each has."""
    features, labels = rows.made_up(_TRIED, 0)
    if widen:
        features, labels = columnwise(features, wide), wide(labels)
    counted = None
    for start in range(0, _TRIED, together):
        part = slice(start, start + together)
        scores: object = twin(model, widen=widen)(picked(features, part))
        if not isinstance(scores, Tensor):
            raise ConfigError(
                f"the model returns a {type(scores).__name__}, but row_losses take a tensor of "
                "scores: wrap the model in one that returns its scores"
            )
        losses_of(row_losses, scores, labels[part])
        counted = scores.shape[1] if scores.ndim == 2 else None
    return counted


def _say(text: str) -> None:
    warnings.warn(text, PrivacyWarning, stacklevel=5)  # who made the clipper
