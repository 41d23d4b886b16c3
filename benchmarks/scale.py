"""How what each role of an aggregation spends grows with the model and with the clients.

Run: python -m benchmarks.scale --json benchmarks/results/scale.json

Rounds are those of benchmarks.aggregation, with masks and every way down; TenSEAL's BFV is beside
them up to a size that takes seconds. All is measured. `--clients 2,10` or `--params 10000` leave
points out.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.aggregation import Name, Row, measure, table
from benchmarks.aggregation_figures import FIXED_CLIENTS, FIXED_SIZE, MODES
from benchmarks.rows import print_table, write

SIZES, CLIENTS = (10**4, 10**5, 10**6, 10**7), (2, 10, 32, 100, 316, 1000)
BITS = 16
_MOST_BESIDE = 10**8  # values of all clients together, at a peer
_ONCE = 10**7  # from so many values on, a repetition is long enough to be one


def measured(params: int, clients: int, repeats: int) -> list[Row]:
    """Return the rows of one point."""

    def wanted(name: Name) -> bool:
        scheme, mode, masks = name
        beside = scheme == "bfv" and params * clients <= _MOST_BESIDE
        return beside or (scheme == "packed" and mode in MODES and masks)

    once = params * clients >= _ONCE
    return measure(params, clients, BITS, 1 if once else repeats, wanted, say=lambda _: None)


def sweep(sizes: Sequence[int], clients: Sequence[int], repeats: int) -> list[Row]:
    """Return the rows of every size at ten clients, and of every number of clients."""
    points = {(size, FIXED_CLIENTS) for size in sizes} | {(FIXED_SIZE, each) for each in clients}
    rows = []
    for params, parties in sorted(points):
        rows += measured(params, parties, repeats)
        print(f"{params:,} values, {parties:,} clients", flush=True)
    return rows


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", default=",".join(map(str, SIZES)), help="comma-separated")
    parser.add_argument("--clients", default=",".join(map(str, CLIENTS)), help="comma-separated")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    sizes, clients = (
        [int(each) for each in text.split(",")] for text in (asked.params, asked.clients)
    )
    rows = sweep(sizes, clients, asked.repeats)
    print_table(table(rows))
    if asked.json:
        write(asked.json, rows, ("privfed", "tenseal", "numpy", "cryptography"))


if __name__ == "__main__":
    main()
