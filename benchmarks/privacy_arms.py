"""The arms of benchmarks.privacy_accuracy, as data, and one run of one of them.

Every arm trains the same model from the same initial weights on the same split by Adam, and is
measured on the test rows of all parties. What differs is who trains, whose noise hides a row, and
who has to be trusted for that.
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from opacus import PrivacyEngine
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.privacy_rehearsal import rehearse
from benchmarks.privacy_split import PartitionedRows, Rows
from privfed.dp import Noise, PrivacyBudget, PrivacyPlan, SecretRandomness, calibrate
from privfed.errors import ConfigError
from privfed.training import (
    AdamTrainer,
    CentralNoise,
    DPSGDTrainer,
    Exchange,
    FloatAveraging,
    LocalNoise,
    NoisySums,
    RecordGradients,
    SharedNoise,
    evaluate,
    initial_model,
    train_alone,
    train_federated,
    train_private,
)
from privfed.training.clipping import RowLosses

Trust = Literal["everybody", "nobody", "server", "encryption"]

cached_plan = functools.cache(calibrate)


@dataclass(frozen=True)
class Setting:
    """What is tuned, and the clip norm.

    `steps` counts what each party's rows are noised and released for; `local_steps` of them make a
    round. Without privacy, clipping means nothing and a step is a local epoch of batches.
    """

    learning_rate: float
    sampling_rate: float
    steps: int
    local_steps: int
    l2_clip_norm: float


@dataclass
class Trial:
    """One training under way, and what it cost."""

    model: nn.Module
    rows: Sequence[Rows]
    row_losses: RowLosses
    setting: Setting
    seed: int
    plan: PrivacyPlan | None
    seconds: dict[str, float] = field(default_factory=dict)
    rounds: int = 0
    upload_bytes: int = 0
    opacus_epsilon: float | None = None

    @property
    def private(self) -> PrivacyPlan:
        """The plan of a private arm."""
        assert self.plan is not None
        return self.plan

    def on_round(
        self, round_id: int, model: nn.Module, train_seconds: float, exchange: Exchange | None
    ) -> None:
        """Add up what a round cost."""
        spent = {"train": train_seconds} | (exchange.seconds if exchange else {})
        self.seconds = {
            name: self.seconds.get(name, 0.0) + spent.get(name, 0.0)
            for name in {**self.seconds, **spent}
        }
        self.rounds, self.upload_bytes = round_id, exchange.upload_bytes if exchange else 0


def _plaintext(trial: Trial) -> None:
    def loss(scores: Tensor, labels: Tensor) -> Tensor:
        return trial.row_losses(scores, labels).mean()

    trainers = [
        AdamTrainer(
            *own,
            math.ceil(trial.setting.sampling_rate * len(own[1])),
            learning_rate=trial.setting.learning_rate,
            loss=loss,
        )
        for own in trial.rows
    ]
    _average(trial, trainers, trial.setting.steps)


def _local_dpsgd(trial: Trial) -> None:
    trainers = [
        DPSGDTrainer(
            *own,
            trial.private,
            place,
            SecretRandomness(),
            trial.setting.learning_rate,
            row_losses=trial.row_losses,
            budget=_budget(trial.private),
        )
        for place, own in enumerate(trial.rows)
    ]
    _average(trial, trainers, trial.private.rounds)


def _average(
    trial: Trial, trainers: Sequence[AdamTrainer] | Sequence[DPSGDTrainer], rounds: int
) -> None:
    averaging = FloatAveraging([len(labels) for _, labels in trial.rows])  # public, as in the plan
    train_federated(
        trial.model, trainers, averaging, rounds=rounds, seed=trial.seed, on_round=trial.on_round
    )


def _noisy_sums(make: Callable[[PrivacyPlan], NoisySums], trial: Trial) -> None:
    sums = make(trial.private)
    contributors = [
        RecordGradients(
            trial.model, *own, sums.plan, place, SecretRandomness(), row_losses=trial.row_losses
        )
        for place, own in enumerate(trial.rows)
    ]
    adam = torch.optim.Adam(trial.model.parameters(), lr=trial.setting.learning_rate)
    budget = _budget(sums.plan)
    train_private(trial.model, contributors, sums, budget, adam, on_round=trial.on_round)


def _budget(plan: PrivacyPlan) -> PrivacyBudget:
    """Return what one run may spend, in memory: nobody's rows are protected beyond it."""
    return PrivacyBudget(plan.epsilon, plan.delta, privacy_unit=plan.privacy_unit)


class _OpacusTrainer:
    """Opacus as its users run it: its engine, its sampler, its noise; only σ comes from our plan.

    The engine takes the sampling rate as one over the loader's batches, so the batch size is
    chosen to make that the plan's. Its coins and noise are torch's, which guard no secret.
    """

    def __init__(self, trial: Trial) -> None:
        plan, ((features, labels),) = trial.private, trial.rows
        (rate,), (count,) = plan.sampling_rates, plan.rows
        batches = DataLoader(TensorDataset(features, labels), batch_size=math.ceil(rate * count))
        if len(batches) * rate != 1:
            raise ConfigError(
                f"Opacus would sample {count} rows at 1/{len(batches)}, the plan at {rate:g}: "
                "choose a rate that is one over a whole number, or more rows"
            )
        adam = torch.optim.Adam(trial.model.parameters(), lr=trial.setting.learning_rate)
        self._engine = PrivacyEngine()
        self._model, self._adam, self._batches = self._engine.make_private(
            module=trial.model,
            optimizer=adam,
            data_loader=batches,
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.l2_clip_norm,
        )
        self._row_losses = trial.row_losses
        self._left: list[tuple[Tensor, Tensor]] = []

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        """Do one step; batches come a pass at a time."""
        self._left = self._left or list(self._batches)
        features, labels = self._left.pop()
        self._adam.zero_grad()
        losses = self._row_losses(self._model(features), labels)
        torch.autograd.backward(losses.sum() / max(1, len(labels)))
        self._adam.step()

    def epsilon(self, delta: float) -> float:
        """Return ε as Opacus's own accountant has it."""
        return float(self._engine.get_epsilon(delta))


