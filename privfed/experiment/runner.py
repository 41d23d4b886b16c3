"""Runs every arm on every split with every seed, and keeps each as it finishes."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from privfed import __version__
from privfed.data import Dataset, PartyRows, Split, split_parties
from privfed.dp import PrivacyPlan, SecretRandomness, calibrate
from privfed.dp.accounting import worst_placements
from privfed.errors import ConfigError
from privfed.experiment.arms import ALL, POOLED, Arm, choose_arms
from privfed.experiment.exposure import Aligner, Exposure, expose
from privfed.experiment.model_file import SavedModel, load_model, save_model
from privfed.experiment.recorder import Recorder, TestRows
from privfed.experiment.results import Overlap, Results, Run
from privfed.experiment.settings import Settings
from privfed.experiment.store import RunStore
from privfed.experiment.summary import summarise
from privfed.training import (
    AdamTrainer,
    Averaging,
    DPSGDTrainer,
    FloatAveraging,
    LocalTrainer,
    SecureAveraging,
    adam_reach,
    get_arrays,
    initial_model,
    paper_network,
    train_alone,
    train_federated,
    weights_sha256,
)
from privfed.training.local import BATCH_SIZE, LEARNING_RATE

Advance = Callable[[str, int], None]
"""Called with what runs and how many rounds of it are newly done."""


@dataclass(frozen=True)
class Job:
    """One run to be: an arm on a split with a seed, at an ε where it is private."""

    arm: Arm
    split: str
    seed: int
    epsilon: float | None
    rounds: int

    @property
    def title(self) -> str:
        """Say for a progress bar what runs."""
        at = "" if self.epsilon is None else f" ε={self.epsilon:g}"
        return f"{self.split}, seed {self.seed}: {self.arm.name}{at}"


def jobs(settings: Settings) -> list[Job]:
    """List the runs that the settings ask for, in order.

    Raises:
        ConfigError: an arm is unknown.
    """
    arms = choose_arms(settings.arms, party_names(settings.parties))
    found = [
        Job(arm, split, seed, epsilon, settings.private_rounds if arm.private else settings.rounds)
        for split in settings.splits
        for seed in range(settings.seeds)
        for arm in arms
        for epsilon in (settings.epsilons if arm.private else (None,))
    ]
    if not found:
        raise ConfigError("nothing to run: private arms need an --epsilon, such as 1,3,8")
    return found


def party_names(parties: int) -> tuple[str, ...]:
    """Name the parties as privfed.data does."""
    return ("guest", "host", *(f"party-{number}" for number in range(3, parties + 1)))[:parties]


def run_benchmark(
    settings: Settings,
    dataset: Dataset,
    *,
    align: Aligner,
    directory: Path,
    provenance: dict[str, Any],
    advance: Advance = lambda title, rounds: None,
) -> Results:
    """Run what is asked and not yet in `directory`; leave results.json, runs and models there.

    Args:
        settings: what to run.
        dataset: the rows; their IDs are compared across parties by `align` alone.
        align: private set intersection.
        directory: output folder; made if absent.
        provenance: what results.json says of where it comes from.
        advance: told of progress.

    Returns:
        The results as written.

    Raises:
        ConfigError: settings and data do not fit, or the folder cannot be written.
    """
    torch.set_num_threads(1)  # on nets this small threads cost time and the order of additions
    asked = jobs(settings)
    # All splits first: what does not fit is refused before a folder is made or an arm has run.
    deals = list(_deals(settings, dataset, align, asked))
    store = RunStore(directory)
    runs: list[Run] = []
    overlaps: list[Overlap] = []
    for deal, mine in deals:
        if deal.exposure is not None:
            overlaps.append(deal.exposure.overlap)
        for job in mine:
            key = _key(job, settings, dataset)
            run = _kept(store, key, directory)
            if run is not None:
                advance(f"{job.title} (kept)", job.rounds)
            else:
                run = deal.run(job, directory, functools.partial(advance, job.title))
                store.save(key, run)
            runs.append(run)
    names = party_names(settings.parties)
    described = [arm.describe(names) for arm in choose_arms(settings.arms, names)]
    results = Results(provenance, described, overlaps, runs, summarise(runs))
    results.write(directory / "results.json")
    return results


@dataclass(frozen=True)
class _Deal:
    """One split with one seed: who has which rows, and what intersection said of them."""

    settings: Settings
    dataset: Dataset
    parties: tuple[PartyRows, ...]
    exposure: Exposure | None  # None where the data has no IDs

    def run(self, job: Job, directory: Path, advance: Callable[[int], None]) -> Run:
        members = range(len(self.parties)) if job.arm.trains < 0 else [job.arm.trains]
        rows = [self._rows(self.parties[p].train) for p in members]
        model = initial_model(
            lambda: paper_network(self.dataset.encoder.num_features, len(self.dataset.class_names)),
            job.seed,
        )
        plan = self._plan(job.epsilon) if job.epsilon is not None else None
        recorder = Recorder(rows, self._test_rows(members), advance)
        trainers: list[LocalTrainer]
        if plan is not None:
            trainers = [
                DPSGDTrainer(*own, plan, p, SecretRandomness(), self.settings.private_learning_rate)
                for p, own in zip(members, rows, strict=True)
            ]
        elif job.arm.trains == POOLED:
            trainers = [AdamTrainer(*recorder.train_rows)]
        else:
            trainers = [AdamTrainer(*own) for own in rows]
        how = {"rounds": job.rounds, "seed": job.seed}
        if job.arm.trains == ALL:
            averaging = self._averaging(job, [len(labels) for _, labels in rows], plan)
            train_federated(model, trainers, averaging, **how, on_round=recorder.on_round)
        else:
            train_alone(model, trainers[0], **how, on_round=recorder.on_round)
        arrays = get_arrays(model)
        at = "" if job.epsilon is None else f"-epsilon{job.epsilon:g}"
        name = f"models/{job.split}-{job.arm.name}{at}-seed{job.seed}.npz"
        about = f"{self.dataset.name} ({self.dataset.source}); {job.title}"
        save_model(
            directory / name,
            SavedModel(arrays, self.dataset.encoder, self.dataset.class_names, about),
        )
        return recorder.finish(job.arm, job.split, job.seed, job.epsilon, plan, arrays, name)

    def _averaging(
        self, job: Job, train_rows: Sequence[int], plan: PrivacyPlan | None
    ) -> Averaging:
        if job.arm.aggregation == "float":
            return FloatAveraging(train_rows)
        if plan is None:
            steps = math.ceil(max(train_rows) / BATCH_SIZE)
            reach = adam_reach(steps, LEARNING_RATE)
        else:
            reach = adam_reach(max(plan.steps_per_round), self.settings.private_learning_rate)
        return SecureAveraging(
            get_arrays(
                paper_network(self.dataset.encoder.num_features, len(self.dataset.class_names))
            ),
            len(train_rows),
            # A private plan sends no weights: an exact sum of them has no finite ε.
            weights=None if plan is not None else train_rows,
            max_weight=2 ** math.ceil(math.log2(max(train_rows) + 1)),
            clip_range=reach,
            scheme=job.arm.aggregation,
        )

    def _plan(self, epsilon: float) -> PrivacyPlan:
        rows = tuple(len(p.train) for p in self.parties)
        if self.exposure is None:
            unit = "one row (there are no IDs, so twins count as two)"
            placements: tuple[tuple[int, ...], ...] = tuple(
                tuple(int(i == p) for i in range(len(rows))) for p in range(len(rows))
            )
        else:
            unit = "all rows of one ID at all parties"
            placements = self.exposure.placements
        return _cached_plan(
            epsilon,
            self.settings.delta,
            noise="local",
            rounds=self.settings.private_rounds,
            rows=rows,
            expected_batch_size=self.settings.expected_batch_size,
            l2_clip_norm=self.settings.l2_clip_norm,
            placements=tuple(worst_placements(placements)),
            privacy_unit=unit,
        )

    def _rows(self, rows: Any) -> tuple[Tensor, Tensor]:
        return (
            torch.from_numpy(self.dataset.features[rows]),
            torch.from_numpy(self.dataset.labels[rows]),
        )

    def _test_rows(self, members: Sequence[int]) -> TestRows:
        features, labels = zip(*(self._rows(self.parties[p].test) for p in members), strict=True)
        seen = unseen = None
        if self.exposure is not None:
            seen, unseen = self.exposure.masks(members)
        return TestRows(torch.cat(features), torch.cat(labels), seen, unseen)


# The seeds of a split differ little in the worst placement, and calibration takes seconds.
_cached_plan = functools.lru_cache(maxsize=None)(calibrate)


def _deals(
    settings: Settings, dataset: Dataset, align: Aligner, asked: Sequence[Job]
) -> Iterator[tuple[_Deal, list[Job]]]:
    for split in settings.splits:
        for seed in range(settings.seeds):
            parties = split_parties(
                dataset, cast(Split, split), parties=settings.parties, seed=seed, align=align
            )
            most = max(len(party.train) for party in parties)
            if any(job.arm.private for job in asked) and settings.delta >= 1 / most:
                raise ConfigError(
                    f"--delta {settings.delta:g} is not below 1/{most}, one over a party's rows: "
                    "a larger delta allows a row to be published; ask for a smaller one"
                )
            exposure = None
            if dataset.ids is not None:
                exposure = expose(dataset, parties, align, split=split, seed=seed)
            mine = [job for job in asked if (job.split, job.seed) == (split, seed)]
            yield _Deal(settings, dataset, parties, exposure), mine


def _kept(store: RunStore, key: dict[str, Any], directory: Path) -> Run | None:
    """Give a finished run whose model is still the one that it left."""
    run = store.load(key)
    if run is None or run.model is None:
        return None
    try:
        arrays = load_model(directory / run.model).arrays
    except ConfigError:
        return None
    return run if weights_sha256(arrays) == run.weights_sha256 else None


def _key(job: Job, settings: Settings, dataset: Dataset) -> dict[str, Any]:
    """All that a run depends on; the encoder says which columns are label and ID."""
    private = dataclasses.asdict(settings) if job.arm.private else {}
    for name in ("splits", "arms", "rounds", "seeds", "epsilons"):
        private.pop(name, None)
    return {
        "privfed": __version__,
        "dataset": [dataset.name, dataset.sha256],
        "encoder": hashlib.sha256(dataset.encoder.to_json().encode()).hexdigest(),
        "labels": list(dataset.class_names),
        "parties": settings.parties,
        "split": job.split,
        "arm": job.arm.name,
        "seed": job.seed,
        "epsilon": job.epsilon,
        "rounds": job.rounds,
        "private": private,
    }
