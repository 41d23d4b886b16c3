"""What the suites of this room share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

PRIVFED = [sys.executable, "-c", "from privfed.cli import main; main()"]


@dataclass(frozen=True)
class Done:
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str


Command = Callable[..., Done]
