"""Which call of a model or of its loss makes a row depend on the rows beside it.

The model runs as it is, on batches of no one's rows, and every call of torch is compared for a few
rows: first in the same batch again, then at other places of another batch. The first call that
gives them something else is named, with the layer in whose `forward` it is. This finds words for
a message; whether rows are kept apart is for `row_gradients` to check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from privfed.training.row_kernels import RowLosses, losses_of, twin
from privfed.training.rows import LabelledRows, put

_PRIMES = (11, 13, 17, 19, 23, 29, 31)  # as many rows, so that their side is known
_AGAIN = "gives the same rows something else from call to call"
_MIXES = "mixes the rows of a batch"


def what_mixes(
    model: nn.Module, row_losses: RowLosses, rows: LabelledRows, *, exactly: bool = False
) -> str | None:
    """Return what gives a row another loss in another batch: "mean in layer 'x' (Y) mixes rows".

    Args:
        model: Left unchanged.
        row_losses: Each row's loss.
        rows: Where rows of no one come from.
        exactly: Whether the last bit counts.

    Returns:
        None if nothing does.
    """
    first, *others = (_run(model, row_losses, rows, *batch) for batch in _batches(rows))
    for before, after, says in zip(repeat(first), others, (_AGAIN, _MIXES), strict=False):
        if _same(before[-1][1], after[-1][1], exactly=exactly):
            continue
        for (where, values), (there, theirs) in zip(before, after, strict=False):
            if where != there:
                return f"{where} or {there}, called by what rows hold, {says}"
            if not _same(values, theirs, exactly=exactly):
                return f"{where} {says}"
        return f"the model or its loss {says}"
    return None


def _batches(rows: LabelledRows) -> Iterator[tuple[int, Tensor, int]]:
    """Yield how many rows, the places of those looked at, and the seed of the others."""
    small, large = sorted(set(_PRIMES) - rows.sides)[:2]
    yield small, torch.tensor([2, 5, 8]), 1
    yield small, torch.tensor([2, 5, 8]), 1
    yield large, torch.tensor([9, 3, 7]), 2


class _Calls(TorchFunctionMode):
    """Every call's name, and what it gives the rows at some places."""

    def __init__(self, size: int, places: Tensor) -> None:
        super().__init__()
        self.found: list[tuple[str, list[Tensor]]] = []
        self.layers: list[str] = []
        self._size, self._places = size, places

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        parts = result if isinstance(result, tuple | list) else (result,)
        kept = [self.of_rows(part.detach()) for part in parts if _is_number(part)]
        if kept:
            name = (resolve_name(func) or getattr(func, "__name__", "a call")).rsplit(".", 1)[-1]
            where = self.layers[-1] if self.layers else "row_losses"
            self.found.append((f"{name.strip('_')} in {where}", kept))
        return result

    def of_rows(self, values: Tensor) -> Tensor:
        """Return what of `values` is those rows'; all, where no side counts rows."""
        for side, length in enumerate(values.shape):
            if length == self._size:
                return values.index_select(side, self._places)
        if values.ndim and values.shape[0] and values.shape[0] % self._size == 0:
            return values.reshape(self._size, -1)[self._places]
        return values.clone()


def _is_number(value: object) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _run(
    model: nn.Module,
    row_losses: RowLosses,
    rows: LabelledRows,
    size: int,
    places: Tensor,
    seed: int,
) -> list[tuple[str, list[Tensor]]]:
    features, labels = rows.made_up(size, seed)
    watched, their_labels = rows.made_up(len(places), -1)
    put(features, places, watched)
    put(labels, places, their_labels)
    copied, calls = twin(model), _Calls(size, places)
    for name, module in copied.named_modules():
        layer = (
            f"layer {name!r} ({type(module).__name__})"
            if name
            else f"the model ({type(module).__name__})"
        )

        def enter(*_: Any, layer: str = layer) -> None:
            calls.layers.append(layer)

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(lambda *_: calls.layers.pop() and None)
    with calls:
        losses = losses_of(row_losses, copied(features), labels)
    return [*calls.found, ("row_losses", [losses.detach()[places]])]


def _same(values: list[Tensor], others: list[Tensor], *, exactly: bool) -> bool:
    relative, absolute = (0.0, 0.0) if exactly else (1e-3, 1e-6)
    return len(values) == len(others) and all(
        one.shape == other.shape
        and torch.allclose(one, other, rtol=relative, atol=absolute, equal_nan=True)
        for one, other in zip(values, others, strict=True)
    )
