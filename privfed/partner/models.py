"""What a model needs before parties average its weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
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


def check_scores(model: nn.Module, features: int, classes: int) -> None:
    """Check that a model gives one score a row and class, on rows that are made up.

    Raises:
        ConfigError: It does not.
    """
    model.eval()
    try:
        with torch.inference_mode():
            shape = list(model(torch.zeros(2, features)).shape)
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(
            f"the model does not take rows of {features} features: {type(error).__name__}"
        ) from None
    finally:
        model.train()
    if shape != [2, classes]:
        raise ConfigError(
            f"of 2 rows of {features} features the model makes {shape}: it must give one score a "
            f"row and class, [2, {classes}]"
        )
