"""What dropouts cost by the size of groups: the share of sampled parties that a round keeps.

Run: python -m benchmarks.scale_groups --json benchmarks/results/scale-groups.json

A round samples all parties of a job; each is gone with the same chance, by its own seeded coin.
Who is missing takes its group along. What the server keeps is counted in rounds that are run, and
every sum is compared with numpy's. Expected is (1 - p)^g of those sampled.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.rows import print_table, write
from privfed import secagg
from privfed.errors import QuorumError
from privfed.table import Table

GROUPS, GONE = (3, 4, 6, 12), (0.01, 0.05, 0.1)


@dataclass(frozen=True)
class Row:
    """One size of groups at one rate.

    Attributes:
        group: Parties in each group.
        gone: Chance of each party to drop out.
        clients: Parties that are sampled.
        rounds: How many rounds were run.
        kept: Share of the sampled parties that were in the sum, over all rounds.
    """

    group: int
    gone: float
    clients: int
    rounds: int
    kept: float


def measure(group: int, rates: Sequence[float], clients: int, rounds: int) -> list[Row]:
    """Return the rows of one size of groups."""
    job = secagg.simulate(
        clients,
        lambda roster: secagg.Parameters(
            job="groups",
            layout=secagg.Layout((("w", (1,)),)),
            clip_range=1.0,
            bits=8,
            max_clients=clients,
            max_weight=None,
            adversary="lying-server+1",
            group_sizes=(group,) * (clients // group),
            roster=roster,
        ),
    )
    ids = [party.id for party in job.params.roster]
    rng, round_id, rows = np.random.default_rng(group), 0, []
    for gone in rates:
        kept = 0
        for _ in range(rounds):
            round_id += 1
            sent = {
                place: {"w": rng.integers(-9, 10, 1)}
                for place in range(clients)
                if rng.random() >= gone
            }
            try:
                result, _ = job.add_integers(sent, round_id=round_id)
            except QuorumError:
                continue  # no group is whole
            wanted = sum(sent[ids.index(sender)]["w"] for sender in result.senders)
            if not np.array_equal(result.sums["w"], wanted):
                raise SystemExit("a sum differs from numpy's")
            kept += len(result.senders)
        rows.append(Row(group, gone, clients, rounds, kept / (clients * rounds)))
    return rows


def table(rows: list[Row]) -> Table:
    """Return the rows for a terminal."""
    cells = [
        (
            str(row.group),
            f"{row.gone:.0%}",
            f"{row.kept:.3f}",
            f"{(1 - row.gone) ** row.group:.3f}",
        )
        for row in rows
    ]
    return Table(("group", "gone", "kept", "expected"), cells, words=0)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=120, help="a multiple of every group")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    for group in GROUPS:
        rows += measure(group, GONE, asked.clients, asked.rounds)
        print(f"groups of {group}", flush=True)
    print_table(table(rows))
    if asked.json:
        write(asked.json, rows, ("privfed", "tenseal", "numpy", "cryptography"))


if __name__ == "__main__":
    main()