def _opacus_alone(trial: Trial) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of noise that is no secret, and of hooks
        torch.manual_seed(trial.seed)
        trainer = _OpacusTrainer(trial)
        for module in trial.model.modules():
            if isinstance(module, nn.Dropout):  # as in all private arms
                module.p = 0.0
        rounds = trial.private.rounds
        train_alone(trial.model, trainer, rounds=rounds, seed=trial.seed, on_round=trial.on_round)
        trial.opacus_epsilon = trainer.epsilon(trial.private.delta)


@dataclass(frozen=True)
class Outcome:
    """What a training came to: accuracy on the test rows of all parties, and what it cost."""

    accuracy: float
    plan: PrivacyPlan | None
    seconds: dict[str, float]
    rounds: int
    upload_bytes: int
    opacus_epsilon: float | None
    test_rows: int


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: The name in the JSON.
        label: The name for people.
        trusts: Who is trusted with what the noise hides; "encryption" is nobody, provided that at
            most t parties collude and that encryption holds.
        noise: Whose noise its plan has; None: it has no plan.
        train: Changes the trial's model in place.
        alone: Whether the first party trains by itself.
        local_steps: Noisy steps per round; tuning chooses among these numbers.
        rehearse: A quicker way to train, for tuning.
    """

    name: str
    label: str
    trusts: Trust
    noise: Noise | None
    train: Callable[[Trial], None]
    alone: bool = False
    local_steps: tuple[int, ...] = (1,)
    rehearse: Callable[[Trial], None] | None = None

    def plan(
        self, setting: Setting, partitioned: PartitionedRows, epsilon: float, delta: float
    ) -> PrivacyPlan | None:
        """Calibrate the noise of all its steps to ε against insiders, at the worst-placed unit."""
        if self.noise is None:
            return None
        rows = partitioned.rows[:1] if self.alone else partitioned.rows
        placements = {each[: len(rows)] for each in partitioned.placements}
        return cached_plan(
            epsilon,
            delta,
            noise=self.noise,
            rows=tuple(len(labels) for _, labels in rows),
            rounds=setting.steps // setting.local_steps,
            steps_per_round=(setting.local_steps,) * len(rows),
            sampling_rates=(setting.sampling_rate,) * len(rows),
            l2_clip_norm=setting.l2_clip_norm,
            placements=tuple(sorted(each for each in placements if any(each))),
            privacy_unit=partitioned.privacy_unit,
            dimension=sum(parameter.numel() for parameter in partitioned.build().parameters()),
        )

    def run(
        self,
        setting: Setting,
        partitioned: PartitionedRows,
        *,
        epsilon: float | None,
        delta: float,
        rehearsal: bool = False,
    ) -> Outcome:
        """Train once."""
        plan = None if epsilon is None else self.plan(setting, partitioned, epsilon, delta)
        model = initial_model(partitioned.build, partitioned.seed)
        rows = partitioned.rows[:1] if self.alone else partitioned.rows
        trial = Trial(model, rows, partitioned.row_losses, setting, partitioned.seed, plan)
        (self.rehearse if rehearsal and self.rehearse else self.train)(trial)
        return Outcome(
            accuracy=evaluate(model, *partitioned.test).accuracy,
            plan=plan,
            seconds=trial.seconds,
            rounds=trial.rounds,
            upload_bytes=trial.upload_bytes,
            opacus_epsilon=trial.opacus_epsilon,
            test_rows=len(partitioned.test[1]),
        )


def _rehearsal(trial: Trial, *, averaged: bool) -> None:
    rehearse(
        trial.model,
        trial.rows,
        trial.row_losses,
        trial.private,
        learning_rate=trial.setting.learning_rate,
        seed=trial.seed,
        averaged=averaged,
    )


_like_sums = functools.partial(_rehearsal, averaged=False)
_like_averages = functools.partial(_rehearsal, averaged=True)
_on_sums = functools.partial(functools.partial, _noisy_sums)

ARMS = (
    Arm("plaintext", "no privacy, FedAvg", "everybody", None, _plaintext),
    Arm(
        "local-noise",
        "local noise, FedSGD",
        "nobody",
        "local",
        _on_sums(LocalNoise),
        rehearse=_like_sums,
    ),
    Arm(
        "local-dpsgd-fedavg",
        "local DP-SGD, FedAvg",
        "nobody",
        "local",
        _local_dpsgd,
        local_steps=(2, 5),
        rehearse=_like_averages,
    ),
    Arm(
        "noise-shares",
        "noise shares, encrypted",
        "encryption",
        "shares",
        _on_sums(SharedNoise),
        rehearse=_like_sums,
    ),
    Arm(
        "central-noise",
        "central noise",
        "server",
        "central",
        _on_sums(CentralNoise),
        rehearse=_like_sums,
    ),
    Arm("single-party", "one party alone, Opacus", "nobody", "local", _opacus_alone, alone=True),
)
