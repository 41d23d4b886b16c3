"""Commands and options that the pages name exist."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main
from flwr.supernode.cli import flower_supernode

import privfed.cli
import psi.cli
from tests.docs.snippets import BLOCKS, PAGES
from tests.places import ROOT

COMMANDS = {"privfed": privfed.cli.app, "psi": psi.cli.app}
SHOWN = [page for page in PAGES if page.name != "CHANGELOG.md"]  # it speaks of what was


def root(name: str) -> click.Command:
    return typer.main.get_command(COMMANDS[name])


def every(command: click.Command) -> Iterator[click.Command]:
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from every(below)


def options(command: click.Command) -> set[str]:
    return {"--help"} | {name for each in command.params for name in each.opts}


def named() -> list[tuple[str, str]]:
    """Where a page names a command, and the command, in its lines and in its blocks."""
    inline = re.compile(r"`((?:privfed|psi) [^`]*)`")
    found = [
        (page.name, " ".join(text.split()))
        for page in SHOWN
        for text in inline.findall(re.sub(r"(?ms)^```.*?^```", "", page.read_text("utf-8")))
    ]
    for block in BLOCKS:
        lines = [line for _, line in block.commands] if block.language == "console" else []
        found += [
            (block.name, line.partition("#")[0]) for line in lines if line.split()[0] in COMMANDS
        ]
    return sorted(set(found))


@pytest.mark.parametrize(("where", "text"), named())
def test_a_command_that_is_named_exists_with_its_options(where: str, text: str) -> None:
    name, *words = re.sub(r"[\[\]|]", " ", text).split()
    command = root(name)
    given = False  # a group that runs by itself takes options, and no subcommand after them
    for word in words:
        below = getattr(command, "commands", None)
        given = given or word.startswith("-")
        if below and not given and word != "…":
            assert word in below, (where, text)
            command = below[word]
        elif word.startswith("--"):
            assert word.partition("=")[0] in options(command), (where, text, word)


def test_options_that_stand_alone_are_some_command_s() -> None:
    known = set().union(*(options(each) for name in COMMANDS for each in every(root(name))))
    known |= set(re.findall(r'"(--[a-z-]+)"', Path(inspect.getfile(flower_supernode)).read_text()))
    for page in SHOWN:
        for text in re.findall(r"`(--[a-z][^`]*)`", page.read_text("utf-8")):
            for word in re.findall(r"--[a-z][a-z0-9-]*", text):
                assert word in known, (page.name, text)


def test_targets_of_make_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in SHOWN:
        text = page.read_text("utf-8")
        for words in re.findall(r"(?:^|`)make ([a-z][a-z -]*)", text, re.MULTILINE):
            assert set(words.split()) <= targets, (page.name, words)
