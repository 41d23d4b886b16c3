"""What a benchmark will take: measured on a few rounds of each kind of arm, with rows of no one.

Made-up rows have the width and the classes of the real ones, and are as many up to a bound. Each
kind of arm trains on two numbers of them; a line through both says what a round of more rows takes.

Processor time is measured, which other work on the machine disturbs little: a line carries errors
far. How much longer the clock on the wall ran meanwhile says how busy the machine is.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np

from privfed.data import PartyRows
from privfed.errors import PrivacyWarning
from privfed.experiment.arms import Arm
from privfed.experiment.partitioned import Job, PartitionedData
from privfed.experiment.runner import Benchmark
from privfed.experiment.workers import Task
from privfed.training import one_thread

MEASURED_ROUNDS = 3
MEASURED_ROWS = 512
"""Training rows of a party, at most, in the second measurement; in the first half as many."""

_COPIES = 2  # of an arm's rows: each party's, and all together for the figures of training


@dataclass(frozen=True)
class ArmForecast:
    """What the runs of one arm take.

    Attributes:
        arm: The arm.
        rounds: How many each run has.
        runs: How many there are, over splits, seeds and ε.
        kept: How many of them had finished before.
        seconds: What those that are left take together, one after the other.
    """

    arm: Arm
    rounds: int
    runs: int
    kept: int
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """What a benchmark will take on this machine: an estimate, as measured here.

    Attributes:
        arms: In the order in which they run.
        workers: In how many processes.
        seconds: From now to the end.
        memory_bytes: The most that all processes hold at once; None where it cannot be known.
        run_seconds: What each run that is left takes, by its title.
    """

    arms: Sequence[ArmForecast]
    workers: int
    seconds: float
    memory_bytes: int | None
    run_seconds: Mapping[str, float]


@dataclass(frozen=True)
class _Cost:
    """What a run of one kind of arm takes, of so many rows."""

    setup_seconds: float
    round_seconds: float
    rows: int
    seconds_per_row: float

    def of(self, rows: int, rounds: int) -> float:
        a_round = self.round_seconds + self.seconds_per_row * (rows - self.rows)
        return self.setup_seconds + rounds * max(a_round, 0.0)


@one_thread()
def forecast(
    benchmark: Benchmark,
    directory: Path,
    *,
    workers: int = 1,
    cores: int = 1,
    clock: Callable[[], float] = time.process_time,
    wall_clock: Callable[[], float] = time.perf_counter,
) -> Forecast:
    """Measure each kind of arm that is left to run, and say what all runs will take.

    Args:
        benchmark: What was asked.
        directory: Its output folder, whose finished runs are kept; nothing is written to it.
        workers: How many processes are to train.
        cores: How many processors they have.
        clock: Gives processor seconds.
        wall_clock: Gives seconds.

    Returns:
        An estimate; no row of the data was read, and no ε spent.

    Raises:
        ConfigError: The folder cannot be written.
    """
    kept = benchmark.kept(directory)
    begun, wall_begun = clock(), wall_clock()
    left = [task for number, task in enumerate(benchmark.tasks) if number not in kept]
    costs: dict[tuple[str, ...], _Cost] = {}
    run_seconds: dict[str, float] = {}
    for task in left:
        arm = task.job.arm
        kind = arm.trains, arm.aggregation, arm.privacy
        if kind not in costs:
            costs[kind] = _cost(task.data, task.job, clock)
        run_seconds[task.job.title] = costs[kind].of(_rows(task), task.job.rounds)
    spent, passed = clock() - begun, wall_clock() - wall_begun
    busy = max(1.0, passed / spent) if spent > 0 else 1.0
    run_seconds = {title: busy * seconds for title, seconds in run_seconds.items()}
    together = min(workers, cores, len(left)) or 1
    return Forecast(
        arms=_by_arm(benchmark.tasks, run_seconds),
        workers=workers,
        seconds=max(sum(run_seconds.values()) / together, max(run_seconds.values(), default=0.0)),
        memory_bytes=_memory(left, min(workers, len(left))),
        run_seconds=run_seconds,
    )


def _cost(data: PartitionedData, job: Job, clock: Callable[[], float]) -> _Cost:
    """Train on made-up rows; the first of both times also loads what is needed."""
    most = min(MEASURED_ROWS, max(len(each.train) for each in data.parties))
    few, many = _made_up(data, most // 2), _made_up(data, most)
    _, first, rows = _measured(few, job, clock)
    setup, second, more = _measured(many, job, clock)
    per_row = max(0.0, second - first) / max(1, more - rows)
    return _Cost(setup, second, more, per_row)


def _measured(
    data: PartitionedData, job: Job, clock: Callable[[], float]
) -> tuple[float, float, int]:
    """Return the seconds before the first round and of a round, and how many rows it had."""
    times = [clock()]
    asked = replace(job, rounds=1 + MEASURED_ROUNDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyWarning)  # of these rows; the run will say its own
        data.trained(asked, lambda rounds: times.append(clock()))
    first, *others = np.diff(times)
    a_round = float(median(others))
    return max(0.0, float(first) - a_round), a_round, _rows(Task(data, job, {}))


def _made_up(data: PartitionedData, most: int) -> PartitionedData:
    """Return rows of no one, dealt out in the same proportions, up to a bound."""
    parties, end = [], 0
    for each in data.parties:
        share = min(1.0, most / len(each.train))
        train, test = (max(2, round(share * len(rows))) for rows in (each.train, each.test))
        places = np.arange(end, end := end + train + test)
        parties.append(PartyRows(each.name, places[:train], places[train:]))
    width, between = data.dataset.features.shape[1], data.dataset.label_range
    drawn = np.random.default_rng(0)
    features = drawn.random((end, width), np.float32)
    labels = (
        np.arange(end) % data.dataset.outputs if between is None else drawn.uniform(*between, end)
    )
    dataset = replace(data.dataset, ids=None, owners=None, features=features, labels=labels)
    return PartitionedData(data.settings, dataset, tuple(parties), None)


def _rows(task: Task) -> int:
    """Count the rows of a run: what is trained on, and what is evaluated."""
    parties = task.data.parties
    return sum(len(parties[p].rows) for p in task.data.members(task.job.arm))


def _by_arm(tasks: Sequence[Task], run_seconds: Mapping[str, float]) -> list[ArmForecast]:
    found: dict[str, list[Job]] = {}
    for task in tasks:
        found.setdefault(task.job.arm.name, []).append(task.job)
    return [
        ArmForecast(
            runs[0].arm,
            runs[0].rounds,
            len(runs),
            sum(job.title not in run_seconds for job in runs),
            sum(run_seconds.get(job.title, 0.0) for job in runs),
        )
        for runs in found.values()
    ]


def _memory(left: Sequence[Task], workers: int) -> int | None:
    """Add what the largest run needs to what this process holds, or each worker will."""
    now, peak = (_status_bytes(name) for name in ("VmRSS", "VmHWM"))
    if now is None or peak is None:
        return None
    largest = max((_bytes(task) for task in left), default=0)
    if workers < 2:
        return max(peak, now + largest)
    return max(peak, now + workers * (now + largest))


def _bytes(task: Task) -> int:
    features = task.data.dataset.features
    own = _COPIES * _rows(task) * features.itemsize * features.shape[1]
    return int(own + features.nbytes * task.job.arm.private)  # these are centred: a copy


def _status_bytes(name: str) -> int | None:
    """Return what the system says of this process; None where it does not."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
