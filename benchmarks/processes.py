"""Processes that bear a mark in their environment: what they cost, and their end.

Whatever a marked process starts is marked, too, in whatever session it is.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cpu_seconds", "end_marked", "marked"]

END_SECONDS = 10  # to end when asked
LOOK_SECONDS = 0.1
_TICKS = os.sysconf("SC_CLK_TCK")


def marked(name: str, value: str) -> Iterator[int]:
    """Yield every living process but the caller whose environment has this.

    Args:
        name: A variable.
        value: What it is set to.

    Yields:
        The process's number.
    """
    mark = f"{name}={value}".encode()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):  # it ended meanwhile, or is somebody else's
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)


def cpu_seconds(name: str, value: str) -> float:
    """Return what the caller and all who bear the mark used so far, and those who ended before.

    Who ended is counted once its parent has asked for how it ended.

    Args:
        name: A variable.
        value: What it is set to.
    """
    ticks = 0
    for process in (os.getpid(), *marked(name, value)):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{process}/stat").read_text()
            ticks += sum(map(int, status.rpartition(")")[2].split()[11:15]))  # proc(5): 14 to 17
    return ticks / _TICKS


def end_marked(name: str, value: str) -> None:
    """End all who bear the mark: they are asked, and killed if they take too long.

    Args:
        name: A variable.
        value: What it is set to.
    """
    until = time.monotonic() + END_SECONDS
    asked = set[int]()
    while left := set(marked(name, value)):
        late = time.monotonic() > until
        for process in left if late else left - asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL if late else signal.SIGTERM)
        asked |= left
        time.sleep(LOOK_SECONDS)
