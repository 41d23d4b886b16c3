"""What a draw of exact noise costs, with numba and without.

Run: python -m benchmarks.exact_noise --json FILE

Noise as it is released, on the values of one vector: `NoiseSource.noisy` of a secret source, with
the stream, the grid and the checks. Both ways run in turn in one process, with compiled code
loaded; a figure is the median over repetitions of CPU time per value. Both draw the same bits from
the same stream, which is checked before.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np

from benchmarks.rows import print_table, write
from privfed.dp import SecretRandomness, SeededRandomness
from privfed.table import Table

SIZES = (1, 650, 5858, 10**6)
LANES = ("numba", "numpy")
DRAWS = 2 * 10**5  # a repetition, at least


@dataclass(frozen=True)
class Row:
    """One way at one size."""

    lanes: str
    values: int
    nanoseconds_a_draw: float
    repeats: int


@contextmanager
def drawn_by(lanes: str) -> Iterator[None]:
    """Draw as where numba is installed, or as where it is not."""
    with patch("privfed.dp.discrete._compilable", lambda: lanes == "numba"):
        yield


def check() -> None:
    """Load the compiled code, and see that it draws what numpy draws."""
    found = []
    for lanes in LANES:
        with drawn_by(lanes):
            found.append(SeededRandomness(1).noisy(np.zeros(10**5), 1.0).tobytes())
    assert found[0] == found[1]


def measure(size: int, repeats: int) -> list[Row]:
    """Return a row for each way."""
    values, source = np.zeros(size), SecretRandomness()
    count = min(1000, -(-DRAWS // size))
    times: dict[str, list[float]] = {lanes: [] for lanes in LANES}
    for repeat in range(repeats + 1):
        for lanes in LANES:
            with drawn_by(lanes):
                start = time.process_time()
                for _ in range(count):
                    source.noisy(values, 1.0)
                spent = time.process_time() - start
            if repeat:  # the first warms caches
                times[lanes].append(spent / count / size * 1e9)
    return [Row(lanes, size, round(median(each), 1), repeats) for lanes, each in times.items()]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    check()
    rows = [row for size in SIZES for row in measure(size, asked.repeats)]
    cells = [(row.lanes, f"{row.values:,}", f"{row.nanoseconds_a_draw:.1f}") for row in rows]
    print_table(Table(("lanes", "values", "ns a draw"), cells))
    if asked.json:
        write(asked.json, rows, ("privfed", "numba", "numpy", "cryptography"))


if __name__ == "__main__":
    main()
