"""How far a benchmark is: a bar on a screen, and in a log a line every half minute."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from privfed.cli.train_progress import tell
from privfed.report.words import count, duration

if TYPE_CHECKING:
    from privfed.experiment import Forecast, Job

LINE_SECONDS = 30.0
_DRAWN_SECONDS = 0.2
_TRUSTED_SECONDS = 20.0  # of work, as expected, that weigh as much as the forecast itself


class Pace:
    """What is done of what, and how long the rest will take.

    The forecast is believed at first, and then more and more what is seen.

    Args:
        stage: What goes on, for people.
        clock: Gives seconds.

    Attributes:
        stage: What goes on now.
    """

    def __init__(self, stage: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.stage = stage
        self._clock = clock
        self._rounds: dict[str, int] = {}  # of each run that is to be done, by title
        self._seconds: dict[str, float] = {}  # of a round of it, as expected
        self._done = Counter[str]()
        self._expected = self._start = 0.0

    def expect(
        self, expected: Forecast, jobs: Sequence[Job], *, later_seconds: float = 0.0
    ) -> None:
        """Begin with the runs that are left, and what comes after them."""
        run_seconds = expected.run_seconds
        self._rounds = {job.title: job.rounds for job in jobs if job.title in run_seconds}
        share = expected.seconds / (sum(run_seconds.values()) or 1.0)  # workers run side by side
        self._seconds = {
            title: share * run_seconds[title] / rounds for title, rounds in self._rounds.items()
        }
        self._expected = expected.seconds + later_seconds
        self._start = self._clock()

    def advance(self, title: str, rounds: int) -> None:
        """Count rounds of a run; of one that was kept there is nothing to count."""
        if title in self._rounds:
            self.stage = title
            self._done[title] += rounds

    @property
    def rounds(self) -> tuple[int, int]:
        """How many rounds are done, and of how many."""
        return self._done.total(), sum(self._rounds.values())

    @property
    def left_seconds(self) -> float | None:
        """How long the rest will take; None before anything is expected."""
        if not self._rounds:
            return None
        done = sum(count * self._seconds[title] for title, count in self._done.items())
        elapsed = self._clock() - self._start
        pace = (elapsed + _TRUSTED_SECONDS) / (done + _TRUSTED_SECONDS)
        return max(0.0, self._expected - done) * pace

    def line(self) -> str:
        """Return it all in a line."""
        left = self.left_seconds
        if left is None:
            return self.stage
        finished = sum(self._done[title] >= rounds for title, rounds in self._rounds.items())
        done, rounds = self.rounds
        return (
            f"{finished} of {count(len(self._rounds), 'run')} done, {done:,} of {rounds:,} rounds; "
            f"now {self.stage}; about {duration(left)} left"
        )


def _half_a_minute(ended: threading.Event) -> bool:
    return ended.wait(LINE_SECONDS)


@contextmanager
def shown(pace: Pace, wait: Callable[[threading.Event], bool] = _half_a_minute) -> Iterator[None]:
    """Show, on standard error, how far it is while the block runs.

    Args:
        pace: How far it is.
        wait: In a log, waits for the next line; returns whether the end came meanwhile.
    """
    aside = Console(stderr=True)
    if not aside.is_interactive:  # in a log even an erased bar leaves an empty line
        with _meanwhile(wait, lambda: tell(pace.line())):
            yield
        return
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("rounds"), TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    with Progress(*columns, console=aside, transient=True) as bar:
        task = bar.add_task(pace.stage, total=None, left="")

        def draw() -> None:
            done, rounds = pace.rounds
            left = pace.left_seconds
            bar.update(
                task,
                description=pace.stage,
                completed=done,
                total=rounds or None,
                left="" if left is None else f"about {duration(left)} left",
            )

        with _meanwhile(lambda ended: ended.wait(_DRAWN_SECONDS), draw):
            yield


@contextmanager
def _meanwhile(wait: Callable[[threading.Event], bool], say: Callable[[], None]) -> Iterator[None]:
    """Say something after each wait while the block runs."""
    ended = threading.Event()

    def say_on() -> None:
        while not wait(ended):
            say()

    teller = threading.Thread(target=say_on, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
