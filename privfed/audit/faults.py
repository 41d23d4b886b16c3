"""Pieces that are broken on purpose, so that an audit can show that it would notice.

Each is a piece of `privfed.training` that is changed from outside at one place. No real training
has a switch for it, and only the audit and its tests may import this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from privfed.audit.canaries import MakeContributor, MakeSums, row_losses
from privfed.dp import PrivacyPlan, SeededRandomness
from privfed.dp.randomness import NoiseSource
from privfed.dp.shares import NoiseShares
from privfed.training import ClippedSum, Contributor, RecordGradients, Released, SharedNoise

_NEVER = 1e6  # a clip norm that no row reaches
_REPEATED = (2, 5)  # the rounds whose noise is the same


@dataclass(frozen=True)
class Fault:
    """A fault to plant, and the check that is meant for it.

    Attributes:
        meant: Name of the check in `privfed.audit.checks.CHECKS`.
        words: What is broken.
        make_sums: Broken sums, or None.
        make_contributor: Broken parties, or None.
    """

    meant: str
    words: str
    make_sums: MakeSums | None = None
    make_contributor: MakeContributor | None = None


class _Unclipped:
    """Adds up gradients as they are and claims the plan's sensitivity for the sum."""

    def __init__(self, plan: PrivacyPlan, party: int, inner: RecordGradients) -> None:
        self.plan, self.party, self._inner = plan, party, inner

    def contribute(self, round_id: int) -> ClippedSum:
        found = self._inner.contribute(round_id)
        return dataclasses.replace(found, l2_sensitivity=self.plan.l2_clip_norm)


def _unclipped(
    model: nn.Module,
    features: Tensor,
    labels: Tensor,
    plan: PrivacyPlan,
    party: int,
    source: NoiseSource,
    simulation: bool,
) -> Contributor:
    endless = dataclasses.replace(plan, l2_clip_norm=_NEVER * plan.l2_clip_norm)
    inner = RecordGradients(
        model,
        features,
        labels,
        endless,
        party,
        source,
        row_losses=row_losses,
        simulation=simulation,
    )
    return _Unclipped(plan, party, inner)


def _tenth(plan: PrivacyPlan, noise: Sequence[NoiseSource], simulation: bool) -> SharedNoise:
    small = dataclasses.replace(
        plan, noise_multiplier=plan.noise_multiplier / 10, target_epsilon=None
    )
    return SharedNoise(small, noise, simulation=simulation)


class _Forgetful(NoiseShares):
    """Rounds the sums of some parties instead of adding their share."""

    def __init__(self, plan: PrivacyPlan, silent: Sequence[NoiseSource], simulation: bool) -> None:
        super().__init__(plan, simulation=simulation)
        self._silent = silent

    def draw(
        self, clipped: NDArray[np.float64], l2_sensitivity: float, randomness: NoiseSource
    ) -> NDArray[np.int64]:
        if any(randomness is source for source in self._silent):
            return np.rint(clipped / self.step).astype(np.int64)
        return super().draw(clipped, l2_sensitivity, randomness)


class _OneShareLess(SharedNoise):
    """The last party encrypts its sum without a share of the noise."""

    def __init__(
        self, plan: PrivacyPlan, noise: Sequence[NoiseSource], *, simulation: bool
    ) -> None:
        super().__init__(plan, noise, simulation=simulation)
        self._shares = _Forgetful(plan, noise[-1:], simulation)


class _Repeating(SharedNoise):
    """Every party's generator returns to an old state, as after a snapshot was restored."""

    def __init__(self, plan: PrivacyPlan, noise: Sequence[NoiseSource]) -> None:
        super().__init__(plan, noise, simulation=True)
        self._fresh = noise
        self._state = [int(source.words(1)[0]) for source in noise]

    def release(self, round_id: int, sums: Sequence[ClippedSum | None]) -> Released:
        replayed = [SeededRandomness(state) for state in self._state]
        self._randomness = replayed if round_id in _REPEATED else self._fresh
        return super().release(round_id, sums)


FAULTS: Mapping[str, Fault] = {
    "no clipping": Fault(
        "longest row",
        "gradients are added up as they are; the plan's sensitivity is claimed",
        make_contributor=_unclipped,
    ),
    "σ/10": Fault(
        "one-run audit", "the noise is calibrated a tenth as wide as the plan says", _tenth
    ),
    "a share left out": Fault(
        "noise level",
        "one party sends its rounded sum without its share of the noise",
        lambda plan, noise, simulation: _OneShareLess(plan, noise, simulation=simulation),
    ),
    "the same noise twice": Fault(
        "noise repeats",
        f"rounds {_REPEATED[0]} and {_REPEATED[1]} draw their noise from the same state",
        lambda plan, noise, simulation: _Repeating(plan, noise),
    ),
}
