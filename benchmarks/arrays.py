"""What a round costs each array: whole weights or updates, one range for all arrays or one each.

Run: python -m benchmarks.arrays --json FILE

Four parties train a small CNN with BatchNorm on scikit-learn's digits, whose pixels are 0 to 255
and not scaled, so that running variances are in the thousands. After some epochs on all rows each
trains another one on its own rows, and the round of `privfed.secagg` is compared with numpy's mean.
One range for all arrays is the power of two above twice the largest value; ranges by array come
from a range round (docs/arrays.md).
"""

import argparse
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.rows import print_table, write
from privfed import secagg
from privfed.errors import PrecisionWarning
from privfed.table import Table

Arrays = dict[str, NDArray[Any]]

_PARTIES, _EPOCHS, _BATCH, _RATE = 4, 5, 32, 0.02
_TEST_ROWS = 297


@dataclass(frozen=True)
class Row:
    """One way.

    Attributes:
        travels: "weights" or "updates".
        ranges: "one" for all arrays, or "each" its own.
        bits: Precision of a value.
        largest_range: The widest range.
        warned: Arrays of which a `PrecisionWarning` tells.
        array: The array that the round costs most.
        error: RMS error of the new model's values there, as a share of their RMS.
        of_the_step: The same, as a share of the RMS by which the round moves that array, for the
            array where that is largest.
        correct: Test rows that the new model gets right.
        exactly_correct: Those that numpy's mean gets right.
    """

    travels: str
    ranges: str
    bits: int
    largest_range: float
    warned: int
    array: str
    error: float
    of_the_step: float
    correct: float
    exactly_correct: float


def network() -> nn.Sequential:
    """Return the network, the same each time."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(),
        nn.Linear(512, 10),
    )  # fmt: skip


def train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, epochs: int) -> None:
    """Train by SGD."""
    optimizer = torch.optim.SGD(model.parameters(), _RATE, momentum=0.9)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(_BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()


def models() -> tuple[Arrays, list[Arrays], torch.Tensor, torch.Tensor]:
    """Return the model before the round and each party's after it, and test rows with labels."""
    digits = load_digits()
    x = torch.tensor(digits.images / 16 * 255, dtype=torch.float32)[:, None]
    y = torch.tensor(digits.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    test, rest = order[:_TEST_ROWS], order[_TEST_ROWS:]
    model = network()
    train(model, x[rest], y[rest], _EPOCHS)
    start = model.state_dict()
    before = {name: each.numpy().copy() for name, each in start.items()}
    after = []
    for rows in rest.chunk(_PARTIES):
        party = network()
        party.load_state_dict({name: torch.from_numpy(each) for name, each in before.items()})
        train(party, x[rows], y[rows], 1)
        after.append({name: each.numpy().copy() for name, each in party.state_dict().items()})
    return before, after, x[test], y[test]


def correct(arrays: Mapping[str, Any], x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the share of rows that a model gets right."""
    model = network()
    model.load_state_dict({name: torch.as_tensor(each) for name, each in arrays.items()})
    model.eval()
    with torch.no_grad():
        return float((model(x).argmax(dim=1) == y).float().mean())


def run(sent: Sequence[Arrays], ranges: str, bits: int) -> tuple[secagg.MeanResult, float, int]:
    """Return the result of a round, the widest range, and the arrays that were warned of."""
    layout = secagg.Layout.of(sent[0])
    sent = [{name: each[name] for name, _ in layout.entries} for each in sent]
    widest = max(float(np.abs(each).max()) for update in sent for each in update.values())
    identities = [secagg.generate_identity() for _ in sent]
    params = secagg.Parameters(
        job="arrays",
        layout=layout,
        clip_range=2.0 ** np.ceil(np.log2(2 * widest)),
        bits=bits,
        max_clients=len(sent),
        max_weight=None,
        roster=tuple(each.public for each in identities),
    )
    if ranges == "each":
        said = [secagg.octaves(each, params) for each in sent]
        rounds = secagg.Simulation(secagg.range_round(params), identities)
        params = secagg.learnt(params, rounds.add_integers(said, round_id=1)[0])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", PrecisionWarning)
        result, _ = secagg.Simulation(params, identities).average(sent, round_id=1)
    named = {str(each.message).split(":")[0] for each in told}
    return result, max(params.range_of(name) for name, _ in layout.entries), len(named)


def rms(values: NDArray[Any]) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def measure(bits: int) -> list[Row]:
    """Measure all four ways at one precision."""
    before, after, x, y = models()
    rows = []
    for travels in ("weights", "updates"):
        base = {name: each * (travels == "updates") for name, each in before.items()}
        sent = [{name: each[name] - base[name] for name in each} for each in after]
        for ranges in ("one", "each"):
            result, widest, warned = run(sent, ranges, bits)
            exact = dict(before)
            got = dict(before)
            for name, mean in result.mean.items():
                exact[name] = np.mean([each[name].astype(float) for each in after], axis=0)
                got[name] = base[name] + mean
            lost = {name: rms(got[name] - exact[name]) for name in result.mean}
            errors = {name: each / rms(exact[name]) for name, each in lost.items()}
            steps = {name: each / rms(exact[name] - before[name]) for name, each in lost.items()}
            worst = max(errors, key=errors.__getitem__)
            right = correct(got, x, y), correct(exact, x, y)
            of_the_step = max(steps.values())
            rows.append(
                Row(
                    travels, ranges, bits, widest, warned, worst, errors[worst], of_the_step, *right
                )
            )
    return rows


def table(rows: Sequence[Row]) -> Table:
    """Return the rows for a terminal."""
    head = ("travels", "ranges", "bits", "widest", "warned", "worst", "error", "of step", "right")
    cells = [
        (
            row.travels,
            row.ranges,
            str(row.bits),
            f"{row.largest_range:g}",
            str(row.warned),
            row.array,
            f"{row.error:.1e}",
            f"{row.of_the_step:.1e}",
            f"{row.correct:.3f}",
        )
        for row in rows
    ]
    return Table(head, cells, words=2)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", default="8,16", help="comma-separated")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for bits in map(int, asked.bits.split(",")) for row in measure(bits)]
    print_table(table(rows))
    if asked.json:
        write(asked.json, rows, ("privfed", "tenseal", "numpy", "torch", "scikit-learn"))


if __name__ == "__main__":
    main()
