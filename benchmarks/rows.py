"""The JSON that a benchmark leaves: its rows, and the versions with which they were measured."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from privfed.table import Table, for_terminal


def write(path: Path, rows: Sequence[Any], packages: Sequence[str]) -> None:
    """Write rows (dataclasses) with the versions of these packages."""
    versions = {name: version(name) for name in packages}
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    document = {"versions": versions | machine, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n")


def print_table(table: Table) -> None:
    """Print a table as wide as it is, also into a file."""
    console = Console()
    shown = for_terminal(table)
    console.print(shown, width=max(console.width, console.measure(shown).maximum), crop=False)
