"""What privacy costs in accuracy, by whose noise it is: six arms at the same ε, each tuned.

Run: python -m benchmarks.privacy_accuracy --dataset digits --parties 10 \
    --epsilon 0.25,0.5,1,2,4,8 --seeds 5 --json FILE [--plot FILE]

Every arm at every ε is first tuned on one grid, with seeds of its own. Then, seed by seed and ε by
ε, all arms train on the same split from the same weights, on features that are centred by the
middle of their public ranges; noise shares travel under encryption. Seeds fix splits and initial
weights; coins and noise are secret and new in every run (Opacus draws its own from torch), so the
95 % intervals hold both.
"""

import argparse
import datetime
import importlib.metadata
import json
import math
import multiprocessing
import platform
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.flights import load_flights
from benchmarks.privacy_arms import ARMS, Arm, Outcome, Setting
from benchmarks.privacy_findings import find, targets
from benchmarks.privacy_split import PartitionedRows, partition
from benchmarks.privacy_tuning import QUICK, Grid, Tuned, tune
from privfed.data import Dataset, Split, load_dataset
from privfed.dp import PrivacyPlan
from privfed.errors import PrivFedError
from privfed.experiment.intervals import mean_interval
from privfed.table import Table, for_terminal

PACKAGES = ("privfed", "torch", "opacus", "dp-accounting", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Asked:
    """What to run."""

    dataset: str
    parties: int
    split: Split
    epsilons: tuple[float, ...]
    delta: float
    seeds: range
    grid: Grid

    def cases(self) -> list[tuple[Arm, float | None]]:
        """List every arm at every ε; what has no noise runs once."""
        plain = [(arm, None) for arm in ARMS if arm.noise is None]
        return plain + [(arm, each) for each in self.epsilons for arm in ARMS if arm.noise]


@dataclass(frozen=True)
class Row:
    """One arm at one ε, over the seeds; accuracies are shares of the test rows of all parties.

    `noise_multiplier` is over the clip norm: of each party's noise where it is local, else of the
    part of the sum's noise that is unknown to everybody. `epsilon` was asked of every arm;
    `epsilon_insiders` holds against parties who subtract what they put in, `epsilon_outsider`
    against those who see the models. `opacus_epsilon` is by Opacus's own accountant, of one row.
    """

    arm: str
    label: str
    trusts: str
    epsilon: float | None
    delta: float | None
    parties: int
    seeds: list[int]
    accuracy_mean: float
    accuracy_ci95: tuple[float, float] | None
    accuracies: list[float]
    noise_multiplier: float
    accountant: str
    epsilon_outsider: float | None
    epsilon_insiders: float | None
    opacus_epsilon: float | None
    adjacency: str | None
    privacy_unit: str | None
    sampling: str | None
    colluders: int | None
    setting: dict[str, Any]
    tuning_accuracy: float
    rounds: int
    upload_bytes_a_round: int
    seconds: dict[str, float]
    test_rows: int


class _Work:
    """What a worker process does: one arm at one ε, tuned, or run with one seed."""

    def __init__(self, asked: Asked, dataset: Dataset) -> None:
        self._asked, self._dataset, self._cases = asked, dataset, asked.cases()

    def _partitioned(self, seed: int) -> PartitionedRows:
        return partition(self._dataset, self._asked.split, self._asked.parties, seed)

    def tune(self, number: int) -> Tuned:
        """Tune the case of that number."""
        arm, epsilon = self._cases[number]
        return tune(
            arm, self._asked.grid, self._partitioned, epsilon=epsilon, delta=self._asked.delta
        )

    def run(self, number: int, setting: Setting, seed: int) -> Outcome:
        """Run the case of that number."""
        arm, epsilon = self._cases[number]
        split = self._partitioned(seed)
        return arm.run(setting, split, epsilon=epsilon, delta=self._asked.delta)


_work: _Work  # of a worker process


def _begin(asked: Asked, dataset: Dataset) -> None:
    global _work
    torch.set_num_threads(1)
    _work = _Work(asked, dataset)


def _tune(number: int) -> Tuned:
    return _work.tune(number)


def _run(number: int, setting: Setting, seed: int) -> Outcome:
    return _work.run(number, setting, seed)


def measure(
    asked: Asked, dataset: Dataset, workers: int, advance: Callable[[str], None]
) -> list[Row]:
    """Tune every arm at every ε, then run all of them with every seed, in worker processes."""
    cases = asked.cases()
    titles = [arm.name + ("" if each is None else f" ε={each:g}") for arm, each in cases]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (asked, dataset)) as pool:
        tuned = []
        for number, found in enumerate(pool.map(_tune, range(len(cases)))):
            advance(f"tuned {titles[number]}")
            tuned.append(found)
        tasks = [(seed, number) for seed in asked.seeds for number in range(len(cases))]
        runs: list[list[Outcome]] = [[] for _ in cases]
        seeds, numbers = zip(*tasks, strict=True)
        settings = [tuned[number].setting for number in numbers]
        done = pool.map(_run, numbers, settings, seeds)
        for (seed, number), outcome in zip(tasks, done, strict=True):
            advance(f"seed {seed}: {titles[number]}")
            runs[number].append(outcome)
    return [
        _row(asked, *case, setting, outcomes)
        for case, setting, outcomes in zip(cases, tuned, runs, strict=True)
    ]


