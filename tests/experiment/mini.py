"""What the suites of this room share: a small benchmark, an intersection in the clear, tables."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from privfed.cli.alignment import PSIAligner
from privfed.data import Dataset, load_dataset
from privfed.experiment import Results, Run, Settings, provenance, run_benchmark

SETTINGS = Settings(
    splits=("overlapping",),
    rounds=3,
    private_rounds=2,
    private_steps=4,
    seeds=2,
    epsilons=(8.0,),
    delta=1e-4,
)


class PlainAligner:
    """Intersection by looking."""

    protocol = "in the clear"

    def __init__(self) -> None:
        self.bytes_exchanged = 0

    def __call__(
        self, left: NDArray[np.str_], right: NDArray[np.str_]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        self.bytes_exchanged += 1
        one, other = np.nonzero(left[:, None] == right[None, :])
        return one, other


@cache
def surrogate() -> Dataset:
    return load_dataset()


class Progress:
    """Counts rounds by arm; stops a benchmark as Ctrl+C would, if asked."""

    def __init__(self, stop_in: str = "", after: int = 0) -> None:
        self.rounds: Counter[str] = Counter()
        self._stop_in, self._after = stop_in, after

    def __call__(self, title: str, rounds: int) -> None:
        self.rounds[title] += rounds
        if self._stop_in and self._stop_in in title and self.rounds[title] >= self._after:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Mini:
    """A finished benchmark."""

    directory: Path
    results: Results
    progress: Progress

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "results.json").read_text())
        return found


def run_mini(
    directory: Path,
    settings: Settings = SETTINGS,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
    workers: int = 1,
) -> Mini:
    dataset, progress = dataset or surrogate(), progress or Progress()
    results = run_benchmark(
        settings,
        dataset,
        align=PSIAligner(),
        directory=directory,
        provenance=provenance(settings, dataset),
        advance=progress,
        workers=workers,
    )
    return Mini(directory, results, progress)


def of(mini: Mini, arm: str, seed: int = 0) -> Run:
    [run] = [run for run in mini.results.runs if (run.arm, run.seed) == (arm, seed)]
    return run


def outcome(results: Results) -> list[dict[str, Any]]:
    """Each run without what differs from one clock to the next."""
    clocked = {"seconds", "wall_seconds", "encryption_seconds_per_round", "history"}
    found = []
    for run in results.runs:
        plain = structs.asdict(run)
        history = {k: v for k, v in run.history.items() if not k.startswith("seconds")}
        found.append({k: v for k, v in plain.items() if k not in clocked} | {"history": history})
    return found


RUN = Run(
    arm="guest",
    split="disjoint",
    seed=0,
    epsilon=None,
    rounds=3,
    train_rows=8,
    test_rows=10,
    test_rows_sha256="11",
    train_loss_first=0.7,
    train_loss_last=0.5,
    train_accuracy_first=0.5,
    train_accuracy_last=0.7,
    test_loss_last=0.8,
    test_accuracy=0.6,
    test_auc=0.65,
    seen_accuracy=0.5,
    seen_n=4,
    unseen_accuracy=2 / 3,
    unseen_n=3,
    unseen_correct=2,
    unseen_majority_correct=1,
    majority_accuracy=0.55,
    weights_sha256="00",
    upload_bytes_per_round=10.0,
    download_bytes_per_round=20.0,
    encryption_seconds_per_round=0.25,
    wall_seconds=1.0,
    seconds={"train": 1.0},
    history={},
    privacy=None,
    model=None,
)
