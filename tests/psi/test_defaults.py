"""A command's defaults are those of the library."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from typer.main import get_command

import psi
from psi.cli import app
from psi.network import connect, create_identity, gather, join, listen, meet, serve
from psi.network.greeting import is_healthy
from psi.sessions import GroupChoice, PairChoice, TableSession

SESSION = (TableSession.prepare, PairChoice)
CALLED: dict[str, tuple[Callable[..., Any], ...]] = {  # what each command calls
    "align": (psi.align,),
    "answer": (serve,),
    "health": (is_healthy,),
    "join": (join, *SESSION),
    "keygen": (create_identity,),
    "publish": (psi.TagStore.create,),
    "serve": (serve, *SESSION),
    "together": (meet, TableSession.prepare, GroupChoice),
}
NAMES = {"wait": "wait_seconds", "timeout": "timeout_seconds"}  # of options, in the library


def defaults(called: Callable[..., Any]) -> dict[str, Any]:
    """What a function, or a class, takes where nothing is given."""
    found = inspect.signature(called).parameters.values()
    return {one.name: one.default for one in found if one.default is not one.empty}


def test_every_command_is_here() -> None:
    assert CALLED.keys() == get_command(app).commands.keys()  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", CALLED)
def test_a_command_asks_what_the_library_asks(command: str) -> None:
    options = get_command(app).commands[command].params  # type: ignore[attr-defined]
    asked = {NAMES.get(option.name, option.name): option.default for option in options}
    wanted = [each for called in CALLED[command] for each in defaults(called).items()]
    compared = {(name, asked[name], value) for name, value in wanted if asked.get(name) is not None}
    assert compared
    assert {each for each in compared if each[1] != each[2]} == set()


def test_connections_wait_as_long_as_single_conversations() -> None:
    for one, other in ((listen, serve), (connect, join), (gather, meet)):
        assert defaults(one)["wait_seconds"] == defaults(other)["wait_seconds"]
