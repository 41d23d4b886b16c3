"""One step of DP-SGD on the paper's network, ours and Opacus's, in one interleaved run.

Run: python -m benchmarks.dp_step --batch 32,64 --json FILE

A step is whole: draw a batch, forward, backward, clip each row, add noise, update by SGD. All run
on one thread and on the same 300 rows, drawn in memory, except those through a DataLoader (for
Opacus its own Poisson one, as its users run it). Every
repetition runs some steps of every variant, one after another; a figure is the median over
repetitions of CPU time per step. Our coins and noise are as they ship: ChaCha20 keyed by the
operating system, exact integers on a grid. Opacus's are float32 from torch's generator, which
guards no secret; "torch's noise" is our step with those.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from opacus import PrivacyEngine
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.rows import print_table, write
from privfed.dp import SecretRandomness
from privfed.table import Table
from privfed.training import GradientClipper, log_probabilities
from privfed.training.dp_sgd import noisy_step
from privfed.training.vector import one_vector

ROWS, CLIP, NOISE, LEARNING_RATE = 300, 1.0, 1.0, 1e-3
STEPS = 200  # a repetition
HOOKS = "opacus hooks"

Step = Callable[[], None]


@dataclass(frozen=True)
class Row:
    """One variant at one batch size; `times_faster` is against Opacus's hooks, of this run."""

    variant: str
    batch: int
    step_microseconds: float
    times_faster: float
    repeats: int


class PaperLoss(nn.Module):
    """The paper's cross-entropy as a module, with the reduction that Opacus's ghost mode sets."""

    def __init__(self) -> None:
        super().__init__()
        self.reduction = "mean"

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of scores (b, 2)."""
        return functional.nll_loss(log_probabilities(scores), labels, reduction=self.reduction)


class TorchRandomness:
    """Coins and noise of torch's generator, as Opacus draws them by default."""

    simulation = True

    def words(self, count: int) -> NDArray[np.uint64]:
        """Refuse, as nothing here needs words."""
        raise NotImplementedError

    def noisy(self, values: NDArray[np.float64], standard_deviation: float) -> NDArray[np.float64]:
        """Add float32 normals."""
        noise: NDArray[np.float32] = torch.normal(0.0, standard_deviation, values.shape).numpy()
        return values + noise

    def coins(self, probability: float, count: int) -> NDArray[np.bool_]:
        """Toss float32 coins."""
        return (torch.rand(count) < probability).numpy()


def network() -> nn.Sequential:
    """Build 12-128-32-2; dropout, which our training leaves out, is left out for all."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(12, 128), nn.ReLU(), nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 2)
    )


def data() -> tuple[Tensor, Tensor]:
    """Return rows of many sizes, so that the clip norm binds some and not others."""
    generator = torch.Generator().manual_seed(1)
    sizes = torch.linspace(0.1, 3, ROWS)[:, None]
    x = sizes * torch.randn(ROWS, 12, generator=generator)
    return x, torch.randint(0, 2, (ROWS,), generator=generator)


def endless(batches: DataLoader[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Go over the batches again and again."""
    while True:
        yield from batches


def plain(batch: int, *, loader: bool) -> Step:
    """Return SGD without privacy."""
    (x, y), model, loss = data(), network(), PaperLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    batches = DataLoader(TensorDataset(x, y), batch, shuffle=True, drop_last=True)
    drawn = endless(batches)

    def next_batch() -> tuple[Tensor, Tensor]:
        if loader:
            return next(drawn)
        chosen = torch.rand(ROWS) < batch / ROWS
        return x[chosen], y[chosen]

    def step() -> None:
        features, labels = next_batch()
        optimizer.zero_grad()
        loss(model(features), labels).backward()
        optimizer.step()

    return step


def opacus(batch: int, mode: str, *, loader: bool = False) -> Step:
    """Return Opacus's step in one of its modes."""
    x, y = data()
    model = network()
    sgd = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    made = PrivacyEngine().make_private(
        module=model,
        optimizer=sgd,
        criterion=PaperLoss(),
        data_loader=DataLoader(TensorDataset(x, y), batch),
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        grad_sample_mode=mode,
    )
    private, optimizer, drawn = made[0], made[1], endless(made[-1])
    loss = made[2] if mode == "ghost" else PaperLoss()

    def next_batch() -> tuple[Tensor, Tensor]:
        if loader:
            return next(drawn)
        chosen = torch.rand(ROWS) < batch / ROWS
        return x[chosen], y[chosen]

    def step() -> None:
        features, labels = next_batch()
        optimizer.zero_grad()
        loss(private(features), labels).backward()
        optimizer.step()

    return step


def ours(batch: int, randomness: SecretRandomness | TorchRandomness) -> Step:
    """Return the step that `DPSGDTrainer` does, with SGD."""
    model = network()
    clipper = GradientClipper(model, *data(), CLIP)
    assert clipper.method == "closed form"
    vector = one_vector(clipper.parameters)
    optimizer = torch.optim.SGD([vector], lr=LEARNING_RATE, foreach=False)
    return lambda: noisy_step(
        clipper, vector, optimizer, randomness, sampling_rate=batch / ROWS, noise_multiplier=NOISE
    )


def variants(batch: int) -> dict[str, Step]:
    """Return what runs, by name."""
    return {
        "plain SGD, DataLoader": plain(batch, loader=True),
        "plain SGD": plain(batch, loader=False),
        HOOKS: opacus(batch, "hooks"),
        "opacus hooks, DataLoader": opacus(batch, "hooks", loader=True),
        "opacus ghost": opacus(batch, "ghost"),
        "opacus functorch": opacus(batch, "functorch"),
        "privfed": ours(batch, SecretRandomness()),
        "privfed, torch's noise": ours(batch, TorchRandomness()),
    }


def measure(batch: int, repeats: int) -> list[Row]:
    """Return a row for every variant at this expected batch size."""
    running = variants(batch)
    times: dict[str, list[float]] = {name: [] for name in running}
    for repeat in range(repeats + 1):
        for name, step in running.items():
            start = time.process_time()
            for _ in range(STEPS):
                step()
            if repeat:  # the first warms caches
                times[name].append((time.process_time() - start) / STEPS * 1e6)
    medians = {name: median(each) for name, each in times.items()}
    return [
        Row(name, batch, round(each, 1), round(medians[HOOKS] / each, 2), repeats)
        for name, each in medians.items()
    ]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", default="32,64", help="expected batch sizes, by commas")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Full backward hook is firing|Secure RNG")
    rows = [row for batch in asked.batch.split(",") for row in measure(int(batch), asked.repeats)]
    cells = [
        (
            row.variant,
            str(row.batch),
            f"{row.step_microseconds:.0f}",
            f"{row.times_faster:.1f}x",
        )
        for row in rows
    ]
    print_table(Table(("variant", "batch", "µs a step", "times hooks"), cells))
    if asked.json:
        write(asked.json, rows, ("privfed", "torch", "opacus", "numpy"))


if __name__ == "__main__":
    main()
