"""A command at a terminal, at which somebody types what it asks for."""

import os
import pty
import select
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.waiting import LONG_SECONDS

__all__ = ["Shown", "at_terminal"]


class Shown(NamedTuple):
    """How a command ended, all that the terminal showed, and how often something was typed."""

    status: int
    text: str
    asked: int


def at_terminal(
    command: Sequence[str], answers: Iterable[str], *, folder: Path, environment: Mapping[str, str]
) -> Shown:
    """Run a command.

    Args:
        command: What to run.
        answers: What to type, a line at each prompt: at what ends in a colon and a space.
        folder: Where to run it.
        environment: Its whole environment.
    """
    ours, its = pty.openpty()
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=its, stdout=its, stderr=its,
            start_new_session=True,
        )  # fmt: skip
        os.close(its)
        try:
            shown, asked, typing = b"", 0, iter(answers)
            while select.select([terminal], [], [], LONG_SECONDS)[0]:
                try:
                    read = terminal.read(1 << 16)
                except OSError:  # how Linux says that nobody has the other end any more
                    break
                if not read:
                    break
                shown += read
                if shown.endswith(b": ") and (line := next(typing, None)) is not None:
                    terminal.write(line.encode() + b"\n")
                    asked += 1
            status = process.wait(LONG_SECONDS)
        finally:
            process.kill()
            process.wait()
    return Shown(status, shown.decode().replace("\r\n", "\n"), asked)
