"""What a vertical training leaves: results, a page, and a few lines on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from privfed.vertical.results import VerticalResults


def leave(results: VerticalResults, out: Path) -> None:
    """Write results and page, and print what came of it.

    Raises:
        ConfigError: The folder cannot be written.
    """
    from privfed.report.vertical import write_vertical
    from privfed.report.vertical_trees_words import bits
    from privfed.report.vertical_words import verdict
    from privfed.vertical.trees.results import TreesResults

    results.write(out)
    page = write_vertical(results, out)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(verdict(results))
    for line in bits(results) if isinstance(results, TreesResults) else ():
        console.print(line)
    console.print(f"report: {page}")
