"""Federated averaging through the five steps of the paper, and training alone beside it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from privfed.errors import ConfigError
from privfed.training.averaging import Averaging, Exchange, add, subtract
from privfed.training.local import LocalTrainer
from privfed.training.model import Arrays, get_arrays, set_arrays

OnRound = Callable[[int, nn.Module, float, "Exchange | None"], None]
"""Called after each round: its number from 1, the model, seconds of training, the exchange."""


def train_alone(
    model: nn.Module, trainer: LocalTrainer, *, rounds: int, seed: int, on_round: OnRound
) -> None:
    """Train `model` in place for `rounds` epochs with nobody else."""
    for round_id in range(1, rounds + 1):
        start = time.perf_counter()
        trainer.train_epoch(model, batch_seed(seed, round_id, 0))
        on_round(round_id, model, time.perf_counter() - start, None)


def train_federated(
    model: nn.Module,
    trainers: Sequence[LocalTrainer],
    averaging: Averaging,
    *,
    rounds: int,
    seed: int,
    on_round: OnRound,
) -> None:
    """Train `model` in place, one local epoch of every party per round.

    Before each round the parties prepare what needs no update. Then the paper's steps: 1 they train
    locally; 2 they encrypt the update and upload it; 3 the server aggregates; 4 it returns the
    aggregate; 5 the parties update their models and wait for the next round.

    Raises:
        ConfigError: A party's update is not finite.
    """
    start_arrays = get_arrays(model)
    for round_id in range(1, rounds + 1):
        averaging.prepare(round_id)
        start = time.perf_counter()
        updates = []
        for party, trainer in enumerate(trainers):
            set_arrays(model, start_arrays)
            trainer.train_epoch(model, batch_seed(seed, round_id, party))
            updates.append(_finite(subtract(get_arrays(model), start_arrays), party))
        train_seconds = time.perf_counter() - start
        averaged = averaging.average(round_id, updates)
        start_arrays = add(start_arrays, averaged.mean)
        set_arrays(model, start_arrays)
        on_round(round_id, model, train_seconds, averaged)


def batch_seed(seed: int, round_id: int, party: int) -> int:
    """Derive the seed of one party's batches and dropout in one round; protects nobody."""
    text = f"{seed}/{round_id}/{party}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def initial_model(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Build a model whose initial weights follow from `seed` alone."""
    torch.manual_seed(seed)
    return build()


def _finite(update: Arrays, party: int) -> Arrays:
    if not all(np.isfinite(array).all() for array in update.values()):
        raise ConfigError(
            f"party {party}'s update holds NaN or infinite values: look at its features"
        )
    return update
