"""A command's defaults are those of the library."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from typer.main import get_command

from privfed import defaults
from privfed.cli import app
from privfed.data import load_dataset
from privfed.experiment import Settings
from privfed.secagg import Keyring
from privfed.vertical.linear.terms import LinearChoice
from privfed.vertical.training import MEMORY_BYTES
from privfed.vertical.trees.terms import OwnTrees, TreesChoice

FIELDS = {"epsilon": "epsilons", "split": "splits"}  # what an option is called in `Settings`


def options(*words: str) -> dict[str, Any]:
    """Return the defaults of a command's options, by parameter."""
    command: Any = get_command(app)
    for word in words:
        command = command.commands[word]
    return {str(option.name): option.default for option in command.params}


def parameters(function: Any) -> dict[str, Any]:
    """Return the defaults of a function's parameters."""
    return {name: each.default for name, each in inspect.signature(function).parameters.items()}


def test_a_benchmark_asks_what_settings_ask() -> None:
    settings = Settings()
    found = {FIELDS.get(name, name): value for name, value in options("benchmark").items()}
    shared = {name for name in found if hasattr(settings, name)}
    assert shared == {
        *("splits", "arms", "rounds", "private_rounds", "seeds", "epsilons", "delta", "parties"),
        *("reference", "private_model"),
    }
    assert tuple(map(float, found["epsilons"].split(","))) == tuple(settings.epsilons)
    for name in shared - {"epsilons"}:  # None: decided with other options, by the constants
        assert found[name] in (None, getattr(settings, name)), name
    assert (settings.centred, found["uncentred"]) == (True, False)
    assert settings.private_steps == defaults.STEPS_PER_PRIVATE_ROUND * settings.private_rounds


@pytest.mark.parametrize("command", ["benchmark", "audit"])
def test_commands_load_what_the_library_loads(command: str) -> None:
    asked, loaded = options(command), parameters(load_dataset)
    for name in ("data", "label", "id_column", *(["encoding"] if "encoding" in asked else [])):
        assert asked[name] in (loaded[name], [loaded[name]]), (
            name
        )  # a benchmark takes several files
    assert asked["dataset"] is None  # a table where a label is named, else
    assert loaded["dataset"] == defaults.DATASET


@pytest.mark.parametrize(
    ("command", "function"), [("identity", Keyring.create), ("certify", Keyring.certify)]
)
def test_certificates_are_valid_as_long(command: str, function: Any) -> None:
    assert options("keys", command)["days"] == parameters(function)["days"]


def test_what_a_model_takes_without_an_option_is_said_beside_it() -> None:
    """None is the option's default, so that one of the other model can be refused."""
    command: Any = get_command(app)
    played = {str(option.name): option for option in command.commands["vertical"].params}
    said = {
        **{name: getattr(LinearChoice, name) for name in ("penalty", "iterations", "coefficients")},
        **{name: getattr(TreesChoice, name) for name in ("trees", "depth", "reveal")},
        **{"bins": OwnTrees.bins, "rate": OwnTrees.learning_rate, "l2": OwnTrees.l2},
        **{"validation": OwnTrees.validation_percent, "memory": f"{MEMORY_BYTES // 10**9}GB"},
    }
    for name, default in said.items():
        assert played[name].default is None
        words = f"{default:g}" if isinstance(default, float) else str(default)
        assert played[name].help.endswith(f"; {words} without."), name
