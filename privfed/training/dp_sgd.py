"""DP-SGD at one party: Opacus clips each row's gradient, secret randomness draws coins and noise.

Abadi et al., "Deep Learning with Differential Privacy", arXiv 1607.00133. Opacus's own noise comes
from torch's generator, which is none for secrets, so its optimizer gets another source here.

Dropout is off. torch draws its masks by place in the batch, so one row more or fewer would change
the masks and gradients of the rows behind it, by more than the clip norm that the noise hides.
"""

from __future__ import annotations

import warnings

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import Tensor, nn
from torch.nn import functional

from privfed.dp import PrivacyPlan
from privfed.dp.randomness import NoiseSource
from privfed.errors import BudgetExceededError, ConfigError
from privfed.training.local import LEARNING_RATE, carry_on
from privfed.training.model import log_probabilities


class DPSGDTrainer:
    """DP-SGD with Adam on Poisson batches, bound to a plan that it cannot overstep.

    Args:
        features: (n, d) float32 training rows of this party; n as in the plan.
        labels: (n,) int64.
        plan: sampling, clipping, noise and the number of rounds that were paid for.
        party: this party's place in the plan.
        randomness: coins and noise; seeded only in simulation.

    Raises:
        ConfigError: the rows are not those that the plan counts.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        plan: PrivacyPlan,
        party: int,
        randomness: NoiseSource,
        learning_rate: float = LEARNING_RATE,
    ) -> None:
        if len(features) != plan.rows[party]:
            raise ConfigError(
                f"the privacy plan counts {plan.rows[party]} training rows at party {party}, "
                f"which has {len(features)}: make the plan anew"
            )
        self._features, self._labels = features, labels
        self._plan, self._party, self._randomness = plan, party, randomness
        self._learning_rate = learning_rate
        self._rounds_left = plan.rounds
        self._adam: torch.optim.Adam | None = None

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        """Do one round's noisy steps; nothing depends on `seed`, coins and noise are secret.

        Raises:
            ConfigError: a gradient is not a finite number.
            BudgetExceededError: every round that the plan paid for is done.
        """
        if self._rounds_left == 0:
            raise BudgetExceededError(
                f"the plan's {self._plan.rounds} rounds are spent: make a new plan"
            )
        self._rounds_left -= 1
        self._adam = carry_on(self._adam, model, self._learning_rate)
        sampled = GradSampleModule(model, loss_reduction="mean")
        sampled.train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        try:
            self._steps(sampled, self._adam)
        finally:
            sampled.to_standard_module()  # takes Opacus's hooks off the model again
            for parameter in model.parameters():
                vars(parameter).pop("summed_grad", None)  # the clipped sum before the noise

    def _steps(self, sampled: nn.Module, adam: torch.optim.Adam) -> None:
        rate = self._plan.sampling_rates[self._party]
        optimizer = _SecretNoiseOptimizer(
            adam, self._plan, rate * len(self._features), self._randomness
        )
        for _ in range(self._plan.steps_per_round[self._party]):
            batch = torch.from_numpy(self._randomness.coins(rate, len(self._features)))
            optimizer.zero_grad()
            rows = int(batch.sum())
            losses = functional.nll_loss(
                log_probabilities(sampled(self._features[batch])),
                self._labels[batch],
                reduction="sum",
            )
            with warnings.catch_warnings():
                # Opacus hooks the first layer too, whose input needs no gradient; torch remarks it.
                warnings.filterwarnings("ignore", "Full backward hook is firing")
                torch.autograd.backward(losses / max(1, rows))  # an empty batch: noise alone
            optimizer.step()


class _SecretNoiseOptimizer(DPOptimizer):  # type: ignore[misc]
    """Opacus's clipping and scaling around noise from a source fit for secrets."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        plan: PrivacyPlan,
        expected_batch_size: float,
        randomness: NoiseSource,
    ) -> None:
        super().__init__(
            optimizer,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.l2_clip_norm,
            expected_batch_size=expected_batch_size,
        )
        self._randomness = randomness

    def clip_and_accumulate(self) -> None:
        """Clip as Opacus does, after refusing what no clipping bounds."""
        if any(not bool(torch.isfinite(sample).all()) for sample in self.grad_samples):
            raise ConfigError(
                "a row's gradient is not a finite number, so no clip norm bounds it: "
                "look for NaN or huge values in the features"
            )
        super().clip_and_accumulate()

    def add_noise(self) -> None:
        """Add the plan's Gaussian noise to each clipped sum."""
        for parameter in self.params:
            noise = self._randomness.gaussian(
                self.noise_multiplier * self.max_grad_norm, parameter.summed_grad.shape
            )
            parameter.grad = parameter.summed_grad + torch.from_numpy(noise).to(parameter.dtype)
