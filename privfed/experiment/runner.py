"""Runs every arm on every split with every seed, and keeps each as it finishes."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from privfed import __version__
from privfed.data import Dataset, Split, split_parties
from privfed.data.tables import SCHEMA_IS_PUBLIC
from privfed.errors import ConfigError, PrivacyWarning
from privfed.experiment.arms import Arm, choose_arms
from privfed.experiment.common_ids import Aligner, CommonIDs, find_common_ids
from privfed.experiment.comparing import RowAnswers, compare
from privfed.experiment.exposure import expose
from privfed.experiment.held import parties_key, record_parties
from privfed.experiment.measures import MeasureName, measures_for
from privfed.experiment.model_file import load_model
from privfed.experiment.partitioned import Job, PartitionedData
from privfed.experiment.results import SCHEMA_VERSION, Overlap, PartiesRecord, Results, Run
from privfed.experiment.settings import Settings
from privfed.experiment.store import RunStore
from privfed.experiment.summary import summarise
from privfed.experiment.workers import Advance, Task, finish
from privfed.rounding import as_given
from privfed.training import weights_sha256


def jobs(settings: Settings) -> list[Job]:
    """Return the runs that the settings ask for, in order.

    Raises:
        ConfigError: An arm is unknown.
    """
    arms = choose_arms(settings.arms, settings.party_names)
    found = [
        Job(arm, split, seed, epsilon, _rounds(arm, settings))
        for split in settings.splits
        for seed in range(settings.seeds)
        for arm in arms
        for epsilon in (settings.epsilons if arm.private else (None,))
    ]
    if not found:
        raise ConfigError("nothing to run: private arms need `epsilons`, such as 1,3,8")
    return found


def _rounds(arm: Arm, settings: Settings) -> int:
    if arm.noise is not None:
        return settings.private_steps
    return settings.private_rounds if arm.private else settings.rounds


@dataclass(frozen=True)
class Benchmark:
    """What was asked, with the rows dealt out: nothing is trained or written yet.

    Attributes:
        settings: What to run.
        tasks: The runs, in order.
        overlaps: What intersection said of each split with each seed, where there are IDs.
        parties: Who the parties are, and what they hold.
        measures: What arms are judged by.
    """

    settings: Settings
    tasks: Sequence[Task]
    overlaps: Sequence[Overlap]
    parties: PartiesRecord
    measures: Sequence[MeasureName]

    def kept(self, directory: Path) -> dict[int, Run]:
        """Return the runs that had finished in a folder, by their place among the tasks.

        Raises:
            ConfigError: The folder cannot be written.
        """
        if not (directory / "runs").is_dir():
            return {}
        store = RunStore(directory)
        found = ((n, _kept(store, task.key, directory)) for n, task in enumerate(self.tasks))
        return {number: run for number, run in found if run is not None}

    def run(
        self,
        directory: Path,
        provenance: dict[str, Any],
        *,
        advance: Advance = lambda title, rounds: None,
        workers: int = 1,
        beside: Results | None = None,
    ) -> Results:
        """Run what is not yet in `directory`; write results.json, runs and models there.

        Args:
            directory: Output folder; made if absent.
            provenance: What results.json says of its origin.
            advance: Called with the progress.
            workers: How many processes train, each with one thread; 1: this one. What is not
                private comes out equal to the bit for any number. They import the main module
                anew: a script of yours begins under `if __name__ == "__main__"`.
            beside: What its private arms gave on other data, to stand in the same report.

        Returns:
            The results as written.

        Raises:
            ConfigError: The folder cannot be written, or there is no worker.
            WorkerDiedError: A worker process ended before its run did.
        """
        if workers < 1:
            raise ConfigError(f"`workers` must be at least 1, not {workers}")
        store = RunStore(directory)
        runs = self.kept(directory)
        for number in runs:
            job = self.tasks[number].job
            advance(f"{job.title} (kept)", job.rounds)
        left = {number: task for number, task in enumerate(self.tasks) if number not in runs}
        runs |= finish(left, store, directory, advance, workers)
        arms = list(choose_arms(self.settings.arms, self.settings.party_names))
        found = [runs[number] for number in range(len(self.tasks))]
        measures = self.measures
        results = Results(
            provenance=provenance,
            arms=arms,
            overlaps=list(self.overlaps),
            runs=found,
            summaries=summarise(found),
            measures=list(measures),
            comparisons=[
                each
                for split in self.settings.splits
                for each in compare(split, arms, measures, self._answers(split, found, directory))
            ],
            parties=self.parties,
            beside=beside,
        )
        results.write(directory / "results.json")
        return results

    def _answers(self, split: str, runs: Sequence[Run], directory: Path) -> list[RowAnswers]:
        """Ask each run's model, as it was saved, about the test rows of all parties."""
        seeds: dict[int, tuple[PartitionedData, list[Run]]] = {}
        for task, run in zip(self.tasks, runs, strict=True):
            if task.job.split == split:
                seeds.setdefault(task.job.seed, (task.data, []))[1].append(run)
        return [data.answers(mine, directory) for data, mine in seeds.values()]


