"""Which models are stacks of linear layers and ReLUs, whose clipped sums have a closed form."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from privfed.training.exact_stack import Shape
from privfed.training.rows import Inputs

_DROPOUTS = (nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout)
_NOTHING = (nn.Identity, *_DROPOUTS)  # dropout is off, see privfed.training.clipping
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)


def linear_stack(model: nn.Module, features: Inputs) -> Shape | None:
    """Return the layers of `model` if the closed form is its gradient on `features` (n, …).

    That is: `nn.Sequential`, nested or not, of exactly the layers known here, applied to vectors;
    every parameter trained and in one place only; no hooks. Else None.
    """
    layers = list(_leaves(model))
    linear = [layer for layer in layers if type(layer) is nn.Linear]
    own = [parameter for layer in linear for parameter in layer.parameters()]
    flat = isinstance(features, Tensor) and (
        features.ndim == 2 or (bool(layers) and type(layers[0]) is nn.Flatten)
    )
    if not (
        flat
        and linear
        and all(type(layer) in (nn.Linear, nn.ReLU, nn.Flatten, *_NOTHING) for layer in layers)
        and all(_whole(layer) for layer in layers if isinstance(layer, nn.Flatten))
        and len({id(parameter) for parameter in own}) == len(own)
        and all(_plain(parameter) for parameter in own)
        and len({parameter.dtype for parameter in own}) == 1
        and not any(map(_altered, model.modules()))
        and not any(getattr(torch_module, f"_global{hooks}") for hooks in _HOOKS)
        and all(a.out_features == b.in_features for a, b in pairwise(linear))
    ):
        return None
    steps = [layer for layer in layers if type(layer) in (nn.Linear, nn.ReLU)]
    if type(steps[0]) is nn.ReLU:
        return None  # before the first linear layer: nobody builds that
    relus = [after is not None and type(after) is nn.ReLU for after in _after(steps)]
    return Shape(
        (linear[0].in_features, *(layer.out_features for layer in linear)),
        tuple(layer.bias is not None for layer in linear),
        tuple(relus),
    )


def _after(steps: list[nn.Module]) -> Iterator[nn.Module | None]:
    """Yield what comes right after each linear layer."""
    for step, after in zip(steps, [*steps[1:], None], strict=True):
        if type(step) is nn.Linear:
            yield after


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for child in module:
            yield from _leaves(child)
    else:
        yield module


def _whole(flatten: nn.Flatten) -> bool:
    return flatten.start_dim == 1 and flatten.end_dim == -1


def _plain(parameter: nn.Parameter) -> bool:
    return (
        parameter.requires_grad
        and parameter.is_floating_point()
        and parameter.device.type == "cpu"
        and not parameter._backward_hooks  # noqa: SLF001  (torch has no other way to ask)
    )


def _altered(module: nn.Module) -> bool:
    """Return whether a call of `module` does more than its class does."""
    return "forward" in vars(module) or any(getattr(module, hooks) for hooks in _HOOKS)
