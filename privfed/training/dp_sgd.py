"""DP-SGD at one party: every row's gradient clipped, coins and noise from secret randomness.

Abadi et al., "Deep Learning with Differential Privacy", arXiv 1607.00133. Clipping, and why dropout
is off, is in `privfed.training.clipping`.
"""

from __future__ import annotations

import warnings

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from privfed.dp import PrivacyBudget, PrivacyPlan
from privfed.dp.batches import poisson_batch
from privfed.dp.randomness import NoiseSource, require_secret
from privfed.errors import ConfigError, PrivacyWarning
from privfed.training.clipping import GradientClipper, cross_entropy_by_row
from privfed.training.contributions import check_rows
from privfed.training.local import LEARNING_RATE, carry_on, moments_of, put_moments
from privfed.training.model import Arrays
from privfed.training.row_kernels import RowLosses
from privfed.training.rows import Features, PublicRows, count_rows
from privfed.training.structure import same_structure, structure
from privfed.training.vector import one_vector


class DPSGDTrainer:
    """DP-SGD with Adam on Poisson batches, bound to a plan that it cannot exceed.

    Args:
        features: (n, …) training rows of this party, or such by name, or a Dataset; n as in the
            plan.
        labels: (n,); None: a Dataset gives pairs.
        plan: Sampling, clipping, local noise and the number of rounds that were paid for.
        party: This party's place in the plan.
        randomness: Coins and noise; seeded only in simulation.
        row_losses: Each row's loss; by default the paper's cross-entropy.
        budget: This party's own; every round is paid for before it runs, and a restart with the
            same file goes on with what is left. None: the plan's rounds, kept in memory, and
            outside of simulation a `PrivacyWarning`: each new trainer starts from nothing spent.
        ids: The unit of each row, which are then checked against the plan's placements.
        simulation: Allow seeded randomness, which protects nobody.
        public_rows: See `GradientClipper`.
        strict: See `GradientClipper`.

    Raises:
        ConfigError: The plan's noise is not local, the rows are not those that it counts, the
            budget protects another unit, or the randomness is seeded.
    """

    def __init__(
        self,
        features: Features,
        labels: Tensor | None,
        plan: PrivacyPlan,
        party: int,
        randomness: NoiseSource,
        learning_rate: float = LEARNING_RATE,
        *,
        row_losses: RowLosses = cross_entropy_by_row,
        budget: PrivacyBudget | None = None,
        ids: ArrayLike | None = None,
        simulation: bool = False,
        public_rows: PublicRows | None = None,
        strict: bool = False,
    ) -> None:
        if plan.noise != "local":
            raise ConfigError(
                f"the plan's noise is {plan.noise}, but here a party trains on its own noise: "
                "calibrate a local one"
            )
        check_rows(plan, party, count_rows(features), ids)
        require_secret([randomness], simulation)
        self._features, self._labels = features, labels
        self._public_rows, self._strict = public_rows, strict
        self._plan, self._party, self._randomness = plan, party, randomness
        self._learning_rate, self._row_losses = learning_rate, row_losses
        if budget is None:
            if not simulation:
                warnings.warn(
                    "no budget is given: another trainer on these rows would not know what this "
                    "one spends; give a PrivacyBudget with a path",
                    PrivacyWarning,
                    stacklevel=2,
                )
            budget = PrivacyBudget(plan.epsilon, plan.delta, privacy_unit=plan.privacy_unit)
        budget.rounds_left(plan)  # refuses another unit
        self._budget = budget
        self._adam: torch.optim.Adam | None = None
        self._clipper: GradientClipper | None = None
        self._structure: list[object] = []

    def statement(self) -> str:
        """Return what the plan promises, and what is assumed of the model trained last for it."""
        return (
            self._plan.statement() if self._clipper is None else self._clipper.statement(self._plan)
        )

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        """Do one round's noisy steps; nothing depends on `seed`, coins and noise are secret.

        Raises:
            ConfigError: A weight is not a finite number, or the model can't be clipped.
            BudgetExceededError: The plan's rounds are done, or the budget does not allow another;
                no row was touched.
        """
        clipper = self._clipper_of(model)
        self._budget.spend_round(self._plan)
        vector = one_vector(clipper.parameters)
        self._adam = self._adam_of(vector, self._adam)
        sizes = self._plan.truncated_batch_sizes
        most = None if sizes is None else sizes[self._party]
        for _ in range(self._plan.steps_per_round[self._party]):
            noisy_step(
                clipper,
                vector,
                self._adam,
                self._randomness,
                sampling_rate=self._plan.sampling_rates[self._party],
                noise_multiplier=self._plan.noise_multiplier,
                most=most,
            )

    def moments(self) -> Arrays:
        """Copy Adam's state out, as of noisy sums alone; nothing before the first epoch."""
        return moments_of(self._adam)

    def resume(self, model: nn.Module, moments: Arrays) -> None:
        """Go on with what `moments` returned, in another process; the budget has its own file.

        Raises:
            ConfigError: They are those of another model, or the model can't be clipped.
        """
        adam = self._adam_of(one_vector(self._clipper_of(model).parameters), None)
        put_moments(adam, moments)
        self._adam = adam

    def _adam_of(self, vector: nn.Parameter, before: torch.optim.Adam | None) -> torch.optim.Adam:
        return carry_on(before, nn.ParameterList([vector]), self._learning_rate, fused=True)

    def _clipper_of(self, model: nn.Module) -> GradientClipper:
        """Return the clipper of before, unless this is another model or it has changed."""
        if self._clipper is None or not same_structure(structure(model), self._structure):
            self._clipper = GradientClipper(
                model,
                self._features,
                self._labels,
                self._plan.l2_clip_norm,
                row_losses=self._row_losses,
                expected_rows=self._plan.sampling_rates[self._party] * count_rows(self._features),
                public_rows=self._public_rows,
                strict=self._strict,
            )
            self._structure = structure(model)
        return self._clipper


def noisy_step(
    clipper: GradientClipper,
    vector: nn.Parameter,
    optimizer: torch.optim.Optimizer,
    randomness: NoiseSource,
    *,
    sampling_rate: float,
    noise_multiplier: float,
    most: int | None = None,
) -> None:
    """Step along the noisy sum of a Poisson batch's clipped gradients, over its expected number.

    `vector` holds the clipper's parameters, and `optimizer` steps on it. An empty batch makes a
    step, too, along noise alone; of one longer than `most` coins choose what stays. The noise's
    standard deviation is `noise_multiplier` times the sum's sensitivity; nothing else that depends
    on rows reaches `optimizer`.
    """
    batch = poisson_batch(randomness, sampling_rate, clipper.rows, most)
    clipped = clipper.clipped_sum(batch)
    released = randomness.noisy(clipped.flat, noise_multiplier * clipped.l2_sensitivity)
    gradient = vector.grad
    if gradient is None:
        vector.grad = gradient = torch.empty_like(vector)
    gradient.copy_(torch.from_numpy(released)).div_(sampling_rate * clipper.rows)
    optimizer.step()
