"""One data set and seeded randomness for the suites of this room."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from privfed.audit.canaries import Sources
from privfed.data import Dataset, load_dataset
from privfed.dp import SeededRandomness

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def dresses() -> Dataset:
    return load_dataset("dresses", "surrogate")


@pytest.fixture(scope="session")
def onehot() -> Dataset:
    return load_dataset("dresses", "surrogate", encoding="onehot")


@pytest.fixture(scope="session")
def seeded() -> Callable[[int], Sources]:
    """Sources of a simulation: each call of one gives another stream."""

    def of(seed: int) -> Sources:
        numbers = itertools.count()
        return lambda: SeededRandomness(seed, next(numbers))

    return of
