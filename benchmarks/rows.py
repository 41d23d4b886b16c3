"""The JSON that a benchmark leaves: its rows, and the versions with which they were measured."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any


def write(path: Path, rows: Sequence[Any], packages: Sequence[str]) -> None:
    """Write rows (dataclasses) with the versions of these packages."""
    versions = {name: version(name) for name in packages}
    machine = {"python": platform.python_version(), "machine": platform.machine()}
    document = {"versions": versions | machine, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n")
