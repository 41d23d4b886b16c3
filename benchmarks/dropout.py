"""What is left of a round when parties drop out: masks in groups, over all of a cohort, and none.

Run: python -m benchmarks.dropout --json FILE

In each round other parties are gone, drawn at random (seeded), after everybody has made its masks.
With masks in groups the groups of those who are gone are left out. With masks over the cohort, as
plans with noise shares have them, the round fails and is run anew by those who stayed, who make
new masks. Without masks, for a server that is trusted, nobody else is lost. Every sum is compared
with numpy's. Times are of one party, medians over rounds.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.rows import print_table, write
from privfed import secagg
from privfed.errors import QuorumError
from privfed.table import Table

_MOST_IN_A_COHORT = 200  # each of them masks with each other: minutes in one process
SETTINGS: dict[str, dict[str, Any]] = {
    "groups": {"adversary": "lying-server+1"},
    "cohort": {"adversary": "lying-server+1", "noise_shares": True},
    "none": {"adversary": "honest-server"},
}


@dataclass(frozen=True)
class Row:
    """One way of masking; times are of one party, in seconds.

    Attributes:
        masks: "groups", "cohort" or "none".
        clients: Parties of the job.
        gone: Those of them that drop out.
        smallest_group: Parties in the smallest group; 0 where there are none.
        kept: Parties in the sum; the median over rounds.
        kept_fewest: The fewest over rounds.
        runs: How often the round was run until it had a sum.
        mask_seconds: Making the masks of one run.
        epoch_seconds: Agreeing on mask keys, once a job.
        epoch_bytes: One party's message for it.
        params: Values in an update.
        rounds: How many rounds were run.
    """

    masks: str
    clients: int
    gone: int
    smallest_group: int
    kept: float
    kept_fewest: int
    runs: int
    mask_seconds: float
    epoch_seconds: float
    epoch_bytes: float
    params: int
    rounds: int


@dataclass(frozen=True)
class _Outcome:
    kept: int
    runs: int
    mask_seconds: float


class Job:
    """A job whose parties send integers, since then any way of masking may be asked for."""

    def __init__(self, masks: str, clients: int, params: int) -> None:
        start = time.perf_counter()
        self._job = secagg.simulate(
            clients,
            lambda roster: secagg.Parameters(
                job="dropout",
                layout=secagg.Layout((("w", (params,)),)),
                clip_range=1.0,
                bits=16,
                max_clients=clients,
                max_weight=None,
                roster=roster,
                **SETTINGS[masks],
            ),
        )
        self.params = self._job.params
        self.epoch_seconds = (time.perf_counter() - start) / clients if masks != "none" else 0.0
        self.epoch_bytes = self._job.epoch_bytes / clients
        rng = np.random.default_rng(0)
        self._sent = [{"w": rng.integers(-9, 10, params)} for _ in range(clients)]
        self._round = 0

    def run(self, gone: set[int]) -> _Outcome:
        """Run a round without those who are gone."""
        everybody = range(len(self._sent))
        stayed = [place for place in everybody if place not in gone]
        seconds = self._masks(everybody)
        if not self.params.names_cohorts:
            return _Outcome(self._add(stayed), 1, seconds)
        # All named all: nobody knows yet who is gone, and the sum of the rest stays masked.
        named = list(everybody)
        server = secagg.Aggregator(self.params, self._round, named)
        for place in stayed:
            upload = self._job.encryptors[place].encrypt_integers(
                self._sent[place], round_id=self._round, cohort=named
            )
            server.add(upload)
        try:
            server.total()
        except QuorumError:
            self._masks(stayed)
            return _Outcome(self._add(stayed), 2, seconds)
        raise SystemExit("a round whose masks do not cancel was closed")

    def _masks(self, places: Sequence[int]) -> float:
        """Make the masks of the next round at some parties; return the seconds of one."""
        self._round += 1
        cohort = list(places) if self.params.names_cohorts else None
        for place in places:
            self._job.encryptors[place].prepare(1)  # zeros, which are timed elsewhere
        start = time.perf_counter()
        for place in places:
            self._job.encryptors[place].prepare(1, self._round, cohort)
        return (time.perf_counter() - start) / len(places)

    def _add(self, places: list[int]) -> int:
        result, _ = self._job.add_integers(
            {place: self._sent[place] for place in places}, round_id=self._round
        )
        ids = [party.id for party in self.params.roster]
        wanted = sum(self._sent[ids.index(sender)]["w"] for sender in result.senders)
        if not np.array_equal(result.sums["w"], wanted):
            raise SystemExit("a sum differs from numpy's")
        return len(result.senders)


def measure(masks: str, clients: int, gone: int, params: int, rounds: int) -> Row:
    """Return the row of one way of masking."""
    job, rng = Job(masks, clients, params), np.random.default_rng(0)
    outcomes = [
        job.run(set(rng.choice(clients, gone, replace=False).tolist())) for _ in range(rounds)
    ]
    return Row(
        masks,
        clients,
        gone,
        min(job.params.group_sizes or (0,)),
        median(each.kept for each in outcomes),
        min(each.kept for each in outcomes),
        max(each.runs for each in outcomes),
        median(each.mask_seconds for each in outcomes) if masks != "none" else 0.0,
        job.epoch_seconds,
        job.epoch_bytes,
        params,
        rounds,
    )


def table(rows: list[Row]) -> Table:
    """Return the rows for a terminal; times in ms."""
    head = ("masks", "clients", "gone", "group", "kept", "fewest", "runs", "masks ms", "epoch ms")
    cells = [
        (
            row.masks,
            str(row.clients),
            str(row.gone),
            str(row.smallest_group or ""),
            f"{row.kept:g}",
            str(row.kept_fewest),
            str(row.runs),
            f"{row.mask_seconds * 1e3:.2f}",
            f"{row.epoch_seconds * 1e3:.2f}",
        )
        for row in rows
    ]
    return Table(head, cells, words=1)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", default="12,100,1000", help="comma-separated")
    parser.add_argument("--gone", type=float, default=0.04, help="share that drops out")
    parser.add_argument("--params", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    for clients in map(int, asked.clients.split(",")):
        for masks in SETTINGS:
            if masks == "cohort" and clients > _MOST_IN_A_COHORT:
                continue
            gone = max(1, round(clients * asked.gone))
            rows.append(measure(masks, clients, gone, asked.params, asked.rounds))
            print(f"{clients} clients, masks in {masks}: {rows[-1].kept:g} kept", flush=True)
    print_table(table(rows))
    if asked.json:
        write(asked.json, rows, ("privfed", "tenseal", "numpy", "cryptography"))


if __name__ == "__main__":
    main()
