"""Ways to have every row's own gradient: `torch.func.vmap`, Opacus's hooks, a row alone.

Each call is on a copy of the model, and of a loss that is a module: what a call leaves there is
seen by no other row, and is gone after it.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from privfed.errors import ConfigError
from privfed.training.rows import Inputs, columnwise, wide

RowLosses = Callable[[Tensor, Tensor], Tensor]
"""Each row's loss, (n,), from scores (n, …) and labels (n,); no row's depends on another row."""


class RowKernel(Protocol):
    """Every row's gradient, for the rows of a tile."""

    def __call__(self, features: Inputs, labels: Tensor) -> list[Tensor]:
        """Return (rows, …) for each trained parameter."""


def twin(model: nn.Module, *, widen: bool = False) -> nn.Module:
    """Return a copy of `model` in `eval()`.

    Args:
        model: Left unchanged.
        widen: Whether what is bfloat16 or float16 becomes float32.

    Raises:
        ConfigError: It cannot be copied.
    """
    copied: dict[int, object] = {}
    for parameter in model.parameters():
        values = parameter.detach().clone()
        copied[id(parameter)] = nn.Parameter(
            wide(values) if widen else values, parameter.requires_grad
        )
    for buffer in model.buffers():
        values = buffer.detach().clone()
        copied[id(buffer)] = wide(values) if widen else values
    try:
        return copy.deepcopy(model, copied).eval()
    except Exception as error:  # whatever an attribute raises
        raise ConfigError(
            f"the {type(model).__name__} cannot be copied ({first_line(error)}), and rows are "
            "computed on copies, so that none sees what another leaves there: take out what has no "
            "copy; for weight norm use torch.nn.utils.parametrizations"
        ) from None


def check_apart(model: nn.Module) -> None:
    """Refuse a model whose copies share more with it: what rows leave there would leave with it.

    A function is never copied: a hook that holds the model in its closure writes to the model.

    Raises:
        ConfigError: There is a part or a function that both share; names the layer.
    """
    copied = twin(model)
    own = {id(each) for each in (*model.modules(), *model.parameters(), *model.buffers())}
    for module in model.modules():
        own |= {id(each) for each in vars(module).values() if isinstance(each, list | dict | set)}
    for name, module in copied.named_modules():
        layer = f"layer {name!r} ({type(module).__name__})"
        parts = list(vars(module).values())
        parts += [each for part in parts if isinstance(part, dict) for each in part.values()]
        if id(module) in own or any(id(each) in own for each in parts):
            raise ConfigError(
                f"{layer} has no copy of its own, and rows are computed on copies, so that none "
                "sees what another leaves there: take out its __deepcopy__"
            )
        for each in parts:
            if any(id(value) in own for value in _captured(each)):
                raise ConfigError(
                    f"{layer} has a function ({getattr(each, '__qualname__', 'a hook')}) that "
                    "holds a part of the model, and what rows leave there would leave with the "
                    "model: make it a method, or a module of its own"
                )


