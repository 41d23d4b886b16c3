"""`privfed report`: draw the page again from results.json, of a benchmark or of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from privfed.cli.asked import last_parts


def report(
    directory: Annotated[
        Path, typer.Argument(help="Output folder of privfed benchmark or privfed train.")
    ],
) -> None:
    """Draw report.html again from a results.json; print a benchmark's table."""
    from privfed.report import load_results, terminal_table, write_report
    from privfed.report.load import is_training

    console, path = Console(), directory / "results.json"
    if is_training(path):
        from privfed.partner.results import TrainingResults
        from privfed.report.training import write_training

        page = write_training(TrainingResults.load(path), directory)
    else:
        results = load_results(path)
        page = write_report(results, directory)
        console.print(terminal_table(results))
    console.print(f"Report: {last_parts(page)}", markup=False, soft_wrap=True)
