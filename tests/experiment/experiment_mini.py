"""What the suites of this room share: a small benchmark, an intersection in the clear, tables."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.cli.alignment import PSIAligner
from privfed.data import Dataset, load_dataset
from privfed.experiment import Results, Settings, provenance, run_benchmark

SETTINGS = Settings(
    splits=("overlapping",), rounds=3, private_rounds=2, seeds=2, epsilons=(8.0,), delta=1e-4
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
) -> Mini:
    dataset, progress = dataset or surrogate(), progress or Progress()
    results = run_benchmark(
        settings,
        dataset,
        align=PSIAligner(),
        directory=directory,
        provenance=provenance(settings, dataset),
        advance=progress,
    )
    return Mini(directory, results, progress)


def outcome(results: Results) -> list[dict[str, Any]]:
    """Each run without what differs from one clock to the next."""
    clocked = {"seconds", "wall_seconds", "encryption_seconds_per_round", "history"}
    found = []
    for run in results.runs:
        plain = dataclasses.asdict(run)
        history = {k: v for k, v in run.history.items() if not k.startswith("seconds")}
        found.append({k: v for k, v in plain.items() if k not in clocked} | {"history": history})
    return found