def _row(
    asked: Asked,
    arm: Arm,
    epsilon: float | None,
    tuned: Tuned,
    trials: Sequence[Outcome],
) -> Row:
    accuracies = [trial.accuracy for trial in trials]
    plans = [trial.plan for trial in trials if trial.plan is not None]
    theirs = [trial.opacus_epsilon for trial in trials if trial.opacus_epsilon is not None]
    return Row(
        arm=arm.name,
        label=arm.label,
        trusts=arm.trusts,
        epsilon=epsilon,
        parties=asked.parties,
        seeds=list(asked.seeds),
        accuracy_mean=fmean(accuracies),
        accuracy_ci95=mean_interval(accuracies),
        accuracies=accuracies,
        opacus_epsilon=max(theirs, default=None),
        setting=asdict(tuned.setting),
        tuning_accuracy=tuned.accuracy,
        rounds=trials[0].rounds,
        upload_bytes_a_round=trials[0].upload_bytes,
        seconds={
            phase: fmean(trial.seconds[phase] for trial in trials) for phase in trials[0].seconds
        },
        test_rows=trials[0].test_rows,
        **_promise(plans),
    )


def _promise(plans: Sequence[PrivacyPlan]) -> dict[str, Any]:
    """Return the worst that any seed's plan promises, as seeds deal IDs differently."""
    if not plans:
        unknown = ("delta", "epsilon_outsider", "epsilon_insiders", "adjacency", "privacy_unit",
                   "sampling", "colluders")  # fmt: skip
        return dict.fromkeys(unknown) | {"noise_multiplier": 0.0, "accountant": "none"}
    worst = max(plans, key=lambda plan: plan.epsilon)
    return {
        "delta": worst.delta,
        "epsilon_outsider": worst.epsilon_outsider,
        "epsilon_insiders": worst.epsilon_insiders,
        "adjacency": worst.adjacency,
        "privacy_unit": worst.privacy_unit,
        "sampling": worst.sampling,
        "colluders": worst.colluders if worst.is_shared else None,
        "noise_multiplier": fmean(plan.noise_multiplier for plan in plans),
        "accountant": worst.accountant,
    }


def provenance(dataset: Dataset, arguments: Sequence[str]) -> dict[str, Any]:
    """Say where the figures come from; names no person, folder or host."""
    args = [re.sub(r"(^|=).*/", r"\1", each) for each in arguments]
    return {
        "created_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "benchmarks.privacy_accuracy", *args]),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "data": {
            "dataset": dataset.name,
            "source": dataset.source,
            "is_surrogate": dataset.is_surrogate,
            "sha256": dataset.sha256,
            "rows": len(dataset),
        },
    }


