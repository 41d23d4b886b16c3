"""A benchmark's parts, what was asked and what runs beside it: planned together, run in turn."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from privfed.cli.alignment import PSIAligner
from privfed.cli.asked import last_parts
from privfed.cli.benchmark_plan import plan_table, plan_words
from privfed.cli.benchmark_progress import Pace, shown
from privfed.data import Dataset
from privfed.data.understood import HEAD, WORDS, rows_of, understood
from privfed.experiment import (
    Benchmark,
    Forecast,
    Results,
    Settings,
    forecast,
    prepare_benchmark,
    provenance,
)
from privfed.report import findings, terminal_table, write_report
from privfed.report.parties import parties_in_words
from privfed.table import Table, for_terminal

READING = "reading the rows"


@dataclass(frozen=True)
class Part:
    """What to run on some data.

    Attributes:
        settings: What was asked of it.
        read: Reads the rows.
        out: Its output folder.
        command: The command that asked.
    """

    settings: Settings
    read: Callable[[], Dataset]
    out: Path
    command: str


@dataclass(frozen=True)
class _Prepared:
    part: Part
    rows: Dataset
    benchmark: Benchmark
    expected: Forecast

    def run(
        self, workers: int, *, later_seconds: float = 0.0, beside: Results | None = None
    ) -> tuple[Results, Path]:
        """Run it, and draw its page."""
        part, pace = self.part, Pace("")
        pace.expect(
            self.expected,
            [task.job for task in self.benchmark.tasks],
            later_seconds=later_seconds,
        )
        with shown(pace):
            results = self.benchmark.run(
                part.out,
                provenance(part.settings, self.rows, part.command),
                advance=pace.advance,
                workers=workers,
                beside=beside,
            )
            pace.stage = "drawing the report"
            return results, write_report(results, part.out)


def run_parts(parts: Sequence[Part], *, workers: int, dry_run: bool) -> None:
    """Say what will run and what it takes, run it, and print what the first part found.

    Args:
        parts: What was asked, and what runs beside it, if anything does.
        workers: How many runs go on at once.
        dry_run: Whether to stop before the runs.

    Raises:
        ConfigError: Settings and data do not fit, or a folder cannot be written.
        WorkerDiedError: A worker process ended before its run did.
    """
    console = Console()
    with shown(Pace(READING)):
        rows = [part.read() for part in parts]
    pace = Pace("dealing out the rows")
    prepared = []
    with shown(pace):
        for part, each in zip(parts, rows, strict=True):
            pace.stage = "dealing out the rows"
            benchmark = prepare_benchmark(part.settings, each, align=PSIAligner())
            pace.stage = "measuring a few rounds of each kind of arm"
            cores = len(os.sched_getaffinity(0))
            expected = forecast(benchmark, part.out, workers=workers, cores=cores)
            prepared.append(_Prepared(part, each, benchmark, expected))
    asked, *others = prepared
    if asked.rows.kind == "table":
        columns = rows_of(understood(asked.rows.readings, asked.rows.encoder.encoding))
        console.print(for_terminal(Table(HEAD, columns, words=WORDS), title="What was understood"))
    for planned in prepared:
        console.print(plan_table(planned.part.settings, planned.expected, planned.rows.name))
    console.print(plan_words([planned.expected for planned in prepared]), highlight=False)
    if dry_run:
        return
    beside = None
    for other in others:
        beside, _ = other.run(workers, later_seconds=asked.expected.seconds)
    results, page = asked.run(workers, beside=beside)
    console.print(
        f"{asked.rows.name}: {asked.rows.source}", markup=False, highlight=False, soft_wrap=True
    )
    if said := parties_in_words(results):
        console.print(said, markup=False, highlight=False)
    console.print(terminal_table(results))
    for finding in findings(results):
        # Parties are called as the table says, which is no markup.
        console.print(Text.assemble((finding.headline, "bold"), f" {finding.text}\n"))
    numbers = last_parts(asked.part.out / "results.json")
    console.print(f"Report: {last_parts(page)}\nNumbers: {numbers}", markup=False, soft_wrap=True)
