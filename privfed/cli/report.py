"""`privfed report`: draw the page again from results.json, or put two of them side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from privfed.cli.asked import last_parts
from privfed.errors import ConfigError


def report(
    directory: Annotated[
        Path, typer.Argument(help="Output folder of privfed benchmark or privfed train.")
    ],
    other: Annotated[
        Path | None, typer.Argument(help="Another benchmark's folder, to put beside the first.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Of two: the page to write.", show_default=True)] = Path(
        "comparison.html"
    ),
) -> None:
    """Draw report.html again from a results.json; or compare two benchmarks on a page.

    Of two benchmarks it says what was asked differently, and which differences in what came out
    cannot be chance: same arms, same seeds, same test rows.

    Examples:
        privfed report demo

        privfed report before after
    """
    from privfed.report import load_results, terminal_table, write_report
    from privfed.report.load import is_training

    console, path = Console(), directory / "results.json"
    if other is not None:
        _compare(directory, other, out, console)
        return
    if is_training(path):
        from privfed.partner.results import TrainingResults
        from privfed.report.training import write_training

        page = write_training(TrainingResults.load(path), directory)
    else:
        results = load_results(path)
        page = write_report(results, directory)
        console.print(terminal_table(results))
    console.print(f"Report: {last_parts(page)}", markup=False, soft_wrap=True)


def _compare(first: Path, second: Path, out: Path, console: Console) -> None:
    from privfed.report import load_results
    from privfed.report.load import is_training
    from privfed.report.two import in_words, terminal_two, two_results, write_two

    folders = first, second
    if any(is_training(folder / "results.json") for folder in folders):
        raise ConfigError("two benchmarks can be compared; one of these folders is of a training")
    names = first.resolve().name, second.resolve().name
    if names[0] == names[1]:
        names = last_parts(first), last_parts(second)
    one, another = (load_results(folder / "results.json") for folder in folders)
    two = two_results(one, another, names)
    page = write_two(two, out)
    console.print(terminal_two(two))
    console.print(in_words(two), markup=False, highlight=False)
    console.print(f"Page: {last_parts(page)}", markup=False, soft_wrap=True)
