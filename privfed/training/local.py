"""Training at one party, on rows that never leave it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from privfed.errors import ConfigError
from privfed.training.model import Arrays, cross_entropy
from privfed.training.rows import Features, LabelledRows, PublicRows, wide
from privfed.training.vector import one_vector

LEARNING_RATE = 1e-3
BATCH_SIZE = 32
BETAS = (0.9, 0.999)


class LocalTrainer(Protocol):
    """One party's training: changes the model in place."""

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        """Train one local epoch; `seed` fixes batches and dropout where nothing needs secrecy."""


class AdamTrainer:
    """Plain Adam on mini-batches; the party keeps its moments from round to round, as in Keras.

    Args:
        features: (n, …) training rows of this party, or such by name, or a Dataset.
        labels: (n,); None: a Dataset gives pairs.
        batch_size: LabelledRows in a batch; the last one may be smaller.
        learning_rate: Adam's learning rate.
        loss: Mean loss of scores (n, …) and labels (n,); by default the paper's cross-entropy.
        public_rows: Features and labels in the form of a Dataset's.
        in_one: Step on all parameters as one vector, which is quicker and gives the same weights
            where every one of them has a part in every batch's loss.

    Raises:
        ConfigError: These are no rows, each with a label.
    """

    def __init__(
        self,
        features: Features,
        labels: Tensor | None,
        batch_size: int = BATCH_SIZE,
        *,
        learning_rate: float = LEARNING_RATE,
        loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
        public_rows: PublicRows | None = None,
        in_one: bool = False,
    ) -> None:
        self._rows, self._batch_size = LabelledRows(features, labels, public_rows), batch_size
        self._learning_rate, self._loss, self._in_one = learning_rate, loss, in_one
        self._optimizer: torch.optim.Adam | None = None

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        """Run one epoch of shuffled batches."""
        self._optimizer = carry_on(self._optimizer, self._stepped(model), self._learning_rate)
        seed_draws(model, seed)
        model.train()
        for batch in torch.split(torch.randperm(self._rows.count), self._batch_size):
            features, labels = self._rows.take(batch.numpy())
            self._optimizer.zero_grad(set_to_none=not self._in_one)
            loss = self._loss(model(features), labels)
            torch.autograd.backward(loss)
            self._optimizer.step()

    def moments(self) -> Arrays:
        """Copy Adam's state out, by names of its own; nothing before the first epoch."""
        return moments_of(self._optimizer)

    def resume(self, model: nn.Module, moments: Arrays) -> None:
        """Go on with what `moments` returned, in another process.

        Raises:
            ConfigError: They are those of another model.
        """
        self._optimizer = carry_on(None, self._stepped(model), self._learning_rate)
        put_moments(self._optimizer, moments)

    def _stepped(self, model: nn.Module) -> nn.Module:
        """Return what holds the parameters that Adam steps on."""
        if not self._in_one:
            return model
        parameters = list(model.parameters())
        vector = one_vector(parameters)
        vector.grad = torch.zeros_like(vector)
        parts = torch.split(vector.grad, [each.numel() for each in parameters])
        for each, part in zip(parameters, parts, strict=True):
            each.grad = part.view_as(each)  # where the gradient is added up
        return nn.ParameterList([vector])


def seed_draws(model: nn.Module, seed: int) -> None:
    """Fix what torch draws for a model from here on: batches and dropout."""
    if all(each.device.type == "cpu" for each in model.parameters()):
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)  # keeps a trace of its caller for each kind of device: 0.5 ms


def moments_of(optimizer: torch.optim.Adam | None) -> Arrays:
    """Copy Adam's state out; half types, which numpy has not, become float32."""
    if optimizer is None:
        return {}
    return {
        f"{place}/{name}": wide(value).numpy().copy()
        for place, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def put_moments(optimizer: torch.optim.Adam, moments: Arrays) -> None:
    """Copy into a new Adam what `moments_of` returned; what was never trained has no state.

    Raises:
        ConfigError: They are those of another model.
    """
    whole = optimizer.state_dict()
    (group,) = optimizer.param_groups
    state: dict[int, dict[str, Tensor]] = {}
    for place, parameter in enumerate(group["params"]):
        shapes = {"step": (), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
        own = {name: moments[key] for name in shapes if (key := f"{place}/{name}") in moments}
        if own and {name: each.shape for name, each in own.items()} != shapes:
            break
        if own:
            state[place] = {name: torch.from_numpy(each.copy()) for name, each in own.items()}
    if len(moments) != sum(map(len, state.values())):
        raise ConfigError("Adam's moments are those of another model")
    optimizer.load_state_dict(whole | {"state": state})


def carry_on(
    previous: torch.optim.Adam | None,
    model: nn.Module,
    learning_rate: float = LEARNING_RATE,
    *,
    fused: bool | None = None,
) -> torch.optim.Adam:
    """Make an Adam for this round's copy of the model, with the moments of the previous round."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, betas=BETAS, fused=fused)
    if previous is not None:
        optimizer.load_state_dict(previous.state_dict())
    return optimizer


def adam_reach(steps: int, learning_rate: float = LEARNING_RATE) -> float:
    """Return how far, at most, `steps` steps of Adam can move a parameter, whatever the data.

    A step is at most learning_rate·|m̂|/√v̂. By Cauchy-Schwarz on the two moving averages,
    |m|/√v ≤ (1-β₁)/√(1-β₂) / √(1-β₁²/β₂), and the bias corrections only shrink it. So a clip range
    that parties agree on beforehand can hold every update; one part in a hundred covers rounding.
    """
    beta1, beta2 = BETAS
    per_step = (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))
    return 1.01 * steps * learning_rate * per_step
