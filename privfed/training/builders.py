"""A model by the name that a user gives on the command line, which alone brings code."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping

import torch
from torch import nn

from privfed.errors import ConfigError
from privfed.training.model import paper_network

DRESS = "dress"
LINEAR = "linear"
OURS: Mapping[str, Callable[[int, int], nn.Module]] = {DRESS: paper_network, LINEAR: nn.Linear}
"""The models that bring no code of a user's: the dress study's network, and one layer."""

CODE_NAME = r"^[\w.]{1,200}(:\w{1,200})?\Z"
"""What such a name looks like, as a regular expression."""


def model_builder(name: str, features: int, classes: int) -> Callable[[], nn.Module]:
    """Return what builds a model.

    Args:
        name: "dress" for the network of the dress study, "linear" for a layer alone, or
            "module:function"; the function is called with `features` and `classes` as far as it
            takes them, and returns a torch module.
        features: The width of a row.
        classes: How many classes there are.

    Returns:
        A function without arguments; torch's global generator draws the initial weights.

    Raises:
        ConfigError: There is no such function, or it returns something else.
    """
    if name in OURS:
        return lambda: OURS[name](features, classes)
    module, _, function = name.partition(":")
    try:
        build = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"there is no {name} ({error}): give {' or '.join(OURS)}, or module:function, as "
            "Python imports it from here"
        ) from None
    if not callable(build):
        raise ConfigError(f"{name} is no function: it must return a torch module")
    try:
        taken = inspect.signature(build).parameters
    except ValueError:
        raise ConfigError(f"{name} does not say what it takes: wrap it in a function") from None
    every = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken.values())
    given = {"features": features, "classes": classes}
    wanted = {key: value for key, value in given.items() if every or key in taken}

    def built() -> nn.Module:
        model = build(**wanted)
        if not isinstance(model, nn.Module):
            raise ConfigError(f"{name} returned {type(model).__name__}: it must be a torch module")
        return model

    return built


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
