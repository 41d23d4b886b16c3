"""The whole audit: what onlookers get, who was a member, whether the noise is what was claimed."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from privfed.audit import membership
from privfed.audit.canaries import CanaryRun, Sources, canary_plan, run_with_canaries
from privfed.audit.checks import CHECKS, FALSE_ALARM, lower_bound
from privfed.audit.faults import FAULTS, Fault
from privfed.audit.onlookers import (
    Attack,
    NoisyStep,
    SecondParty,
    SecondPartyUnderShares,
    Step,
    Upload,
    flat,
    network_dimension,
)
from privfed.audit.results import (
    SOUND,
    AuditResults,
    CheckDescription,
    Detection,
    Distinguishing,
)
from privfed.audit.verdicts import verdicts
from privfed.data import Dataset
from privfed.dp import Noise, PrivacyPlan, SecretRandomness, SeededRandomness, calibrate
from privfed.dp.randomness import NoiseSource
from privfed.errors import ConfigError
from privfed.experiment.provenance import origin
from privfed.training import Arrays

Advance = Callable[[str, int], None]
"""Called with what is being done and how much work was done since the last call."""

_WHOLE = Fault("", "the project's own pieces, as they are")
_SMALL_NOISE = (0.001, 0.01, 0.1)  # over the clip norm: too little for any ε worth the name
_TRIALS = 256  # of the game of two updates
_SHOWN = 3  # rows beside each other


@dataclass(frozen=True)
class AuditSettings:
    """How much work an audit is.

    Attributes:
        quick: whether this is the short audit; only written down.
        seed: of noise and coins in simulation; None draws them from the operating system.
        parties: of the canary runs, ≥ 2.
        target_epsilon: of the canary runs' plan.
        attacked_rows: rows that the onlookers attack, a multiple of 64 at most the table's.
        shadow_models: models of LiRA.
        epochs: of plain training there.
        steps: of private training there.
        member_epsilons: of private training there.
        canaries: of the run that gives the lower bound.
        small_canaries: of each of the many runs.
        rounds: of a canary run, ≥ 5.
        runs: of each planted fault, and of sound ones.
        most_rows: rows of a larger data set that are drawn for the audit.
    """

    quick: bool = False
    seed: int | None = None
    parties: int = 4
    target_epsilon: float = 1.0
    attacked_rows: int = 64
    shadow_models: int = 80
    epochs: int = 150
    steps: int = 300
    member_epsilons: tuple[float, ...] = (8.0, 1.0)
    canaries: int = 5000
    small_canaries: int = 1000
    rounds: int = 8
    runs: int = 20
    most_rows: int = 1000

    def __post_init__(self) -> None:
        least = {"parties": 2, "shadow_models": 8, "rounds": 5, "runs": 1, "attacked_rows": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ConfigError(f"an audit needs {name} of at least {value}")

    @classmethod
    def short(cls, seed: int | None = None) -> AuditSettings:
        """Give the settings of `--quick`: fewer and shorter shadow models, nothing else."""
        return cls(quick=True, seed=seed, shadow_models=32, epochs=60, steps=120)

    @property
    def work(self) -> int:
        """Units of work that `Advance` will have been told of at the end."""
        private = len(self.member_epsilons) * self.shadow_models
        planted = self.runs * (len(FAULTS) + 1)
        return 4 + self.shadow_models + private + (len(FAULTS) + 3) + planted


def run_audit(
    dataset: Dataset,
    settings: AuditSettings,
    *,
    other_encoding: Dataset | None = None,
    advance: Advance = lambda doing, done: None,
) -> AuditResults:
    """Audit the project's own pieces on a data set's rows.

    Args:
        dataset: whose rows are attacked.
        settings: how much work.
        other_encoding: the same rows encoded in another way, attacked in the clear too.
        advance: for a progress bar.

    Raises:
        ConfigError: too few rows.
    """
    if len(dataset) < settings.attacked_rows:
        raise ConfigError(
            f"{dataset.name} has {len(dataset)} rows and the audit attacks "
            f"{settings.attacked_rows}: give more rows"
        )
    place = np.random.default_rng(settings.seed or 0).permutation(len(dataset))
    place = np.sort(place[: settings.most_rows])
    other = None if other_encoding is None else _rows(other_encoding, place)
    return _Audit(_rows(dataset, place), settings, other, advance).run()


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
        advance: Advance,
    ) -> None:
        self._dataset, self._settings, self._advance = dataset, settings, advance
        self._other = other_encoding
        self._seed = settings.seed or 0  # of what protects nobody
        numbers = itertools.count()

        def source() -> NoiseSource:
            if settings.seed is None:
                return SecretRandomness()
            return SeededRandomness(settings.seed, next(numbers))

        self._source: Sources = source
        self._seconds: dict[str, float] = {}

    def run(self) -> AuditResults:
        with self._timed("onlookers"):
            step = Step(self._dataset, self._seed)
            attacks = self._attacks(step)
            beside = self._beside(step)
            told_apart = [self._distinguish(step, each) for each in ("reference", "packed")]
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
                0.0 if name == "longest row" else FALSE_ALARM,
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
        return origin(self._dataset) | {"settings": dataclasses.asdict(self._settings)}

    # Onlookers

    def _attacks(self, step: Step) -> list[Attack]:
        rows = step.order[: self._settings.attacked_rows]
        steps = [step] if self._other is None else [step, Step(self._other, self._seed)]
        found = []
        for each in steps:
            for size in (1, 4, 16, 64):
                if size <= len(rows):
                    batches = np.array_split(rows, len(rows) // size)
                    found.append(each.attack("a plaintext SGD update", batches, _plain(each)))
            everything = [each.order[: len(each.order) // 2]]
            found.append(
                each.attack(
                    "a plaintext update by an epoch of Adam",
                    everything,
                    lambda batch, each=each: flat(each.epoch(batch)),  # type: ignore[misc]
                )
            )
        self._advance("reading plaintext updates", 1)
        lone = np.array_split(rows, len(rows))
        found.append(
            step.attack("a server: the bytes, not encrypted (control)", lone,
                        Upload(step, "reference"))
        )  # fmt: skip
        found.append(step.attack("a server: the bytes, encrypted", lone, Upload(step, "packed")))
        found.append(
            step.attack("a second party: the mean minus its own part", lone, SecondParty(step))
        )
        self._advance("reading ciphertexts", 1)
        return found + self._noisy_attacks(step, lone)

    def _noisy_attacks(self, step: Step, lone: Sequence[NDArray[np.intp]]) -> list[Attack]:
        local, shares = self._step_plan(step, "local"), self._step_plan(step, "shares")
        found = []
        for multiplier in _SMALL_NOISE:
            little = dataclasses.replace(local, noise_multiplier=multiplier, target_epsilon=None)
            found.append(
                step.attack(
                    f"a clipped gradient with noise of {multiplier:g} clip norms (no ε to speak "
                    "of)",
                    lone,
                    NoisyStep(step, little, self._source()),
                )
            )
        found.append(
            step.attack(
                f"a DP-SGD step with noise of {local.noise_multiplier:.2g} clip norms",
                lone,
                NoisyStep(step, local, self._source()),
                local.statement(),
            )
        )
        for insider in (True, False):
            sources = [self._source(), self._source()]
            found.append(
                step.attack(
                    "a second party under noise shares, its own sum and share taken out"
                    if insider
                    else "who sees the sum of two under noise shares",
                    lone,
                    SecondPartyUnderShares(step, shares, sources, insider=insider),
                    shares.statement(),
                )
            )
        self._advance("reading noisy steps", 1)
        return found

    def _step_plan(self, step: Step, noise: str) -> PrivacyPlan:
        parties = 1 if noise == "local" else 2
        return calibrate(
            8.0,
            1e-5,
            noise="local" if noise == "local" else "shares",
            rows=[len(self._dataset) // parties] * parties if parties > 1 else [len(self._dataset)],
            rounds=20,
            l2_clip_norm=1.0,
            sampling_rates=[0.1] * parties,
            steps_per_round=[1] * parties,
            dimension=network_dimension(step.model),
        )

    def _beside(self, step: Step) -> Any:
        local = self._step_plan(step, "local")
        return step.beside(
            [int(row) for row in step.order[:_SHOWN]],
            [
                ("plaintext update", _plain(step)),
                ("second of two parties", SecondParty(step)),
                ("server, encrypted", Upload(step, "packed")),
                ("DP-SGD step", NoisyStep(step, local, self._source())),
            ],
        )

    def _distinguish(self, step: Step, scheme: str) -> Distinguishing:
        """Play the game that defines secrecy: which of two known updates is in the bytes?"""
        first, second = (flat(step.update(step.order[row : row + 1])) for row in (0, 1))
        updates: list[Arrays] = [step.update(step.order[row : row + 1]) for row in (0, 1)]
        difference = second - first
        middle = difference @ (first + second) / 2
        coins = self._source().coins(0.5, _TRIALS)
        upload, right = Upload(step, scheme), 0
        for coin in coins:
            right += bool(upload.read(updates[int(coin)]) @ difference > middle) == bool(coin)
        return Distinguishing(
            scheme, len(coins), right, float(stats.binom.sf(right - 1, len(coins), 0.5))
        )

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


def _plain(step: Step) -> Callable[[NDArray[np.intp]], NDArray[np.float64]]:
    return lambda batch: flat(step.update(batch))
