"""What a model needs before parties average its weights."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from privfed.errors import ConfigError
from privfed.training import initial_model


def started(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Return the model with the weights of a seed, all of them float32 and to be trained.

    Raises:
        ConfigError: It has none, or others.
    """
    model = initial_model(build, seed)
    parameters = list(model.parameters())
    if not parameters or any(str(each.dtype) != "torch.float32" for each in parameters):
        raise ConfigError("the model needs parameters, all of them float32: convert it")
    if any(True for _ in model.buffers()):
        raise ConfigError(
            "the model has buffers, such as statistics of batch normalisation, which are not "
            "averaged: use GroupNorm or LayerNorm"
        )
    return model
