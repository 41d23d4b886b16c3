"""One split with one seed: its plans, its training, its runs."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from privfed.data import Dataset, PartyRows
from privfed.dp import PrivacyBudget, PrivacyPlan, SecretRandomness, calibrate
from privfed.dp.accounting import worst_placements
from privfed.experiment.arms import MAJORITY, MEAN, Arm
from privfed.experiment.comparing import Entrant, RowAnswers
from privfed.experiment.exposure import Exposure
from privfed.experiment.model_file import SavedModel, in_file_name, load_model, save_model
from privfed.experiment.recorder import Recorder, TestRows
from privfed.experiment.references import reference_scores
from privfed.experiment.results import Run
from privfed.experiment.settings import Settings
from privfed.rounding import as_given
from privfed.training import (
    AdamTrainer,
    Arrays,
    Averaging,
    CentralNoise,
    DPSGDTrainer,
    FloatAveraging,
    LocalNoise,
    LocalTrainer,
    NoisySums,
    RecordGradients,
    SecureAveraging,
    SharedNoise,
    adam_reach,
    get_arrays,
    initial_model,
    train_alone,
    train_federated,
    train_private,
)
from privfed.training.builders import DRESS, LINEAR, model_builder
from privfed.training.local import BATCH_SIZE, LEARNING_RATE
from privfed.training.losses import LOSSES
from privfed.training.model import AnyLoss

Rows = tuple[Tensor, Tensor]

# The seeds of a split seldom differ in the worst placement, and calibration takes a second.
_cached_plan = functools.lru_cache(maxsize=None)(calibrate)


@dataclass(frozen=True)
class Job:
    """One run to do: an arm on a split with a seed, at an ε if it is private."""

    arm: Arm
    split: str
    seed: int
    epsilon: float | None
    rounds: int

    @property
    def title(self) -> str:
        """What runs, for a progress bar."""
        at = "" if self.epsilon is None else f" ε={as_given(self.epsilon)}"
        return f"{self.split}, seed {self.seed}: {self.arm.name}{at}"


@dataclass(frozen=True)
class PartitionedData:
    """Who has which rows, and what intersection said of them; None where the data has no IDs."""

    settings: Settings
    dataset: Dataset
    parties: tuple[PartyRows, ...]
    exposure: Exposure | None

    def run(self, job: Job, directory: Path, advance: Callable[[int], None]) -> Run:
        """Train one arm, save its model in `directory`, and return its record."""
        if job.arm.private and self.settings.centred and not self.dataset.encoder.centred:
            return replace(self, dataset=self.dataset.centred()).run(job, directory, advance)
        arrays, plan, recorder = self.trained(job, advance)
        model, loss = self._kind(job.arm)
        at = "" if job.epsilon is None else f"-epsilon{as_given(job.epsilon)}"
        name = f"models/{job.split}-{in_file_name(job.arm.name)}{at}-seed{job.seed}.npz"
        about = f"{self.dataset.name} ({self.dataset.source}); {job.title}"
        save_model(
            directory / name,
            SavedModel(
                arrays,
                self.dataset.encoder,
                self.dataset.class_names,
                about,
                model,
                loss,
                self.dataset.label_range,
            ),
        )
        return recorder.finish(job.arm, job.split, job.seed, job.epsilon, plan, arrays, name)

    def trained(
        self, job: Job, advance: Callable[[int], None]
    ) -> tuple[Arrays, PrivacyPlan | None, Recorder]:
        """Train one arm; return its model, its plan and what was recorded. Nothing is saved."""
        members = self.members(job.arm)
        rows = [self._rows(self.parties[p].train) for p in members]
        model = initial_model(self._builder(job.arm), job.seed)
        plan = self._plan(job, members) if job.epsilon is not None else None
        recorder = Recorder(
            rows,
            self._test_rows(members),
            advance,
            self._kind(job.arm)[1],
            self.dataset.label_range,
        )
        self._train(model, job, rows, plan, recorder)
        return get_arrays(model), plan, recorder

    def members(self, arm: Arm) -> Sequence[int]:
        """Return the parties whose rows an arm has."""
        return range(len(self.parties)) if arm.party is None else [arm.party]

    def answers(self, runs: Sequence[Run], directory: Path) -> RowAnswers:
        """Ask the models that these runs saved in `directory` about all parties' test rows."""
        places = np.concatenate([party.test for party in self.parties])
        ids = self.dataset.ids
        train = np.concatenate([party.train for party in self.parties])
        outputs = self._without_a_look(train, len(places))
        for run in runs:
            saved = load_model(directory / str(run.model))
            data = self.dataset.centred() if saved.encoder.centred else self.dataset
            outputs[Entrant(run.arm, run.epsilon)] = saved.answers(data.features[places])
        if self.settings.reference:
            features, labels = self.dataset.features, self.dataset.labels
            scored = reference_scores(
                *(features[train], labels[train], features[places]),
                classes=len(self.dataset.class_names),
                seed=min((run.seed for run in runs), default=0),
            )
            outputs |= {Entrant(name): scores for name, scores in scored.items()}
        return RowAnswers(
            truth=self.dataset.labels[places],
            units=places if ids is None else ids[places],
            party=np.repeat(range(len(self.parties)), [len(p.test) for p in self.parties]),
            unseen=None
            if self.exposure is None
            else self.exposure.masks(range(len(self.parties)))[1],
            outputs=outputs,
        )

    def _without_a_look(
        self, train: NDArray[np.intp], rows: int
    ) -> dict[Entrant, NDArray[np.floating]]:
        """Return what the commonest class, or the mean, of all training rows is worth."""
        labels = self.dataset.labels[train]
        if self.dataset.number is not None:
            return {Entrant(MEAN): np.full(rows, labels.mean())}
        majority = np.arange(len(self.dataset.class_names)) == np.bincount(labels).argmax()
        return {Entrant(MAJORITY): np.tile(majority.astype(np.float32), (rows, 1))}

    def _kind(self, arm: Arm) -> tuple[str, AnyLoss]:
        """Return what an arm trains, and under which loss."""
        linear = arm.private and self.settings.private_model == LINEAR
        if self.dataset.number is not None:
            return LINEAR if linear else DRESS, "squared"
        return (LINEAR, "softmax") if linear else (DRESS, "sigmoid")

    def _builder(self, arm: Arm) -> Callable[[], nn.Module]:
        name, _ = self._kind(arm)
        return model_builder(name, self.dataset.encoder.num_features, self.dataset.outputs)

    def _train(
        self,
        model: nn.Module,
        job: Job,
        rows: Sequence[Rows],
        plan: PrivacyPlan | None,
        recorder: Recorder,
    ) -> None:
        how = {"rounds": job.rounds, "seed": job.seed}
        if plan is not None and job.arm.noise is not None:
            self._train_on_sums(model, job.arm, rows, plan, recorder)
        elif job.arm.trains == "all":
            averaging = self._averaging(job, [len(labels) for _, labels in rows], plan)
            trainers = self._trainers(job.arm, rows, plan)
            train_federated(model, trainers, averaging, **how, on_round=recorder.on_round)
        else:
            pooled = [recorder.train_rows] if job.arm.trains == "pooled" else rows
            (trainer,) = self._trainers(job.arm, pooled, plan)
            train_alone(model, trainer, **how, on_round=recorder.on_round)

    def _trainers(
        self, arm: Arm, rows: Sequence[Rows], plan: PrivacyPlan | None
    ) -> list[LocalTrainer]:
        if plan is None:
            loss = LOSSES[self._kind(arm)[1]].mean
            return [AdamTrainer(*own, loss=loss, in_one=True) for own in rows]
        rate, losses = self.settings.learning_rate, LOSSES[self._kind(arm)[1]].by_row
        return [
            DPSGDTrainer(
                *own, plan, place, SecretRandomness(), rate, row_losses=losses, budget=_budget(plan)
            )
            for place, own in enumerate(rows)
        ]

    def _train_on_sums(
        self,
        model: nn.Module,
        arm: Arm,
        rows: Sequence[Rows],
        plan: PrivacyPlan,
        recorder: Recorder,
    ) -> None:
        losses = LOSSES[self._kind(arm)[1]].by_row
        contributors = [
            RecordGradients(model, *own, plan, place, SecretRandomness(), row_losses=losses)
            for place, own in enumerate(rows)
        ]
        adam = torch.optim.Adam(model.parameters(), lr=self.settings.learning_rate)
        train_private(
            model, contributors, _sums(arm, plan), _budget(plan), adam, on_round=recorder.on_round
        )

    def _averaging(
        self, job: Job, train_rows: Sequence[int], plan: PrivacyPlan | None
    ) -> Averaging:
        if job.arm.aggregation == "float":
            return FloatAveraging(train_rows)
        if plan is None:
            steps = math.ceil(max(train_rows) / BATCH_SIZE)
            reach = adam_reach(steps, LEARNING_RATE)
        else:
            reach = adam_reach(max(plan.steps_per_round), self.settings.learning_rate)
        return SecureAveraging(
            get_arrays(self._builder(job.arm)()),
            len(train_rows),
            # Under a private plan no weights are sent: their exact sum would have no finite ε.
            weights=None if plan is not None else train_rows,
            max_weight=2 ** math.ceil(math.log2(max(train_rows) + 1)),
            clip_range=reach,
            scheme=job.arm.aggregation,
        )

    def _plan(self, job: Job, members: Sequence[int]) -> PrivacyPlan:
        rows = tuple(len(self.parties[p].train) for p in members)
        if self.exposure is None:
            unit = "one row (there are no IDs, so twins count as two)"
            placements = [tuple(int(i == p) for i in members) for p in members]
        else:
            unit = "all rows of one ID at all parties" if len(rows) > 1 else "all rows of one ID"
            placements = [tuple(each[p] for p in members) for each in self.exposure.placements]
        return _cached_plan(
            job.epsilon,
            self.settings.delta,
            noise=job.arm.noise or "local",
            rounds=job.rounds,
            rows=rows,
            expected_batch_size=self.settings.expected_batch_size,
            steps_per_round=None if job.arm.noise is None else (1,) * len(rows),
            l2_clip_norm=self.settings.l2_clip_norm,
            placements=tuple(worst_placements(placements)),
            privacy_unit=unit,
            dimension=sum(array.size for array in get_arrays(self._builder(job.arm)()).values()),
        )

    def _rows(self, rows: Any) -> Rows:
        return (
            torch.from_numpy(self.dataset.features[rows]),
            torch.from_numpy(self.dataset.targets[rows]),
        )

    def _test_rows(self, members: Sequence[int]) -> TestRows:
        places = np.concatenate([self.parties[p].test for p in members])
        named = [self.dataset.sha256, *map(str, np.sort(places).tolist())]
        sha256 = hashlib.sha256(" ".join(named).encode()).hexdigest()
        seen = unseen = None
        if self.exposure is not None:
            seen, unseen = self.exposure.masks(members)
        return TestRows(*self._rows(places), sha256, seen, unseen)


def _budget(plan: PrivacyPlan) -> PrivacyBudget:
    """Return what one run may spend, in memory: nobody's rows are protected beyond it."""
    return PrivacyBudget(plan.epsilon, plan.delta, privacy_unit=plan.privacy_unit)


def _sums(arm: Arm, plan: PrivacyPlan) -> NoisySums:
    if arm.noise == "shares":
        return SharedNoise(plan, scheme=arm.aggregation)
    return LocalNoise(plan) if arm.noise == "local" else CentralNoise(plan)
