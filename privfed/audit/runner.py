"""The whole audit: what onlookers learn, who was a member, whether the noise is as claimed."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.audit import membership
from privfed.audit.canaries import CanaryRun, Sources, canary_plan, run_with_canaries
from privfed.audit.checks import CHECKS, lower_bound
from privfed.audit.faults import FAULTS, Fault
from privfed.audit.results import (
    SOUND,
    Advance,
    AuditResults,
    CheckDescription,
    Detection,
)
from privfed.audit.scenes import Scenes
from privfed.audit.settings import AuditSettings
from privfed.audit.verdicts import verdicts
from privfed.data import Dataset
from privfed.dp import Noise, SecretRandomness, SeededRandomness
from privfed.dp.randomness import NoiseSource
from privfed.errors import ConfigError
from privfed.experiment.provenance import origin
from privfed.training import one_thread

_WHOLE = Fault("", "the project's own pieces, as they are")


@one_thread()
def run_audit(
    dataset: Dataset,
    settings: AuditSettings,
    *,
    other_encoding: Dataset | None = None,
    command: str | None = None,
    advance: Advance = lambda doing, done: None,
) -> AuditResults:
    """Audit the project's own pieces on a data set's rows.

    Args:
        dataset: Whose rows are attacked.
        settings: How much work.
        other_encoding: The same rows encoded in another way, attacked in the clear too.
        command: The command line that asked, for the provenance; None where a program asked.
        advance: Called to move a progress bar on.

    Returns:
        The results, which are not written yet.

    Raises:
        ConfigError: Too few rows, or a label that is a number.
    """
    dataset.require_classes("an audit")
    if len(dataset) < settings.attacked_rows:
        raise ConfigError(
            f"{dataset.name} has {len(dataset)} rows and the audit attacks "
            f"{settings.attacked_rows}: give more rows"
        )
    place = np.random.default_rng(settings.seed or 0).permutation(len(dataset))
    place = np.sort(place[: settings.most_rows])
    other = None if other_encoding is None else _rows(other_encoding, place)
    return _Audit(_rows(dataset, place), settings, other, command, advance).run()


def _rows(dataset: Dataset, place: NDArray[np.intp]) -> Dataset:
    """Keep the rows at these places."""
    return dataclasses.replace(
        dataset,
        ids=None if dataset.ids is None else dataset.ids[place],
        features=dataset.features[place],
        labels=dataset.labels[place],
    )


class _Audit:
    def __init__(
        self,
        dataset: Dataset,
        settings: AuditSettings,
        other_encoding: Dataset | None,
        command: str | None,
        advance: Advance,
    ) -> None:
        self._dataset, self._settings, self._advance = dataset, settings, advance
        self._other, self._command = other_encoding, command
        self._seed = settings.seed or 0  # for draws that protect nobody
        numbers = itertools.count()

        def source() -> NoiseSource:
            if settings.seed is None:
                return SecretRandomness()
            return SeededRandomness(settings.seed, next(numbers))

        self._source: Sources = source
        self._seconds: dict[str, float] = {}

    def run(self) -> AuditResults:
        with self._timed("onlookers"):
            scenes = Scenes(self._dataset, self._settings, self._source, self._other, self._advance)
            attacks, beside = scenes.attacks(), scenes.beside()
            told_apart = [scenes.distinguish(scheme) for scheme in ("reference", "packed")]
            self._advance("telling two updates apart", 1)
        with self._timed("membership"):
            members = self._members()
        with self._timed("lower bounds"):
            large = {name: self._canaries(self._settings.canaries, fault)
                     for name, fault in self._planted()}  # fmt: skip
            bounds = {name: lower_bound(run) for name, run in large.items()}
            others: tuple[Noise, ...] = ("local", "central")
            real = {"shares": large[SOUND]} | {
                noise: self._canaries(self._settings.small_canaries, _WHOLE, noise)
                for noise in others
            }
            checked = {
                noise: {name: check.measure(run) for name, check in CHECKS.items()}
                for noise, run in real.items()
            }
        with self._timed("planted faults"):
            detections = [self._detect(name, fault) for name, fault in self._planted()]
        checks = [
            CheckDescription(
                name,
                each.statistic,
                each.threshold,
                each.blind,
                each.false_alarm_rate,
            )
            for name, each in CHECKS.items()
        ]
        results = AuditResults(
            provenance=self._provenance(),
            simulation=self._settings.seed is not None,
            quick=self._settings.quick,
            attacks=attacks,
            beside=beside,
            distinguishing=told_apart,
            membership=members,
            bounds=bounds,
            checked=checked,
            checks=checks,
            detections=detections,
            verdicts=[],
            seconds=self._seconds,
        )
        return dataclasses.replace(results, verdicts=verdicts(results))

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[part] = time.perf_counter() - start

    def _provenance(self) -> dict[str, Any]:
        return origin(self._dataset, self._command) | {
            "settings": dataclasses.asdict(self._settings)
        }

    # Membership

    def _members(self) -> list[membership.Membership]:
        asked, data = self._settings, self._dataset
        members = membership.random_halves(asked.shadow_models, len(data), self._seed)
        found = [
            self._lira(
                f"without noise, {asked.epochs} epochs of Adam",
                members,
                lambda row, seed: membership.train_plain(data, row, seed, asked.epochs),
            )
        ]
        for epsilon in asked.member_epsilons:
            plan = membership.private_plan(data, epsilon, asked.steps, batch_size=32)
            found.append(
                self._lira(
                    f"DP-SGD, {asked.steps} steps, noise of {plan.noise_multiplier:.2g} clip norms",
                    members,
                    lambda row, seed, plan=plan: membership.train_dp(  # type: ignore[misc]
                        data, row, seed, plan, self._source
                    ),
                    plan.statement(),
                )
            )
        return found

    def _lira(
        self,
        trained: str,
        members: NDArray[np.bool_],
        train: Callable[[NDArray[np.bool_], int], Any],
        statement: str | None = None,
    ) -> membership.Membership:
        observed = []
        for number, row in enumerate(members):
            model = train(row, self._seed * len(members) + number)
            observed.append(membership.logits(self._dataset, model))
            self._advance(f"shadow models {trained}", 1)
        return membership.judge(trained, np.array(observed), members, self._seed, statement)

    # Canaries

    @staticmethod
    def _planted() -> list[tuple[str, Fault]]:
        return [(SOUND, _WHOLE), *FAULTS.items()]

    def _canaries(self, canaries: int, fault: Fault, noise: Noise = "shares") -> CanaryRun:
        run = canary_run(self._dataset, canaries, fault, self._settings, self._source, noise)
        self._advance("training with canaries", 1)
        return run

    def _detect(self, name: str, fault: Fault) -> Detection:
        flagged = dict.fromkeys(CHECKS, 0)
        for _ in range(self._settings.runs):
            run = self._canaries(self._settings.small_canaries, fault)
            for check, each in CHECKS.items():
                flagged[check] += each.measure(run).flagged
        return Detection(name, fault.words, fault.meant or None, self._settings.runs, flagged)


def canary_run(
    dataset: Dataset,
    canaries: int,
    fault: Fault,
    settings: AuditSettings,
    sources: Sources,
    noise: Noise = "shares",
) -> CanaryRun:
    """Make one training run with canaries beside a data set's rows, whole or with a fault."""
    # Every feature to [-1, 1], so that real rows train at the canaries' learning rate.
    features = dataset.features / np.maximum(np.abs(dataset.features).max(axis=0), 1)
    plan = canary_plan(
        settings.target_epsilon,
        noise=noise,
        rows=len(features),
        features=features.shape[1],
        canaries=canaries,
        parties=settings.parties,
        rounds=settings.rounds,
        sampling_rate=0.5,
    )
    return run_with_canaries(
        plan,
        features,
        dataset.labels % 2,  # the model has one output
        sources,
        make_sums=fault.make_sums,
        make_contributor=fault.make_contributor,
    )
