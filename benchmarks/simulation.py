"""What a simulated round costs as parties join: the exchange alone, or beside training.

Run: python -m benchmarks.simulation --parties 2,10,30,60 --json FILE
Or:  python -m benchmarks.simulation --digits --parties 50 --json FILE

The update is the dress network's, at 16 bits, with masks as the parameters set them. Every
repetition runs one round of every size, one after another, so that a busy machine slows all of
them. Times are processor seconds of all parties and the server, work ahead included; a figure is
the median over repetitions. Masks are agreed by pairs and grow with the square of the parties;
a total is decrypted once for all of them.

With --digits, parties train the dress network on digits, dealt to all of them, one local epoch of
Adam a round, on one thread, as `privfed benchmark --dataset digits` does. Times are then wall
clock, medians over rounds: what training leaves is spent outside it, while another process may
make encryptions of zero (`Simulation.work_ahead`).
"""

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import nn

from benchmarks.aggregation import rows_of, simulated, updates
from benchmarks.rows import print_table, write
from privfed.data import split_parties
from privfed.data.packaged import load_packaged
from privfed.table import Table
from privfed.training import (
    AdamTrainer,
    Exchange,
    SecureAveraging,
    adam_reach,
    get_arrays,
    initial_model,
    one_thread,
    train_federated,
)
from privfed.training.builders import DRESS, model_builder
from privfed.training.local import BATCH_SIZE, LEARNING_RATE

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


@dataclass(frozen=True)
class TrainingRow:
    """One size of a federation on digits.

    Attributes:
        parties: How many take part.
        values: Values of an update.
        rows: Training rows of all parties.
        training_seconds: Seconds that a round trains.
        outside_seconds: Seconds that a round takes besides.
        outside_share: Their share of the round.
        phases: The seconds of an exchange's phases; "prepare" is what no update is needed for.
    """

    parties: int
    values: int
    rows: int
    training_seconds: float
    outside_seconds: float
    outside_share: float
    phases: dict[str, float]


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


@one_thread()
def train(parties: int, rounds: int) -> TrainingRow:
    """Return what rounds on digits take; the first two load libraries, and start a process."""
    data = load_packaged("digits")
    held = split_parties(data, "disjoint", parties=parties)
    own = [
        (torch.tensor(data.features[each.train]), torch.tensor(data.labels[each.train]))
        for each in held
    ]
    counts = [len(labels) for _, labels in own]
    model = initial_model(model_builder(DRESS, data.encoder.num_features, data.outputs), 0)
    template = get_arrays(model)
    averaging = SecureAveraging(
        template,
        parties,
        weights=counts,
        max_weight=max(counts),
        clip_range=adam_reach(-(-max(counts) // BATCH_SIZE), LEARNING_RATE),
        scheme="packed",
        bits=BITS,
    )
    trainers = [AdamTrainer(*each, in_one=True) for each in own]
    spent = list[tuple[float, float, dict[str, float]]]()
    before = time.perf_counter()

    def on_round(_: int, __: nn.Module, training: float, exchange: Exchange | None) -> None:
        nonlocal before
        assert exchange is not None
        spent.append((training, time.perf_counter() - before, exchange.seconds))
        before = time.perf_counter()

    train_federated(model, trainers, averaging, rounds=rounds + 2, seed=0, on_round=on_round)
    measured = spent[2:]
    return TrainingRow(
        parties=parties,
        values=sum(each.size for each in template.values()),
        rows=sum(counts),
        training_seconds=median(training for training, _, _ in measured),
        outside_seconds=median(whole - training for training, whole, _ in measured),
        outside_share=median(1 - training / whole for training, whole, _ in measured),
        phases={name: median(each[name] for _, _, each in measured) for name in measured[0][2]},
    )


def training_table(rows: list[TrainingRow]) -> Table:
    """Return the rows of a training for a terminal."""
    cells = [
        (
            str(row.parties),
            f"{row.training_seconds * 1e3:.1f}",
            f"{row.outside_seconds * 1e3:.1f}",
            f"{row.outside_share:.1%}",
        )
        for row in rows
    ]
    return Table(("parties", "ms training", "ms outside", "share outside"), cells, words=0)


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
    parser.add_argument("--digits", action="store_true", help="beside training on digits")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    sizes = [int(each) for each in asked.parties.split(",")]
    rows: list[Row] | list[TrainingRow]
    if asked.digits:
        rows = [train(each, asked.repeats) for each in sizes]
        print_table(training_table(rows))
    else:
        rows = measure(sizes, asked.repeats)
        print_table(table(rows))
    if asked.json:
        write(asked.json, rows, ("privfed", "tenseal", "numpy", "cryptography", "torch"))


if __name__ == "__main__":
    main()
