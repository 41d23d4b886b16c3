"""Every call of the operating system that a change makes, as the place where it is cut."""

import contextlib
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from privfed.errors import ConfigError

Cut = Callable[[Callable[[], object], int], bool]
Before = TypeVar("Before")
STEPS = ("open", "fsync", "link", "unlink", "replace", "mkdir")  # what changes names or syncs
NONE_LEFT = -1


class Steps:
    """The calls of the operating system that one change makes, to be cut at one of them."""

    def __init__(self, at: int, cut: Callable[[], None]) -> None:
        self._at, self._cut = at, cut
        self.left = at

    def __enter__(self) -> Self:
        self._real = {name: getattr(os, name) for name in STEPS}
        for name in STEPS:
            setattr(os, name, self._counted(name))
        return self

    def __exit__(self, *_: object) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def _counted(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            self.left -= 1
            if self.left == NONE_LEFT:
                if name == "fsync" and os.fstat(arguments[0]).st_size:
                    with contextlib.suppress(OSError):  # what was not synced may be lost
                        os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
                self._cut()
            return self._real[name](*arguments, **more)

        return call


def killed(act: Callable[[], object], at: int) -> bool:
    """Run `act` in a child that is killed before its step `at`; return whether it was."""
    child = os.fork()
    if child == 0:
        try:
            with Steps(at, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                act()
            os._exit(0)
        finally:
            os._exit(1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, -signal.SIGKILL)
    return ended != 0


def refused(act: Callable[[], object], at: int) -> bool:
    """Run `act` with step `at` failing; return whether that step was reached."""

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Steps(at, full) as steps, contextlib.suppress(ConfigError):
        act()
    return steps.left <= NONE_LEFT


def stepped(
    cut: Cut,
    prepare: Callable[[Path], tuple[Callable[[], object], Before]],
    check: Callable[[Path, Before], object],
    folder: Path,
    least: int = 9,
) -> None:
    """Cut a change at each of its steps in turn, until it has fewer."""
    for at in range(200):
        act, before = prepare(folder / str(at))
        reached = cut(act, at)
        check(folder / str(at), before)
        if not reached:
            assert at >= least  # the change has steps, and each was cut
            return
    raise AssertionError("the change never ends")
