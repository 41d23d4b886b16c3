"""How often a report finds what is not there, and how often it finds what is.

Run: python -m benchmarks.false_alarms [--quick] --json FILE

Null tables have labels that are independent of all features, so no arm has anything over another:
`even` are coin flips, `uneven` are 1 in 15 % of the rows. In `values` labels are numbers, and each
model is moved to where it tells them as well as their mean does. Three more hold a planted effect:
in `parts` each party's training rows show one part of a rule, so learning together gains; in
`noisy` noise on the model costs; in `misled` all parties but the first train mostly on turned
labels, so learning together loses to it. Small models learn from each table, the benchmark's own
code compares them, and its findings are read as they are printed. On null tables a verdict may
stand in 2.5 % of the runs, but for the binomial error of that many runs; a planted effect is to be
found in 80 %.
"""

import argparse
import datetime
import json
import math
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import threadpoolctl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.false_alarm_tables import NULLS, SEEDS, VERDICTS, Report, reports
from privfed import __version__
from privfed.table import Table, for_terminal

PARTIES = (2, 5, 10)
PLANTED = {"parts": ("gain", "own gain"), "noisy": ("cost",), "misled": ("loss",)}
RUNS, QUICK_RUNS = 200, 40
ALLOWED, WANTED = 0.025, 0.8

Case = tuple[str, int, int]
"""A kind of table, parties, and the table's number."""


@dataclass(frozen=True)
class AlarmRow:
    """How often a verdict stood on null tables of one kind."""

    parties: int
    seeds: int
    null: str
    verdict: str
    runs: int
    alarms: int
    rate: float


@dataclass(frozen=True)
class PlantedRow:
    """How often a verdict stood where its effect was planted; `size` is its mean over the runs."""

    parties: int
    seeds: int
    planted: str
    verdict: str
    measure: str
    size: float
    runs: int
    found: int
    rate: float


def measure(runs: int, workers: int, advance: Callable[[str], None]) -> dict[Case, list[Report]]:
    """Report on that many tables of each kind, for each number of parties, in worker processes."""
    # Tables of many parties take longest, so they come first and no worker is left alone with one.
    cases = [
        (kind, parties, number)
        for parties in reversed(PARTIES)
        for number in range(runs)
        for kind in (*NULLS, *PLANTED)
    ]
    context = multiprocessing.get_context("spawn")
    found = {}
    with ProcessPoolExecutor(workers, context, threadpoolctl.threadpool_limits, (1,)) as pool:
        for case, told in zip(cases, pool.map(_reported, cases), strict=True):
            found[case] = told
            advance(f"{case[1]} parties")
    return found


def _reported(case: Case) -> list[Report]:
    return reports(*case)


def alarm_rows(found: dict[Case, list[Report]]) -> Iterator[AlarmRow]:
    """Count each verdict on null tables."""
    for null, parties, seeds, told in _groups(found, NULLS):
        for verdict in VERDICTS:
            alarms = sum(verdict in each.verdicts for each in told)
            rate = alarms / len(told)
            yield AlarmRow(parties, seeds, null, verdict, len(told), alarms, rate)


def planted_rows(found: dict[Case, list[Report]]) -> Iterator[PlantedRow]:
    """Count the verdicts on what was planted."""
    for kind, parties, seeds, told in _groups(found, PLANTED):
        for verdict in PLANTED[kind]:
            hits = sum(verdict in each.verdicts for each in told)
            size = fmean(each.differences[verdict] for each in told)
            yield PlantedRow(
                *(parties, seeds, kind, verdict, told[0].measure, size),
                *(len(told), hits, hits / len(told)),
            )


def _groups(
    found: dict[Case, list[Report]], kinds: Iterable[str]
) -> Iterator[tuple[str, int, int, list[Report]]]:
    for parties in PARTIES:
        for place, seeds in enumerate(SEEDS):
            for kind in kinds:
                told = [each[place] for case, each in found.items() if case[:2] == (kind, parties)]
                if told:
                    yield kind, parties, seeds, told


def most(runs: int) -> float:
    """Return the rate that 2.5 % does not pass in so many runs, but for 2.5 % of the cases."""
    return ALLOWED + 1.96 * math.sqrt(ALLOWED * (1 - ALLOWED) / runs)


def sentences(alarms: Sequence[AlarmRow], planted: Sequence[PlantedRow]) -> list[str]:
    """Say whether both promises hold, and name every row where one does not."""
    over = [row for row in alarms if row.rate > most(row.runs)]
    under = [row for row in planted if row.rate < WANTED]
    return [
        f"{len(alarms) - len(over)} of {len(alarms)} rates of false alarms are at most 2.5 % and "
        f"their binomial error; the highest is {max(row.rate for row in alarms):.1%}.",
        *(
            f"Too many: {row.verdict} on {row.null}, {row.parties} parties, {row.seeds} seeds: "
            f"{row.alarms} of {row.runs}."
            for row in over
        ),
        f"{len(planted) - len(under)} of {len(planted)} planted effects are found in at least "
        f"80 %; the least in {min(row.rate for row in planted):.0%}.",
        *(
            f"Too few: {row.verdict} of {row.size:.3f} {row.measure}, {row.parties} parties, "
            f"{row.seeds} seeds: {row.found} of {row.runs}."
            for row in under
        ),
    ]


def tables(alarms: Sequence[AlarmRow], planted: Sequence[PlantedRow]) -> list[Table]:
    """Return the rates: a line a verdict and a column for each null, parties and seeds."""
    columns = list(dict.fromkeys((row.null, row.parties, row.seeds) for row in alarms))
    rates = {(row.verdict, row.null, row.parties, row.seeds): row.rate for row in alarms}
    lines = [
        (verdict, *(f"{100 * rates[verdict, *column]:.1f}" for column in columns))
        for verdict in VERDICTS
    ]
    head = ("% of null tables", *(f"{null} {p}p {s}s" for null, p, s in columns))
    hits = [
        (row.planted, row.verdict, str(row.parties), str(row.seeds), f"{row.size:.3f}",
         row.measure, f"{100 * row.rate:.0f}")
        for row in planted
    ]  # fmt: skip
    names = ("planted", "verdict", "parties", "seeds", "size", "measure", "% found")
    return [Table(head, lines), Table(names, hits, words=2)]


def main() -> None:
    """Run the command; it fails where a rate is not as promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} tables, not {RUNS}")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="worker processes")
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    if given.jobs < 1:
        parser.error("--jobs takes a number of processes, 1 at least")
    runs = QUICK_RUNS if given.quick else RUNS
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("", total=runs * len(PARTIES) * len((*NULLS, *PLANTED)))
        found = measure(
            runs,
            given.jobs,
            lambda title: progress.update(task, advance=1, description=title),
        )
    alarms, planted = list(alarm_rows(found)), list(planted_rows(found))
    for each in tables(alarms, planted):
        console.print(for_terminal(each))
    told = sentences(alarms, planted)
    for sentence in told:
        console.print(sentence, highlight=False)
    kept = {
        "provenance": {
            "created_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "command": f"python -m benchmarks.false_alarms{' --quick' if given.quick else ''}",
            "versions": {
                "python": platform.python_version(),
                "privfed": __version__,
                "numpy": np.__version__,
            },
        },
        "allowed": most(runs),
        "sentences": told,
        "rows": [asdict(row) for row in alarms],
        "planted": [asdict(row) for row in planted],
    }
    given.json.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", "utf-8")
    if any(row.rate > most(row.runs) for row in alarms) or any(r.rate < WANTED for r in planted):
        sys.exit(1)


if __name__ == "__main__":
    main()
