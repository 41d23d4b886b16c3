"""The JSON that a benchmark leaves: its rows, and the versions with which they were measured."""

import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from privfed.table import Table, for_terminal

_MOST_WIDTH = 10_000  # characters
_VERSIONS = """import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))"""


def write(
    path: Path, rows: Sequence[Any], packages: Sequence[str], python: Path = Path(sys.executable)
) -> None:
    """Write rows with the versions of packages.

    Args:
        path: Where.
        rows: Dataclasses.
        packages: Their names.
        python: The interpreter that has them.
    """
    told = subprocess.run([python, "-c", _VERSIONS, *packages], capture_output=True, check=True)
    versions = json.loads(told.stdout)
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    document = {"versions": versions | machine, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n")


def print_table(table: Table) -> None:
    """Print a table as wide as it is, also into a file."""
    shown, console = for_terminal(table), Console()
    widest = console.measure(shown, options=console.options.update(max_width=_MOST_WIDTH)).maximum
    Console(width=max(console.width, widest)).print(shown)
