"""Trainers that go on in another process, with Adam's state copied out and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from privfed.dp import PrivacyPlan, SeededRandomness
from privfed.dp.randomness import NoiseSource
from privfed.errors import ConfigError
from privfed.training import (
    AdamTrainer,
    Arrays,
    DPSGDTrainer,
    get_arrays,
    initial_model,
    set_arrays,
    weights_sha256,
)

N = 24


def plan() -> PrivacyPlan:
    return PrivacyPlan(
        noise="local",
        rounds=9,
        rows=(N,),
        sampling_rates=(0.5,),
        steps_per_round=(2,),
        l2_clip_norm=0.5,
        noise_multiplier=1.0,
        delta=1e-5,
        privacy_unit="one row",
        placements=((1,),),
        quorum=1,
    )


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(4)
    return torch.randn(N, 6, generator=draw), torch.randint(0, 2, (N,), generator=draw)


def plain(source: NoiseSource) -> AdamTrainer:
    return AdamTrainer(*rows(), 8)


def in_one(source: NoiseSource) -> AdamTrainer:
    return AdamTrainer(*rows(), 8, in_one=True)


def private(source: NoiseSource) -> DPSGDTrainer:
    return DPSGDTrainer(*rows(), plan(), 0, source, simulation=True)


def half(source: NoiseSource) -> AdamTrainer:
    x, y = rows()
    return AdamTrainer(x.bfloat16(), y, 8)


def stack() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


def frozen() -> nn.Sequential:
    model = stack()
    model[0].requires_grad_(False)
    return model


Trainers = Callable[[NoiseSource], AdamTrainer | DPSGDTrainer]
KINDS: dict[str, tuple[Trainers, Callable[[], nn.Module]]] = {
    "plain": (plain, stack),
    "plain, in one": (in_one, stack),
    "plain, frozen": (plain, frozen),
    "plain, half": (half, lambda: stack().bfloat16()),
    "private": (private, stack),
    "private, frozen": (private, frozen),
    "private, half": (private, lambda: stack().bfloat16()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_another_trainer_goes_on_as_the_first_would(kind: str) -> None:
    make, build = KINDS[kind]
    model, trainer = initial_model(build, 1), make(SeededRandomness(1))
    assert trainer.moments() == {}
    for epoch in (1, 2):
        trainer.train_epoch(model, epoch)
    source = SeededRandomness(1)
    first_model, first = initial_model(build, 1), make(source)
    first.train_epoch(first_model, 1)
    second_model, second = initial_model(build, 2), make(source)
    set_arrays(second_model, get_arrays(first_model))
    second.resume(second_model, first.moments())
    assert bits(second.moments()) == bits(first.moments())
    second.train_epoch(second_model, 2)
    assert weights_sha256(get_arrays(second_model)) == weights_sha256(get_arrays(model))
    assert bits(second.moments()) == bits(trainer.moments()) != bits(first.moments())


def bits(moments: Arrays) -> dict[str, bytes]:
    return {name: each.tobytes() for name, each in moments.items()}


@pytest.mark.parametrize("make", [plain, in_one, private])
def test_what_is_no_state_of_the_model_is_refused(make: Trainers) -> None:
    model, trainer = initial_model(stack, 1), make(SeededRandomness(1))
    trainer.train_epoch(model, 1)
    kept = trainer.moments()
    bad = [
        {**kept, "0/exp_avg": np.zeros(3, np.float32)},
        {**kept, "9/step": np.zeros((), np.float32)},
        {**kept, "step": np.zeros((), np.float32)},
        {name: each for name, each in kept.items() if name != "0/step"},
    ]
    for moments in bad:
        with pytest.raises(ConfigError, match="moments are those of another model"):
            make(SeededRandomness(2)).resume(model, moments)
    wider = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2))
    with pytest.raises(ConfigError, match="moments are those of another model"):
        make(SeededRandomness(2)).resume(wider, kept)
    fresh = make(SeededRandomness(2))
    fresh.resume(model, {})
    assert fresh.moments() == {}
