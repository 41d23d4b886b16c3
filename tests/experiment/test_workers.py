"""Runs in worker processes: the same figures, and nothing lost when one dies or all are stopped."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from privfed.data import load_dataset
from privfed.errors import ConfigError, PrivacyWarning, WorkerDiedError
from privfed.experiment import Settings
from tests.experiment.mini import Progress, outcome, run_mini

SMALL = Settings(splits=("disjoint",), arms=("guest", "overall", "federated-he"), rounds=4, seeds=2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The runs as one process makes them."""
    return outcome(run_mini(tmp_path_factory.mktemp("whole"), SMALL).results)


def workers_left() -> list[Any]:
    return multiprocessing.active_children()


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "runs").iterdir()}


def test_two_workers_make_the_same_to_the_bit(tmp_path: Path, whole: list[dict[str, Any]]) -> None:
    """Through encryption, whose keys differ; private arms draw coins and noise of their own."""
    mini = run_mini(tmp_path, SMALL, workers=2)
    assert outcome(mini.results) == whole
    assert mini.progress.rounds == Counter(
        {f"disjoint, seed {seed}: {arm}": 4 for seed in (0, 1) for arm in SMALL.arms or ()}
    )
    assert workers_left() == []
    again = run_mini(tmp_path, SMALL, workers=2)
    assert set(again.progress.rounds) == {f"{title} (kept)" for title in mini.progress.rounds}
    assert again.results.runs == mini.results.runs


class Killing(Progress):
    """Kills all workers as the system does where memory runs out, once a run has finished."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._runs, self.before = folder / "runs", dict[str, bytes]()

    def __call__(self, title: str, rounds: int) -> None:
        super().__call__(title, rounds)
        if not self.before and any(self._runs.glob("*.run")):
            for each in workers_left():
                os.kill(each.pid, signal.SIGKILL)
                each.join()
            self.before = {path.name: path.read_bytes() for path in self._runs.glob("*.run")}


def test_a_worker_that_dies_is_named_and_nothing_finished_is_lost(
    tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    killing = Killing(tmp_path)
    said = r"disjoint, seed \d: [a-z-]+: the worker .* SIGKILL, as where memory runs out: .*kept"
    with pytest.raises(WorkerDiedError, match=said):
        run_mini(tmp_path, SMALL, progress=killing, workers=2)
    assert workers_left() == []
    assert killing.before
    assert not (tmp_path / "results.json").exists()
    again = run_mini(tmp_path, SMALL, workers=2)
    assert outcome(again.results) == whole
    assert sum("(kept)" in title for title in again.progress.rounds) == len(killing.before)
    assert kept(tmp_path).items() >= killing.before.items()


def test_interrupted_it_leaves_no_worker_and_goes_on(
    tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_mini(tmp_path, SMALL, progress=Progress(stop_in="seed 1", after=1), workers=2)
    assert workers_left() == []
    assert kept(tmp_path)
    assert not list(tmp_path.rglob("*.partial"))
    again = run_mini(tmp_path, SMALL)
    assert outcome(again.results) == whole
    assert any("(kept)" in title for title in again.progress.rounds)


def test_what_a_worker_refuses_is_refused_here(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    with pytest.raises(ConfigError, match=r"models.* cannot be written"):
        run_mini(tmp_path, SMALL, workers=2)
    assert workers_left() == []


def test_no_worker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`workers` must be at least 1, not 0"):
        run_mini(tmp_path, SMALL, workers=0)


def test_a_workers_warning_is_heard(tmp_path: Path) -> None:
    settings = dataclasses.replace(
        SMALL, arms=("local-noise", "central-noise"), private_steps=1, seeds=1, epsilons=(8.0,),
        delta=0.003,
    )  # fmt: skip
    with pytest.warns(PrivacyWarning, match="delta=0.003 is not below"):
        mini = run_mini(tmp_path, settings, load_dataset("breast-cancer"), workers=2)
    assert [run.arm for run in mini.results.runs] == ["local-noise", "central-noise"]
