"""What is typed for one option, checked before anything is read or made."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import typer

_ADDRESS = re.compile(r"[\w.-]{1,240}:(\d{1,5})|\[[\w:.]{1,240}\]:(\d{1,5})|:(\d{1,5})")
_MOST_PORT = 65535


def one_of(*choices: str) -> Callable[[str | None], str | None]:
    """Return the check of an option that takes one of a few words."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise typer.BadParameter(f"{value} is none of {', '.join(choices)}")
        return value

    return check


def above_zero(value: float | None) -> float | None:
    """Check a number that is finite and above 0."""
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"{value:g} is no number above 0")
    return value


def host_port(value: str | None) -> str | None:
    """Check an address that others connect to."""
    return value if value is None else _address(value, 1)


def host_port_here(value: str | None) -> str | None:
    """Check an address to listen on; port 0 takes a free one."""
    return value if value is None else _address(value, 0)


def _address(value: str, least: int) -> str:
    found = _ADDRESS.fullmatch(value)
    port = next(filter(None, found.groups()), "") if found else ""
    if not port or not least <= int(port) <= _MOST_PORT:
        raise typer.BadParameter(
            f"{value} is no HOST:PORT, such as partner.example:7790, with a port from {least} "
            f"to {_MOST_PORT}"
        )
    return value


def byte_count(value: str) -> int:
    """Return a size in bytes, as 500MB or 2GB, in decimal units."""
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,3})?) ?([kMGT]?)B?", value)
    if not found:
        raise typer.BadParameter(f"{value} is no size: give it as 500MB or 2GB")
    return int(float(found[1]) * 1000 ** ["", *"kMGT"].index(found[2]))


def part_name(value: str) -> str:
    """Check a name that stands in files and on screens."""
    if not re.fullmatch(r"[\w.-]{1,60}", value):
        raise typer.BadParameter(f"{value!r} is no name: give letters, digits, '.', '_' and '-'")
    return value
