"""What a simulated round costs as parties join: the exchange alone, without training.

Run: python -m benchmarks.simulation --parties 2,10,30,60 --json FILE

The update is the dress network's, at 16 bits, with masks as the parameters set them. Every
repetition runs one round of every size, one after another, so that a busy machine slows all of
them. Times are processor seconds of all parties and the server, work ahead included; a figure is
the median over repetitions. Masks are agreed by pairs and grow with the square of the parties;
a total is decrypted once for all of them.
"""

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.aggregation import rows_of, simulated, updates
from benchmarks.rows import print_table, write
from privfed.table import Table

VALUES, BITS = 5858, 16
DECRYPTION = ("expect", "decrypt")


@dataclass(frozen=True)
class Row:
    """One size of a job.

    Attributes:
        parties: How many take part.
        seconds_per_round: Processor seconds of all phases.
        decrypt_share: Share of decryption in those seconds, done ahead or after.
    """

    parties: int
    seconds_per_round: float
    decrypt_share: float


class Job:
    """A simulated job, round after round."""

    def __init__(self, parties: int) -> None:
        self._sent, self._weights = updates(VALUES, parties), rows_of(parties)
        self.simulation = simulated(self._sent, time.process_time, bits=BITS, scheme="packed")
        self._round = 0

    def run(self) -> dict[str, float]:
        """Run one round as training does; return its processor seconds by phase."""
        self._round += 1
        self.simulation.prepare(self._round)
        _, traffic = self.simulation.average(
            self._sent, round_id=self._round, weights=self._weights
        )
        return traffic.seconds


def measure(parties: Sequence[int], repeats: int, say: Callable[[str], None] = print) -> list[Row]:
    """Return a row a size."""
    jobs = {each: Job(each) for each in parties}
    spent: dict[int, list[dict[str, float]]] = {each: [] for each in parties}
    for repeat in range(repeats + 1):
        for each, job in jobs.items():
            gc.collect()
            seconds = job.run()
            if repeat:  # the first round loads libraries, and agrees on the pairs' secrets
                spent[each].append(seconds)
        say(f"repetition {repeat} of {repeats}")
    return [
        Row(
            parties=each,
            seconds_per_round=median(sum(seconds.values()) for seconds in rounds),
            decrypt_share=median(map(_decrypt_share, rounds)),
        )
        for each, rounds in spent.items()
    ]


def _decrypt_share(seconds: dict[str, float]) -> float:
    return sum(seconds[phase] for phase in DECRYPTION) / sum(seconds.values())


def table(rows: list[Row]) -> Table:
    """Return the rows for a terminal; times as multiples of the first row's, too."""
    first = rows[0].seconds_per_round
    cells = [
        (
            str(row.parties),
            f"{row.seconds_per_round * 1e3:.1f}",
            f"{row.seconds_per_round / first:.1f}",
            f"{row.decrypt_share:.1%}",
        )
        for row in rows
    ]
    return Table(("parties", "ms a round", "times", "decrypt"), cells, words=0)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parties", default="2,10,30,60", help="comma-separated")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = measure([int(each) for each in asked.parties.split(",")], asked.repeats)
    print_table(table(rows))
    if asked.json:
        write(asked.json, rows, ("privfed", "tenseal", "numpy", "cryptography"))


if __name__ == "__main__":
    main()
