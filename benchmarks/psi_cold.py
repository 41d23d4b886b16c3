"""What `psi align` of two small tables costs as a cold process, from its start to its end."""

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["IDS", "cold_align"]

IDS = 500
_REPEATS = 5
# The command itself; what it loaded is asked for in a run that is not measured.
_COMMAND = "from psi.cli import main; main()"
_LOADED = f"import sys\ntry:\n    {_COMMAND}\nfinally:\n    print('numba' in sys.modules)"


def cold_align(folder: Path) -> dict[str, Any]:
    """Align two tables of IDS rows, half of them shared.

    Args:
        folder: Where to write the tables.

    Returns:
        The row of the results.
    """
    own = [[f"{2654435761 * row:028d}" for row in range(first, first + IDS)] for first in (0, 250)]
    tables = [folder / f"cold{side}.csv" for side in (0, 1)]
    for table, column in zip(tables, own, strict=True):
        table.write_text("ID\n" + "\n".join(column) + "\n")
    out = folder / "cold.csv"
    options = ["align", *map(str, tables), "--on", "ID", "--rows", "--out", str(out), "--force"]
    walls, cpus = [], []
    for _ in range(_REPEATS):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        _run(_COMMAND, options)
        walls.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    header, *lines = out.read_text().splitlines()
    found = [tuple(map(int, line.split(","))) for line in lines]
    shared = set(own[0]) & set(own[1])
    return {
        "ids": IDS,
        "wall_seconds": statistics.median(walls),
        "cpu_seconds": statistics.median(cpus),
        "runs": _REPEATS,
        "load_average": os.getloadavg()[0],
        "compiled_code_loaded": _run(_LOADED, options).strip() == "True",
        "correct": header == "left_row,right_row"
        and all(own[0][left] == own[1][right] for left, right in found)
        and {own[0][left] for left, _ in found} == shared,
    }


def _run(code: str, options: list[str]) -> str:
    call = [sys.executable, "-c", code, *options]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout
