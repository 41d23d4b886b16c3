"""What the library names in backticks is an option or a command to who types, and there is one."""

from __future__ import annotations

import re
from typing import Any

import pytest
from typer.main import get_command

import privfed.data
import privfed.experiment
import privfed.secagg
from privfed.cli import app
from privfed.cli.words import COMMANDS, OPTIONS, in_command_words
from tests.places import ROOT


def every_option() -> set[str]:
    found, left = set(), [get_command(app)]
    while left:
        command = left.pop()
        found |= {word for option in command.params for word in option.opts}
        left += getattr(command, "commands", {}).values()
    return found


def test_every_option_and_command_is_one() -> None:
    assert set(OPTIONS.values()) <= every_option()
    for words in COMMANDS.values():
        command: Any = get_command(app)
        for word in words.split()[1:]:
            command = command.commands[word]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_function_that_a_command_stands_for_is_public(name: str) -> None:
    rooms = (privfed.data, privfed.experiment, privfed.secagg)
    owner, _, method = name.partition(".")
    [room] = [room for room in rooms if owner in room.__all__]
    assert callable(getattr(getattr(room, owner), method) if method else getattr(room, owner))


def test_every_parameter_is_named_by_some_error() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for room in (ROOT / "privfed", ROOT / "psi" / "storage")
        for path in room.rglob("*.py")
        if "cli" not in path.parts
    ]
    named = set(re.findall(r"`([A-Za-z_.]+)`", "".join(sources)))
    assert {*OPTIONS, *COMMANDS} - named <= {"parties", "private_rounds", "private_steps", "rounds"}


def test_words() -> None:
    assert in_command_words("`splits` and `arms` need a name") == "--split and --arms need a name"
    assert in_command_words("write it again with `run_benchmark`") == (
        "write it again with `privfed benchmark`"
    )
    assert in_command_words("column `price` and `x.y` are nobody's") == (
        "column `price` and `x.y` are nobody's"
    )