def prepare_benchmark(settings: Settings, dataset: Dataset, *, align: Aligner) -> Benchmark:
    """Deal out the rows for every split and seed, so that errors come before anything is made.

    Args:
        settings: What to run.
        dataset: The rows; their IDs are compared across parties by `align` alone.
        align: Private set intersection.

    Returns:
        All that is to be run.

    Raises:
        ConfigError: Settings and data do not fit.
    """
    asked = jobs(settings)
    if dataset.owners is not None and settings.party_names != dataset.owners.names:
        raise ConfigError("`names` are not the parties that the table names: give those, in order")
    splits = list(_partitioned(settings, dataset, align, asked))
    if dataset.kind == "table" and any(job.arm.private for job in asked):
        warnings.warn(
            f"{SCHEMA_IS_PUBLIC}; agree on a schema without the rows where they may not be",
            PrivacyWarning,
            stacklevel=2,
        )
    return Benchmark(
        settings,
        [Task(data, job, _key(job, settings, dataset)) for data, mine in splits for job in mine],
        [data.exposure.overlap for data, _ in splits if data.exposure is not None],
        record_parties(
            settings,
            dataset,
            [(mine[0].split, mine[0].seed, data.parties) for data, mine in splits],
        ),
        measures_for(dataset.labels),
    )


def run_benchmark(
    settings: Settings,
    dataset: Dataset,
    *,
    align: Aligner,
    directory: Path,
    provenance: dict[str, Any],
    advance: Advance = lambda title, rounds: None,
    workers: int = 1,
) -> Results:
    """Run what is asked and not yet in `directory`; write results.json, runs and models there.

    Args:
        settings: See `prepare_benchmark`.
        dataset: See `prepare_benchmark`.
        align: See `prepare_benchmark`.
        directory: See `Benchmark.run`.
        provenance: See `Benchmark.run`.
        advance: See `Benchmark.run`.
        workers: See `Benchmark.run`.

    Returns:
        The results as written.

    Raises:
        ConfigError: Settings and data do not fit, or the folder cannot be written.
        WorkerDiedError: A worker process ended before its run did.
    """
    prepared = prepare_benchmark(settings, dataset, align=align)
    return prepared.run(directory, provenance, advance=advance, workers=workers)


def _partitioned(
    settings: Settings, dataset: Dataset, align: Aligner, asked: Sequence[Job]
) -> Iterator[tuple[PartitionedData, list[Job]]]:
    common: CommonIDs | None = None
    for split in settings.splits:
        for seed in range(settings.seeds):
            parties = split_parties(
                dataset,
                cast(Split, split),
                parties=settings.parties,
                seed=seed,
                align=align,
                dealing=settings.dealing,
            )
            most = max(len(party.train) for party in parties)
            if any(job.arm.private for job in asked) and settings.delta >= 1 / most:
                raise ConfigError(
                    f"`delta` {as_given(settings.delta)} is not below 1/{most}, one over a "
                    "party's rows: a larger delta allows a row to be published; ask for a smaller "
                    "one"
                )
            exposure = None
            if dataset.ids is not None:
                held = [party.rows for party in parties]
                if common is None or not common.are_of(held):
                    common = find_common_ids(dataset, held, align)
                exposure = expose(parties, common, split=split, seed=seed)
            mine = [job for job in asked if (job.split, job.seed) == (split, seed)]
            yield PartitionedData(settings, dataset, parties, exposure), mine


def _kept(store: RunStore, key: dict[str, Any], directory: Path) -> Run | None:
    """Return a finished run, if its model file is still the one that it wrote."""
    run = store.load(key)
    if run is None or run.model is None:
        return None
    try:
        arrays = load_model(directory / run.model).arrays
    except ConfigError:
        return None
    return run if weights_sha256(arrays) == run.weights_sha256 else None


def _key(job: Job, settings: Settings, dataset: Dataset) -> dict[str, Any]:
    """Return all that a run depends on; the encoder names the label and ID columns."""
    private = dataclasses.asdict(settings) if job.arm.private else {}
    unused = ("splits", "arms", "rounds", "seeds", "epsilons", "parties", "names", "dealing")
    for name in (*unused, "reference"):
        private.pop(name, None)
    return {
        "privfed": __version__,
        "schema": SCHEMA_VERSION,
        "dataset": [dataset.kind, dataset.name, dataset.sha256],
        "encoder": hashlib.sha256(dataset.encoder.to_json().encode()).hexdigest(),
        "labels": list(dataset.label_range or dataset.class_names),
        "parties": parties_key(settings, dataset),
        "split": job.split,
        "arm": job.arm.name,
        "seed": job.seed,
        "epsilon": job.epsilon,
        "rounds": job.rounds,
        "private": private,
    }
