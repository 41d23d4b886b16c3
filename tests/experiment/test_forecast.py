"""What a benchmark will take, before it runs: of each kind of arm a few rounds are measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from privfed.cli.alignment import PSIAligner
from privfed.experiment import Benchmark, Job, Settings, forecast, prepare_benchmark
from privfed.experiment.forecast import MEASURED_ROUNDS
from privfed.experiment.partitioned import PartitionedData
from tests.experiment.mini import run_mini, surrogate

SETTINGS = Settings(
    splits=("disjoint",),
    arms=("guest", "host", "overall", "federated-he-dp"),
    rounds=30,
    private_rounds=10,
    seeds=3,
    epsilons=(1.0, 8.0),
)


def prepared(settings: Settings = SETTINGS, times: int = 1) -> Benchmark:
    data = surrogate()
    if times > 1:
        data = dataclasses.replace(
            data,
            ids=None,
            features=np.tile(data.features, (times, 1)),
            labels=np.tile(data.labels, times),
        )
    return prepare_benchmark(settings, data, align=PSIAligner())


class Clock:
    """Seconds that pass with the rows of each round, and how many rows were trained on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.most_rows = 0.0, 0
        self.jobs: list[Job] = []

        def trained(data: PartitionedData, job: Job, advance: Callable[[int], None]) -> None:
            own = [data.parties[p] for p in data.members(job.arm)]
            rows = sum(len(each.rows) for each in own)
            self.most_rows = max(self.most_rows, *(len(each.train) for each in own))
            self.jobs.append(job)
            self.now += 2.0
            for _ in range(job.rounds):
                self.now += 0.5 + 0.001 * rows
                advance(1)

        monkeypatch.setattr(PartitionedData, "trained", trained)

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("times", [1, 40])
def test_a_line_through_two_measurements(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark, clock = prepared(times=times), Clock(monkeypatch)
    found = forecast(benchmark, tmp_path, clock=clock, wall_clock=clock)
    assert {job.rounds for job in clock.jobs} == {1 + MEASURED_ROUNDS}
    assert clock.most_rows <= 512
    kinds = [job.arm.name for job in clock.jobs]
    assert kinds == [name for name in ("guest", "overall", "federated-he-dp") for _ in range(2)]
    for task in benchmark.tasks:
        members = task.data.members(task.job.arm)
        rows = sum(len(task.data.parties[p].rows) for p in members)
        wanted = 2.0 + task.job.rounds * (0.5 + 0.001 * rows)
        assert found.run_seconds[task.job.title] == pytest.approx(wanted)
    assert [(each.arm.name, each.rounds, each.runs, each.kept) for each in found.arms] == [
        ("guest", 30, 3, 0),
        ("host", 30, 3, 0),
        ("overall", 30, 3, 0),
        ("federated-he-dp", 10, 6, 0),
    ]
    assert sum(each.seconds for each in found.arms) == pytest.approx(found.seconds)


def test_workers_share_the_time_and_multiply_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark, clock = prepared(), Clock(monkeypatch)
    one, two, many = (
        forecast(benchmark, tmp_path, workers=n, cores=2, clock=clock, wall_clock=clock)
        for n in (1, 2, 4)
    )
    assert two.seconds == pytest.approx(one.seconds / 2)
    assert many.seconds == pytest.approx(two.seconds)  # two processors do not do more
    assert one.memory_bytes is not None
    assert two.memory_bytes is not None
    assert many.memory_bytes is not None
    assert one.memory_bytes < two.memory_bytes < many.memory_bytes
    single = prepared(dataclasses.replace(SETTINGS, arms=("guest",), seeds=1))
    alone = forecast(single, tmp_path, workers=8, cores=8, clock=clock, wall_clock=clock)
    assert alone.seconds == pytest.approx(one.run_seconds["disjoint, seed 0: guest"])


def test_a_busy_machine_takes_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark, clock = prepared(), Clock(monkeypatch)
    quiet = forecast(benchmark, tmp_path, clock=clock, wall_clock=clock)
    busy = forecast(benchmark, tmp_path, clock=clock, wall_clock=lambda: 3 * clock())
    assert busy.seconds == pytest.approx(3 * quiet.seconds)
    waiting = forecast(benchmark, tmp_path, clock=clock, wall_clock=lambda: clock() / 3)
    assert waiting.seconds == pytest.approx(quiet.seconds)


def test_real_rounds_are_measured_on_rows_of_no_one(tmp_path: Path) -> None:
    """Training on rows that are not finite would be refused."""
    data = surrogate()
    benchmark = prepare_benchmark(
        dataclasses.replace(SETTINGS, seeds=1, arms=None, epsilons=(8.0,)),
        dataclasses.replace(data, features=np.full_like(data.features, np.nan)),
        align=PSIAligner(),
    )
    found = forecast(benchmark, tmp_path / "out")
    assert len(found.run_seconds) == len(benchmark.tasks) == 11
    assert all(0 < seconds < 600 for seconds in found.run_seconds.values())
    assert not (tmp_path / "out").exists()


def test_what_is_kept_takes_no_time(tmp_path: Path) -> None:
    settings = Settings(splits=("disjoint",), arms=("guest",), rounds=1, seeds=1)
    run_mini(tmp_path, settings)
    more = prepared(dataclasses.replace(settings, seeds=2))
    found = forecast(more, tmp_path)
    assert list(found.run_seconds) == ["disjoint, seed 1: guest"]
    assert [(each.runs, each.kept) for each in found.arms] == [(2, 1)]
    nothing = forecast(prepared(settings), tmp_path)
    assert (nothing.seconds, dict(nothing.run_seconds)) == (0.0, {})
