"""A command's options and outputs: named without folders, and its folder tried before any work."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path, PurePath

import typer

from privfed.errors import ConfigError
from psi.storage import check_folder

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


def check_new_folder(out: Path, files: Sequence[str] = (), folders: Sequence[str] = ()) -> None:
    """Refuse before any work a folder that cannot be made after it; nothing is made yet.

    Args:
        out: The folder; may be there or not.
        files: What will be written in it.
        folders: Which folders will be made in it.

    Raises:
        ConfigError: It cannot be written, or something in it is in the way.
    """
    try:
        there = next(each for each in (out, *out.absolute().parents) if each.exists())
        ways = [name for name in files if (out / name).is_dir()]
        ways += [name for name in folders if (out / name).is_file()]
    except OSError as error:
        raise ConfigError(
            f"--out cannot be written ({error.strerror}): choose another folder"
        ) from None
    check_folder(there, f"--out {out}")
    if ways:
        raise ConfigError(f"{ways[0]} is in the way in --out {out}: choose another folder")