def table(rows: Sequence[Row]) -> Table:
    """Return the rows, a line for each ε and a column for each arm."""
    by = {(row.arm, row.epsilon): row for row in rows}
    cells = []
    for epsilon in sorted({row.epsilon for row in rows if row.epsilon is not None}):
        found = (by.get((arm.name, epsilon), by.get((arm.name, None))) for arm in ARMS)
        cells.append((f"{epsilon:g}", *(_cell(row) for row in found if row)))
    return Table(("ε", *(arm.label for arm in ARMS)), cells)


def _cell(row: Row) -> str:
    mean = f"{row.accuracy_mean:.3f}"
    if row.accuracy_ci95 is None:
        return mean
    return f"{mean}±" + f"{row.accuracy_ci95[1] - row.accuracy_mean:.3f}".lstrip("0")


def _numbers(text: str) -> tuple[float, ...]:
    found = tuple(sorted({float(each) for each in text.split(",")}))
    if not all(each > 0 and math.isfinite(each) for each in found):
        raise argparse.ArgumentTypeError("ε must be positive numbers, such as 0.5,1,2")
    return found


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return count


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--dataset", choices=["digits", "breast-cancer", "flights", "dresses"], default="digits"
    )
    parser.add_argument("--data", default="surrogate", help="of dresses: a path or openml")
    parser.add_argument("--parties", type=_count, default=10)
    parser.add_argument(
        "--split", choices=["disjoint", "overlapping", "deduplicated"], default="disjoint"
    )
    parser.add_argument("--epsilon", type=_numbers, default=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0))
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--seeds", type=_count, default=5)
    parser.add_argument("--first-seed", type=_count, default=0, help="of those reported")
    parser.add_argument("--uncentred", action="store_true", help="features as they are encoded")
    parser.add_argument("--quick", action="store_true", help="next to no tuning, for a try")
    parser.add_argument("--workers", type=_count, default=1, help="processes, of one thread each")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args(arguments)


def _load(given: argparse.Namespace) -> Dataset:
    """Return the rows with the features that all arms train on."""
    flights = given.dataset == "flights"
    found = load_flights() if flights else load_dataset(given.dataset, given.data)
    return found if given.uncentred else found.centred()


def main() -> None:
    """Run the command."""
    given = parse()
    asked = Asked(
        given.dataset,
        given.parties,
        given.split,
        given.epsilon,
        given.delta,
        range(given.first_seed, given.first_seed + given.seeds),
        QUICK if given.quick else Grid(),
    )
    if set(asked.seeds) & set(asked.grid.seeds):
        raise SystemExit("these seeds tune the arms: report others, with --first-seed")
    console = Console()
    try:
        dataset = _load(given)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
            total = len(asked.cases()) * (1 + len(asked.seeds))
            task = progress.add_task("", total=total)
            rows = measure(
                asked,
                dataset,
                given.workers,
                lambda title: progress.update(task, advance=1, description=title),
            )
    except PrivFedError as error:
        raise SystemExit(str(error)) from None
    findings = find(rows, given.delta)
    if (given.dataset, given.parties, findings["epsilon"]) == ("digits", 10, 1.0):
        findings["targets"] = targets(rows, findings)
    title = (
        f"Test accuracy, {given.parties} parties, {given.seeds} seeds; ± half a 95 % interval; "
        f"δ = {given.delta:g}"
    )
    console.print(for_terminal(table(rows), title=title))
    for sentence in findings["sentences"]:
        console.print(sentence, highlight=False)
    if given.json:
        settings = {
            "dataset": given.dataset,
            "parties": given.parties,
            "split": given.split,
            "epsilons": list(given.epsilon),
            "delta": given.delta,
            "centred": dataset.encoder.centred,
            "seeds": list(asked.seeds),
            "tuning": asked.grid.to_dict(),
        }
        kept = {
            "provenance": provenance(dataset, sys.argv[1:]),
            "settings": settings,
            "findings": findings,
            "rows": [asdict(row) for row in rows],
        }
        given.json.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    if given.plot:
        from benchmarks.privacy_plots import draw

        draw([asdict(row) for row in rows], given.dataset, given.plot)


if __name__ == "__main__":
    main()