def _captured(function: object) -> list[object]:
    """Return what a function holds beside its arguments."""
    found = list(getattr(function, "__defaults__", None) or ())
    for cell in getattr(function, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # nothing is in it yet
            found.append(cell.cell_contents)
    return found


def elsewhere(model: nn.Module) -> nn.Module:
    """Return a copy of `model` at other weights, near its own.

    At its own a check may be blind: behind a last layer of zeros every gradient is zero.
    """
    draw, copied = torch.Generator().manual_seed(0), twin(model)
    for parameter in trained(copied):
        noise = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        parameter.data.add_(0.1 * noise)
    return copied


def losses_of(row_losses: RowLosses, scores: Tensor, labels: Tensor) -> Tensor:
    """Return each row's loss.

    Raises:
        ConfigError: There is not one for each row.
    """
    losses = _copied(row_losses)(scores, labels)
    if losses.shape != labels.shape[:1]:
        raise ConfigError("row_losses must give one loss for each row, not their mean")
    return losses


def first_line(error: Exception) -> str:
    """Return what an error says first; for rows of no one, as it may tell of them."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _copied(row_losses: RowLosses) -> RowLosses:
    return twin(row_losses) if isinstance(row_losses, nn.Module) else row_losses


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Return what is trained, in the model's order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


class VmapRows:
    """By `torch.func.vmap`, which keeps rows apart; half types are computed in float32."""

    def __init__(self, model: nn.Module, row_losses: RowLosses) -> None:
        self._model, self._row_losses = model, row_losses

    def __call__(self, features: Inputs, labels: Tensor) -> list[Tensor]:
        """Return (rows, …) for each trained parameter."""
        model = twin(self._model, widen=True)
        names, parameters = _named(model)

        def loss(values: list[Tensor], row: Inputs, label: Tensor) -> Tensor:
            given = {name: values[number] for name, number in names.items()}
            alone = (columnwise(row, lambda column: column.unsqueeze(0)),)
            scores = functional_call(model, given, alone, tie_weights=False)
            return losses_of(self._row_losses, scores, label.unsqueeze(0))[0]

        each_row = vmap(grad(loss), in_dims=(None, 0, 0), randomness="error")
        with warnings.catch_warnings():
            # Where vmap goes row by row, it warns that this is slow.
            warnings.filterwarnings("ignore", "There is a performance drop")
            found: list[Tensor] = each_row(parameters, columnwise(features, wide), wide(labels))
        return found


def _named(model: nn.Module) -> tuple[dict[str, int], list[Tensor]]:
    """Return the trained parameters, and the number of each by every name that it has.

    Two modules may hold one parameter; a module that is used twice has its first name here, as
    `functional_call` would leave what it was given in one that it is told of twice.
    """
    own = trained(model)
    numbers = {id(parameter): number for number, parameter in enumerate(own)}
    names = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if id(parameter) in numbers:
                names[name] = numbers[id(parameter)]
    return names, [parameter.detach() for parameter in own]


class HookRows:
    """By Opacus's hooks on whole tiles (Yousefpour et al., arXiv 2109.12298).

    Raises:
        NotImplementedError: Opacus has no per-row gradients for a layer; names it.
    """

    def __init__(self, model: nn.Module, row_losses: RowLosses) -> None:
        from opacus.validators import ModuleValidator  # a second, which only hooks wait for

        for name, module in model.named_modules():
            validate = ModuleValidator.VALIDATORS.get(type(module))
            if validate is not None and trained(module) and validate(module):
                raise NotImplementedError(
                    f"layer {name!r} ({type(module).__name__}) has no per-row gradients in Opacus"
                )
        self._model, self._row_losses = model, row_losses

    def __call__(self, features: Inputs, labels: Tensor) -> list[Tensor]:
        """Return (rows, …) for each trained parameter."""
        from opacus import GradSampleModule

        model = twin(self._model)
        sampled = GradSampleModule(model, loss_reduction="sum")
        # Opacus works in training mode, and only there; what has no weights (dropout) stays out.
        for module in sampled.iterate_submodules(model):
            module.training = True
        with warnings.catch_warnings():
            # Opacus hooks the first layer, too, whose input needs no gradient: torch warns of it.
            warnings.filterwarnings("ignore", "Full backward hook is firing")
            losses = losses_of(self._row_losses, sampled(features), labels)
            own = trained(model)
            torch.autograd.grad(losses.sum(), own, allow_unused=True)
        return [_sample(parameter, len(labels)) for parameter in own]


def _sample(parameter: nn.Parameter, rows: int) -> Tensor:
    sample = getattr(parameter, "grad_sample", None)
    if sample is None:  # the scores don't depend on it
        return parameter.new_zeros((rows, parameter.numel()))
    if not isinstance(sample, Tensor) or len(sample) != rows:
        raise ConfigError(
            "the model does not carry one row of features to one row of scores: "
            "per-row gradients need the rows in the first dimension throughout"
        )
    return sample.detach()


class AloneRows:
    """By autograd, on tiles of a single row."""

    def __init__(self, model: nn.Module, row_losses: RowLosses) -> None:
        self._model, self._row_losses = model, row_losses

    def __call__(self, features: Inputs, labels: Tensor) -> list[Tensor]:
        """Return (1, …) for each trained parameter."""
        model = twin(self._model)
        (loss,) = losses_of(self._row_losses, model(features), labels)
        found = torch.autograd.grad(loss, trained(model), materialize_grads=True)
        return [gradient[None] for gradient in found]
