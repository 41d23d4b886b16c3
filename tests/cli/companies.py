"""Two companies as commands: how they are called, and how they meet."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

_PRIVFED = (sys.executable, "-m", "privfed", "vertical")
_KILLED = (sys.executable, "-m", "tests.vertical.breaks")

Arguments = list[str | Path]


def run(*arguments: str | Path, fails: bool = False) -> str:
    done = subprocess.run([*_PRIVFED, *map(str, arguments)], capture_output=True, text=True)
    assert (done.returncode == 2) == fails, done.stderr
    return done.stderr if fails else done.stdout


def together(guest: Arguments, host: Arguments) -> None:
    answering = subprocess.Popen([*_PRIVFED, *map(str, host)], stderr=subprocess.PIPE, text=True)
    try:
        run(*guest)
    finally:
        if sys.exc_info()[0] is not None:
            answering.kill()
        said = answering.communicate()[1]
        print(said)  # where the guest's error was only that the host is gone
    assert answering.returncode == 0, said


def lines_of(place: Path) -> dict[str, Arguments]:
    """How each company reaches the other, on a port that is free."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    return {
        name: ["--identity", place / name, "--peer", place / f"{other}.crt", way, address]
        for name, other, way in (("bank", "shop", "--connect"), ("shop", "bank", "--listen"))
    }


def training(place: Path, out: Path, *choice: str) -> tuple[Arguments, Arguments]:
    """The commands of guest and host."""
    lines = lines_of(place)
    return (
        ["guest", place / "bank.csv", "--id", "id", "--label", "late", "--out", out / "bank",
         *lines["bank"], *choice],
        ["host", place / "shop.csv", "--id", "id", "--out", out / "shop", *lines["shop"], *choice],
    )  # fmt: skip


def killed(place: str, commands: tuple[Arguments, Arguments]) -> list[str]:
    """Run the commands of guest and host, whose process ends at a place; return what they said."""
    processes = [
        subprocess.Popen(
            [*_KILLED, place, "host", "vertical", *map(str, command)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    said = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [2, -signal.SIGKILL]
    return said
