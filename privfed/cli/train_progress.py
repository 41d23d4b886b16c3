"""How far a training is, on a screen: a bar of rounds, and lines above it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def tell(line: str) -> None:
    """Print a remark; a bar that is there stays below it."""
    print(f"privfed: {line}", file=sys.stderr, flush=True)


class RoundsBar:
    """The bar.

    Args:
        bar: On which it is drawn.
        rounds: How many there are.
        done: How many are finished.
    """

    def __init__(self, bar: Progress, rounds: int, done: int) -> None:
        self._bar, self._rounds, self._done = bar, rounds, done
        self._task = bar.add_task("training", total=rounds, completed=done)

    @property
    def is_full(self) -> bool:
        """Whether all rounds are finished."""
        return self._done == self._rounds

    def finished(self, rounds: int) -> None:
        """Say how many rounds are finished."""
        self._done = rounds
        self._bar.update(self._task, completed=rounds)

    def tell(self, line: str) -> None:
        """Print a remark above the bar."""
        if self.is_full and line.startswith("waiting for "):
            line += ": all rounds are finished here, and Ctrl-C ends this and loses nothing"
        tell(line)


@contextmanager
def rounds_bar(rounds: int, done: int) -> Iterator[RoundsBar]:
    """Show the bar while the block runs, on standard error.

    Args:
        rounds: How many there are.
        done: How many are finished already.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *columns, TextColumn("rounds,"), TimeRemainingColumn(), TextColumn("left"),
        console=Console(stderr=True),
    ) as bar:  # fmt: skip
        yield RoundsBar(bar, rounds, done)
