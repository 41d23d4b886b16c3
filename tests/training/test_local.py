"""Plain training at a party: batches, moments, how far Adam reaches, and repeatability."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from torch import nn

from privfed.training import (
    AdamTrainer,
    adam_reach,
    evaluate,
    get_arrays,
    initial_model,
    paper_network,
    train_alone,
    weights_sha256,
)
from privfed.training.federated import batch_seed
from privfed.training.local import carry_on
from privfed.training.model import cross_entropy
from tests.training import digests as training_digests


def rows(n: int = 70, features: int = 12, classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, features, generator=generator)
    return x, torch.randint(0, classes, (n,), generator=generator)


def test_an_epoch_takes_every_row_once() -> None:
    x, y = rows()
    seen: list[torch.Tensor] = []
    model = paper_network(12, 2)
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    AdamTrainer(x, y, batch_size=32).train_epoch(model, seed=1)
    assert [len(batch) for batch in seen] == [32, 32, 6]
    order = sorted(map(tuple, torch.cat(seen).tolist()))
    assert order == sorted(map(tuple, x.tolist()))
    assert not torch.equal(torch.cat(seen), x)  # shuffled


@pytest.mark.parametrize("in_one", [False, True])
@pytest.mark.parametrize(("features", "classes"), [(12, 2), (13, 3), (50, 10)])
def test_two_epochs_are_keras_adam_with_lasting_moments(
    features: int, classes: int, in_one: bool
) -> None:
    """Against one torch.optim.Adam over both, on the same batches and dropout."""
    x, y = rows(70, features, classes)
    trained, by_hand = (
        initial_model(lambda: paper_network(features, classes), 5) for _ in range(2)
    )
    trainer = AdamTrainer(x, y, in_one=in_one)
    for seed in (1, 2):
        trainer.train_epoch(trained, seed)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=1e-3, betas=(0.9, 0.999))
    by_hand.train()
    for seed in (1, 2):
        torch.manual_seed(seed)
        for batch in torch.split(torch.randperm(len(x)), 32):
            optimizer.zero_grad()
            cross_entropy(by_hand(x[batch]), y[batch]).backward()
            optimizer.step()
    assert weights_sha256(get_arrays(trained)) == weights_sha256(get_arrays(by_hand))


def test_training_learns() -> None:
    x, y = rows(200)
    y = (x[:, 0] > 0).long()
    losses: list[float] = []
    model = initial_model(lambda: paper_network(12, 2), 0)
    train_alone(
        model,
        AdamTrainer(x, y),
        rounds=20,
        seed=0,
        on_round=lambda number, net, seconds, averaged: losses.append(evaluate(net, x, y).loss),
    )
    assert len(losses) == 20
    assert losses[-1] < losses[0] / 3


def test_batch_seeds_are_never_shared() -> None:
    found = {batch_seed(s, r, p) for s in range(5) for r in range(1, 60) for p in range(5)}
    assert len(found) == 5 * 59 * 5
    assert all(0 <= seed < 2**63 for seed in found)


def moved(gradients: np.ndarray, first: int) -> float:
    """How far Adam moves one parameter from step `first` on, its moments warmed up before."""
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.zero_()
    optimizer, before = carry_on(None, model), 0.0
    for number, gradient in enumerate(gradients):
        if number == first:
            before = model.weight.item()
            optimizer = carry_on(optimizer, model)
        model.weight.grad = torch.tensor([[float(gradient)]])
        optimizer.step()
    return abs(model.weight.item() - before)


# Growing by β₂/β₁ a step makes Cauchy-Schwarz tight; quiet steps before end the bias correction.
GROWING = np.concatenate(
    [np.zeros(4000), (0.999 / 0.9) ** np.arange(-200.0, 200.0)], dtype=np.float32
)


@settings(deadline=None)
@given(
    arrays_of.arrays(
        np.float32,
        st.integers(1, 60),
        elements=st.one_of(
            st.sampled_from([0.0, 1.0, -1.0, 1e-30, 1e30]),
            st.floats(-(2.0**126), 2.0**126, width=32),
        ),
    ),
    st.integers(0, 10**4),
)
@example(np.array([0.0] * 40 + [1.0] * 10, np.float32), 40)
@example(np.array([1e-8] * 40 + [1e8] * 10, np.float32), 40)
@example(GROWING, len(GROWING) - 10)
def test_no_gradients_move_a_parameter_past_the_reach(gradients: np.ndarray, first: int) -> None:
    first %= len(gradients)
    assert moved(gradients, first) <= adam_reach(len(gradients) - first)


def test_the_reach_is_not_far_from_what_an_adversary_gets() -> None:
    assert moved(GROWING, len(GROWING) - 10) > 0.95 * adam_reach(10)


def test_the_reach_grows_with_steps_and_rate() -> None:
    assert adam_reach(10) == pytest.approx(10 * adam_reach(1))
    assert adam_reach(3, 2e-3) == pytest.approx(2 * adam_reach(3, 1e-3))


def test_a_seed_gives_the_same_weights_in_another_process() -> None:
    """Through encryption, whose keys differ."""
    done = subprocess.run(
        [sys.executable, training_digests.__file__, "7"], capture_output=True, text=True, check=True
    )
    here = training_digests.digests(7)
    assert done.stdout.split() == here
    assert len(set(here)) == 3
    assert not set(here) & set(training_digests.digests(8))
