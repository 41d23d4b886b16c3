"""`privfed report`: draw the page again from results.json."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from privfed.cli.asked import last_parts


def report(
    directory: Annotated[Path, typer.Argument(help="Output folder of privfed benchmark.")],
) -> None:
    """Draw report.html again from a results.json, and print its table."""
    from privfed.report import load_results, terminal_table, write_report

    results = load_results(directory / "results.json")
    page = write_report(results, directory)
    console = Console()
    console.print(terminal_table(results))
    console.print(f"Report: {last_parts(page)}", markup=False, soft_wrap=True)
