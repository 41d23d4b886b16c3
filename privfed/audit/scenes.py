"""Every onlooker of one training step, one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from privfed.audit.canaries import Sources
from privfed.audit.onlookers import (
    Attack,
    Beside,
    NoisyStep,
    SecondParty,
    SecondPartyUnderShares,
    Step,
    Upload,
    flat,
    network_dimension,
)
from privfed.audit.results import Advance, Distinguishing
from privfed.audit.settings import AuditSettings
from privfed.data import Dataset
from privfed.dp import Noise, PrivacyPlan, calibrate
from privfed.training import Arrays

_EPSILON = 8.0  # of the noisy steps, at δ = 1e-5
_SMALL_NOISE = (0.001, 0.01, 0.1)  # over the clip norm: too little for any ε that would protect
_TRIALS = 256  # of the game of two updates
_SHOWN = 3  # rows beside each other


class Scenes:
    """The onlookers of a step on a data set's rows.

    Args:
        dataset: Whose rows are attacked.
        settings: How many, and the seed of the network.
        source: Source of noise and coins.
        other_encoding: The same rows encoded in another way, attacked in the clear too.
        advance: Called to move a progress bar on.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: AuditSettings,
        source: Sources,
        other_encoding: Dataset | None,
        advance: Advance,
    ) -> None:
        self._step, self._settings = Step(dataset, settings.seed or 0), settings
        self._source, self._other, self._advance = source, other_encoding, advance

    def attacks(self) -> list[Attack]:
        """Let every onlooker try."""
        step = self._step
        rows = step.order[: self._settings.attacked_rows]
        steps = (
            [step] if self._other is None else [step, Step(self._other, self._settings.seed or 0)]
        )
        found = []
        for each in steps:
            for size in (1, 4, 16, 64):
                if size <= len(rows):
                    batches = np.array_split(rows, len(rows) // size)
                    found.append(
                        each.attack("plaintext", "a plaintext SGD update", batches, _plain(each))
                    )
            everything = [each.order[: len(each.order) // 2]]
            found.append(
                each.attack(
                    "plaintext-epoch",
                    "a plaintext update by an epoch of Adam",
                    everything,
                    lambda batch, each=each: flat(each.epoch(batch)),  # type: ignore[misc]
                )
            )
        self._advance("reading plaintext updates", 1)
        lone = np.array_split(rows, len(rows))
        found += [
            step.attack(
                "control",
                "a server: the bytes, not encrypted (control)",
                lone,
                Upload(step, "reference"),
            ),
            step.attack(
                "encrypted", "a server: the bytes, encrypted", lone, Upload(step, "packed")
            ),
            step.attack(
                "second-party",
                "a second party: the mean minus its own part",
                lone,
                SecondParty(step),
            ),
        ]
        self._advance("reading ciphertexts", 1)
        return found + self._noisy_attacks(lone)

    def _noisy_attacks(self, lone: Sequence[NDArray[np.intp]]) -> list[Attack]:
        step, local, shares = self._step, self._plan("local", 1), self._plan("shares", 2)
        found = []
        for multiplier in _SMALL_NOISE:
            little = dataclasses.replace(local, noise_multiplier=multiplier, target_epsilon=None)
            found.append(
                step.attack(
                    "little-noise",
                    f"a clipped gradient with noise of {multiplier:g} clip norms (no ε to speak "
                    "of)",
                    lone,
                    NoisyStep(step, little, self._source()),
                )
            )
        found.append(
            step.attack(
                "dp-sgd",
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
                    "second-party-shares" if insider else "sum-of-shares",
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

    def _plan(self, noise: Noise, parties: int) -> PrivacyPlan:
        return calibrate(
            _EPSILON,
            1e-5,
            noise=noise,
            rows=[len(self._step.labels) // parties] * parties,
            rounds=20,
            l2_clip_norm=1.0,
            sampling_rates=[0.1] * parties,
            steps_per_round=[1] * parties,
            dimension=network_dimension(self._step.model),
        )

    def beside(self) -> Beside:
        """Return what some onlookers recover beside the true rows."""
        step, local = self._step, self._plan("local", 1)
        return step.beside(
            [int(row) for row in step.order[:_SHOWN]],
            [
                ("plaintext update", _plain(step)),
                ("second of two parties", SecondParty(step)),
                ("server, encrypted", Upload(step, "packed")),
                ("DP-SGD step", NoisyStep(step, local, self._source())),
            ],
        )

    def distinguish(self, scheme: str) -> Distinguishing:
        """Play the game that defines secrecy: guess which of two known updates is in the bytes."""
        step = self._step
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


def _plain(step: Step) -> Callable[[NDArray[np.intp]], NDArray[np.float64]]:
    return lambda batch: flat(step.update(batch))
