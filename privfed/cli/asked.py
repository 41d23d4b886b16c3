"""A command's options and outputs without folders, as both may be shown to others."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePath

import typer

_PATHS = frozenset({"data", "out", "schema"})


def command_line(context: typer.Context) -> str:
    """Return the command with the given options; of a path only its last part.

    It is made of what was parsed, not of the process's arguments: those may be another program's.
    """
    options = {option.name: option.opts[0] for option in context.command.params}
    words = ["privfed", str(context.info_name)]
    for name, value in context.params.items():  # in the order in which they were given
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            continue
        for each in value if isinstance(value, list | tuple) else [value]:
            words.append(options[name])
            if each is not True:  # else it is a flag
                words.append(PurePath(each).name or "." if name in _PATHS else str(each))
    return shlex.join(words)


def last_parts(path: Path) -> str:
    """Name a written file with the last part of its folder."""
    return str(PurePath(path.parent.name) / path.name)
