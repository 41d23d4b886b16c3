"""Where a company's training breaks off: a process that kills itself, or a thread that raises.

    python -m tests.vertical.breaks PLACE ROLE ARGUMENT...

is `privfed ARGUMENT...`, which ends at that place by SIGKILL: nothing of it cleans up.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from privfed.vertical.halves import Half
from privfed.vertical.linear.state import TrainingState
from privfed.vertical.unfinished import Unfinished

PLACES = ("begun", "iteration 3", "trained", "counted", "written", "heard")
OF_TREES = ("begun", "tree 2", "counted", "written", "heard")


class BrokenOffError(BaseException):
    """Ends a company's thread as a kill ends its process, as far as files go."""


def broken_off(patch: pytest.MonkeyPatch, place: str, role: str, end: Callable[[], None]) -> None:
    """Let a company end at a place: just after what is named was written, or before it is removed.

    Args:
        patch: Undoes it.
        place: One of `PLACES`, or `OF_TREES`.
        role: Whose end it is.
        end: Ends it.
    """

    def mine(one: Any) -> bool:
        return bool(role == (one.role if isinstance(one, Half) else one.beginning.brought.role))

    def reached(one: Unfinished[Any, Any]) -> int:
        """How many iterations there are, or trees."""
        state = one.state
        done = state.iterations[-1] if isinstance(state, TrainingState) else state.grown
        return int(done)

    def after(kind: type, name: str, here: Callable[[Any], bool]) -> None:
        original = getattr(kind, name)

        def changed(one: Any, *arguments: Any) -> None:
            original(one, *arguments)
            if mine(one) and here(one):
                end()

        patch.setattr(kind, name, changed)

    if place == "begun":
        after(Unfinished, "keep", lambda one: reached(one) == 0)
    elif place in ("iteration 3", "tree 2"):
        after(Unfinished, "keep", lambda one: reached(one) == int(place[-1]))
    elif place == "trained":  # coefficients stay shared: the state after the last iteration
        after(Unfinished, "keep", lambda one: reached(one) == one.beginning.plan.iterations)
    elif place == "counted":
        after(Unfinished, "count", lambda one: True)
    elif place == "written":
        after(Half, "save", lambda one: True)
    else:
        removes = Unfinished.remove

        def changed(one: Unfinished[Any, Any]) -> None:
            if mine(one):
                end()
            removes(one)

        patch.setattr(Unfinished, "remove", changed)


def main() -> None:
    from privfed.cli import main as privfed

    place, role, *arguments = sys.argv[1:]
    with pytest.MonkeyPatch.context() as patch:
        broken_off(patch, place, role, lambda: os.kill(os.getpid(), signal.SIGKILL))
        sys.argv = ["privfed", *arguments]
        privfed()


if __name__ == "__main__":
    main()
