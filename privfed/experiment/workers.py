"""Runs that are left, in this process or in worker processes that stay alive.

Each run is saved by the process that made it, before anybody is told: whatever ends then, it is
kept. Workers are started anew, not forked, and have one thread each, as this process has for runs
of its own: so figures do not depend on where a run was made.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import signal
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import connection, get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NoReturn, cast

from privfed.errors import PrivFedError, WorkerDiedError
from privfed.experiment.partitioned import Job, PartitionedData
from privfed.experiment.results import Run
from privfed.experiment.store import RunStore
from privfed.training import one_thread

Advance = Callable[[str, int], None]
"""Called with what runs and how many more rounds of it are done."""

_END_SECONDS = 5.0  # a worker that is told to end removes what it is writing; then it is killed


@dataclass(frozen=True)
class Task:
    """One run to do: on which rows, and all that its outcome depends on."""

    data: PartitionedData
    job: Job
    key: dict[str, Any]

    def run(self, store: RunStore, directory: Path, advance: Advance) -> Run:
        """Run it, and keep what it made."""
        title = self.job.title
        run = self.data.run(self.job, directory, functools.partial(advance, title))
        store.save(self.key, run)
        return run


def finish(
    tasks: Mapping[int, Task], store: RunStore, directory: Path, advance: Advance, workers: int
) -> dict[int, Run]:
    """Return the run of each task, by its number.

    Args:
        tasks: What to run; with one worker in this order.
        store: Where a run is kept as soon as it has finished.
        directory: Where models are saved.
        advance: Called with the progress, in this process.
        workers: How many processes; 1: this one.

    Raises:
        ConfigError: A run cannot be made or kept.
        WorkerDiedError: A worker ended before its run.
    """
    if workers == 1 or len(tasks) < 2:
        with one_thread():
            return {number: task.run(store, directory, advance) for number, task in tasks.items()}
    left, runs = deque(tasks), dict[int, Run]()
    with _started(min(workers, len(tasks))) as team:
        work = pickle.dumps((dict(tasks), store, directory))
        for worker in team:
            worker.send(work)
            worker.take(left)
        del work  # as large as the data
        while busy := {worker.pipe: worker for worker in team if worker.number is not None}:
            for pipe in connection.wait(list(busy)):
                worker = busy[cast(Connection, pipe)]
                kind, *said = worker.hear(tasks[cast(int, worker.number)].job.title)
                if kind == "advance":
                    advance(*said)
                elif kind == "warning":
                    warnings.warn(said[0], said[1], stacklevel=2)
                elif kind == "failed":
                    raise said[0]
                else:
                    runs[said[0]] = said[1]
                    worker.take(left)
    return runs


class _Worker:
    """This side of a worker process."""

    def __init__(self, process: SpawnProcess, pipe: Connection) -> None:
        self.process, self.pipe = process, pipe
        self.number: int | None = None  # of the task that it has

    def take(self, left: deque[int]) -> None:
        """Hand it the next task, if there is one."""
        self.number = left.popleft() if left else None
        if self.number is not None:
            self.send(pickle.dumps(self.number))

    def send(self, pickled: bytes) -> None:
        """Say something; that it died meanwhile `hear` tells."""
        with contextlib.suppress(OSError):
            self.pipe.send_bytes(pickled)

    def hear(self, doing: str) -> tuple[Any, ...]:
        """Return what it says next, when it is doing that."""
        try:
            said: tuple[Any, ...] = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(_END_SECONDS)
            raise WorkerDiedError(
                f"{doing}: the worker process that ran it "
                f"{_ending(self.process.exitcode)}: what had finished is kept, so call again in "
                "the same way, with fewer `workers` if memory ran out"
            ) from None
        return said


def _ending(status: int | None) -> str:
    if status is None or status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
    memory = ", as where memory runs out" if name == "SIGKILL" else ""
    return f"was ended by {name}{memory}"


@contextlib.contextmanager
def _started(count: int) -> Iterator[list[_Worker]]:
    """Start workers, and end them whatever happens."""
    context = get_context("spawn")
    team: list[_Worker] = []
    resource_tracker.ensure_running()  # it would let interrupts through to the workers
    try:
        with _no_interrupts():
            for _ in range(count):
                here, there = context.Pipe()
                process = context.Process(target=_work, args=(there,), daemon=True)
                team.append(_Worker(process, here))
                process.start()
                there.close()
        yield team
    finally:
        with _no_interrupts():  # a second Ctrl-C must leave no worker behind
            for worker in team:
                worker.pipe.close()
                if worker.process.pid is not None:
                    worker.process.terminate()
            for worker in team:
                if worker.process.pid is not None:
                    worker.process.join(_END_SECONDS)
                    worker.process.kill()
                    worker.process.join()


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Hold back Ctrl-C; a process that is started inside never hears of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection) -> None:
    """Be a worker: run the tasks whose numbers come, until nobody sends any."""
    signal.signal(signal.SIGTERM, _leave)
    warnings.showwarning = lambda message, category, *place: pipe.send(
        ("warning", str(message), category)
    )

    def advance(title: str, rounds: int) -> None:
        pipe.send(("advance", title, rounds))

    gone = EOFError, BrokenPipeError, ConnectionResetError  # the other side
    with contextlib.suppress(*gone), one_thread():
        tasks, store, directory = pipe.recv()
        while True:
            number = pipe.recv()
            try:
                pipe.send(("done", number, tasks[number].run(store, directory, advance)))
            except PrivFedError as error:
                pipe.send(("failed", error))


def _leave(number: int, frame: object) -> NoReturn:
    sys.exit(0)
