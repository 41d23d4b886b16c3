"""What a round is on a party's own rows: a local epoch, or one noisy step that its budget pays for.

Either is made on the model as it is, and taken once the round's mean or sum is opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from privfed.dp import NoiseShares, PrivacyBudget, SecretRandomness
from privfed.dp.shares import check_sum
from privfed.partner.adam import adam_step
from privfed.partner.progress import Finished
from privfed.training import Arrays, get_arrays, set_arrays
from privfed.training.averaging import add, subtract
from privfed.training.contributions import Contributor
from privfed.training.federated import batch_seed


class Work(Protocol):
    """A party's own part of every round."""

    def make(self, model: nn.Module, done: Finished) -> tuple[Mapping[str, NDArray[Any]], Arrays]:
        """Compute a round on the rows.

        Returns:
            What is sent, by name, and this party's own state after it. The model is as it was.
        """

    def take(self, done: Finished, moments: Arrays, opened: Any) -> tuple[Arrays, Arrays]:
        """Return the weights and the state after a round, whose mean or sum was opened."""


class LocalWork(Protocol):
    """Training by epochs: `AdamTrainer` and `DPSGDTrainer` of `privfed.training`."""

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        """Train one local epoch, in place."""

    def moments(self) -> Arrays:
        """Copy its state out."""

    def resume(self, model: nn.Module, moments: Arrays) -> None:
        """Go on with such a state."""


class LocalEpochs:
    """Federated averaging: an epoch, and how far it moved the weights.

    Args:
        trainer: Trains on the rows.
        seed: The plan's.
        place: This party's.
    """

    def __init__(self, trainer: LocalWork, seed: int, place: int) -> None:
        self._trainer, self._seed, self._place = trainer, seed, place

    def make(self, model: nn.Module, done: Finished) -> tuple[Arrays, Arrays]:
        """Train an epoch; return the update."""
        self._trainer.resume(model, done.moments)
        try:
            seed = batch_seed(self._seed, done.rounds + 1, self._place)
            self._trainer.train_epoch(model, seed)
            return subtract(get_arrays(model), done.weights), self._trainer.moments()
        finally:
            set_arrays(model, done.weights)

    def take(self, done: Finished, moments: Arrays, opened: Arrays) -> tuple[Arrays, Arrays]:
        """Add the mean update."""
        return add(done.weights, opened), moments


class NoisySteps:
    """A noisy step along the sum of all parties' clipped gradients, as `train_private` takes it.

    Args:
        contributor: This party's part of every sum; brings the plan.
        budget: This party's own: a round is on disk in it before a row is touched.
        learning_rate: Adam's.
    """

    def __init__(
        self, contributor: Contributor, budget: PrivacyBudget, learning_rate: float
    ) -> None:
        self._contributor, self._budget = contributor, budget
        self._plan, self._learning_rate = contributor.plan, learning_rate
        self._shares = NoiseShares(self._plan) if self._plan.is_shared else None
        self._randomness = SecretRandomness()
        self._expected = float(np.dot(self._plan.rows, self._plan.sampling_rates))

    def make(self, model: nn.Module, done: Finished) -> tuple[dict[str, NDArray[Any]], Arrays]:
        """Pay for a step, and make this party's part of it.

        Returns:
            The clipped sum: with this party's share of the noise, if it draws one.

        Raises:
            BudgetExceededError: The budget does not allow another round.
        """
        clipped = self._contributor.contribute(self._budget.spend_round(self._plan))
        if self._shares is None:
            check_sum(self._plan, clipped.flat, clipped.l2_sensitivity)
            return {"sum": clipped.flat}, {}
        drawn = self._shares.draw(clipped.flat, clipped.l2_sensitivity, self._randomness)
        return {"sum": drawn}, {}

    def take(
        self, done: Finished, moments: Arrays, opened: NDArray[np.float64]
    ) -> tuple[Arrays, Arrays]:
        """Step along the noisy sum over the expected number of rows."""
        return adam_step(done.weights, done.moments, opened / self._expected, self._learning_rate)
