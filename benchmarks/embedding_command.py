"""`privfed train` over its own gRPC for `benchmarks.embedding`: parties that add a constant.

It is `benchmarks.partner` without the training. A party's update is what it adds, and all values
are in it; the model has as many of them as a first layer of some width comes to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.embedding_work import STEP, Cost
from benchmarks.partner import Job, Method, train
from privfed.data import Dataset
from privfed.dp import PrivacyBudget
from privfed.partner.plan import Plan
from privfed.partner.progress import Finished
from privfed.partner.work import Work
from privfed.training import Arrays, get_arrays
from privfed.training.averaging import add

__all__ = ["Adding", "run"]

_TOLERANCE = 1e-5


class Constant:
    """A party's part of every round.

    Args:
        step: What it adds.
        mean: What all add on average, by their rows.
    """

    def __init__(self, step: float, mean: float) -> None:
        self._step, self._mean = step, mean

    def make(self, model: nn.Module, done: Finished) -> tuple[Mapping[str, NDArray[Any]], Arrays]:
        """Return what it adds."""
        step = np.float32(self._step)
        return {name: np.full_like(each, step) for name, each in get_arrays(model).items()}, {}

    def take(self, done: Finished, moments: Arrays, opened: Arrays) -> tuple[Arrays, Arrays]:
        """Check the mean, and add it.

        Returns:
            The model, and no state.

        Raises:
            ValueError: It is another one.
        """
        error = max(float(np.abs(each - self._mean).max()) for each in opened.values())
        if not error < _TOLERANCE:
            raise ValueError(f"the mean of round {done.rounds + 1} is off by {error}")
        return add(done.weights, opened), moments


@dataclass(frozen=True)
class Adding(Job):
    """Parties that add constants."""

    @classmethod
    def of(cls, clients: int, params: int, rounds: int) -> "Adding":
        """Return a job of about that many values."""
        dataset = cls(clients, 0, rounds, None).dataset
        features, classes = dataset.features.shape[1], len(dataset.class_names)
        width = round((params - classes) / (features + 1 + classes))
        return cls(clients, max(width, 1), rounds, None)

    def work(
        self, plan: Plan, place: int, rows: Dataset, model: nn.Module, budget: PrivacyBudget | None
    ) -> Work:
        """Return what a party does in each round."""
        steps = [STEP * (each + 1) for each in range(self.parties)]
        counts = [len(each.train) for each in self.held]
        return Constant(steps[place], float(np.average(steps, weights=counts)))


def run(job: Adding, method: Method) -> list[Cost]:
    """Return what each round of a training cost, but for the first and the last one.

    Args:
        job: Who trains what.
        method: "plain" or "encrypted".
    """
    told = train(job, method)
    server = fmean(party["server_cpu"] for party in told) / job.rounds
    return [
        {
            "round_seconds": median(after["round"] for _, after in parties),
            "upload_bytes": fmean(after["upload"] for _, after in parties),
            "download_bytes": fmean(after["download"] for _, after in parties),
            "cpu_seconds": server + sum(after["cpu"] - before["cpu"] for before, after in parties),
        }
        for parties in zip(*(pairwise(party["rounds"][:-1]) for party in told), strict=True)
    ]
