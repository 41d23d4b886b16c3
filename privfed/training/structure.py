"""What of a model decides how its rows' gradients are computed, so that a change is noticed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

_PLAIN = (bool, int, float, str, bytes, torch.device, torch.Size)  # compared by value


def structure(model: nn.Module) -> list[object]:
    """Return the parts of a model as they are now: layers, parameters, hooks and attributes.

    The values of weights are none of them. What an attribute of some other class keeps inside is
    not looked into.
    """
    found: list[object] = []
    for module in model.modules():
        found += [module, type(module), *_parts(vars(module), set())]
    for name, value in vars(torch_module).items():
        if name.startswith("_global_"):  # hooks of all modules
            found += _parts(value, set())
    return found


def same_structure(one: Sequence[object], other: Sequence[object]) -> bool:
    """Return whether a model is still what it was."""
    return len(one) == len(other) and all(map(_same, one, other))


def _parts(value: object, above: set[int]) -> Iterator[object]:
    yield value
    if isinstance(value, Tensor):
        lazy = nn.parameter.is_lazy(value)
        yield from (value.requires_grad, value.dtype, value.device, None if lazy else value.shape)
        yield from _parts(value._backward_hooks, above)  # noqa: SLF001  (torch has no other way to ask)
        yield from _parts(getattr(value, "_post_accumulate_grad_hooks", None), above)
    if not isinstance(value, Mapping | list | tuple | Set) or id(value) in above:
        return
    yield len(value)
    parts = (*value, *value.values()) if isinstance(value, Mapping) else value
    for each in parts:
        yield from _parts(each, above | {id(value)})


def _same(one: object, other: object) -> bool:
    return one is other or (type(one) is type(other) and isinstance(one, _PLAIN) and one == other)
