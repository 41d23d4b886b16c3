"""A scorecard's counts and their noise, from what both sides chose and how much there is.

Every column has the same number of bins, empty ones at its end: how many it really has is not told.
A row is in one bin of each column, so one label that is another moves one count a column by one,
and one row with other values two: sqrt(d) and sqrt(2d) for d columns, in the Euclidean norm. Noise
is drawn exactly from the discrete Gaussian on whole numbers, and accounted as the slightly narrower
continuous one that dominates it (`privfed.dp.domination`; docs/privacy.md).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from privfed.dp import PrivacyPlan, calibrate, discrete_gaussian
from privfed.dp.domination import LEAST_SHARE, SMOOTHING
from privfed.dp.randomness import NoiseSource
from privfed.errors import CapacityError, ConfigError
from privfed.vertical.scorecards.terms import ScorecardChoice
from privfed.vertical.trees.sums import SumsLayout
from psi.storage import json_bytes

__all__ = ["MOST_COLUMNS", "ScorecardPlan", "combined_privacy", "unit_of"]

MOST_COLUMNS = 4096
_LEAST_MULTIPLIER = math.sqrt(LEAST_SHARE**2 - SMOOTHING**2) * (1 + 1e-9)  # times the sensitivity
_LEAST_PLAIN_BITS, _ROOM_BITS = 24, 8  # above the rows: what noise may need
_TAIL = 16  # deviations: beyond with a chance below 2^-180

_UNITS = {
    "host": "one row's label",
    "guest": "one row's values in the host's columns, also where they become others",
}


@dataclass(frozen=True)
class ScorecardPlan:
    """What is counted, under which noise.

    Attributes:
        choice: What both sides chose.
        rows: How many rows are common.
        columns: How many columns the host counts.

    Raises:
        ConfigError: There are no rows or too many columns, or no noise gives this ε.
        CapacityError: So many rows, or such noise, do not fit the ring.
    """

    choice: ScorecardChoice
    rows: int
    columns: int

    def __post_init__(self) -> None:
        if self.rows < 1 or not 1 <= self.columns <= MOST_COLUMNS:
            raise ConfigError(f"a scorecard is of rows, and of 1 to {MOST_COLUMNS} columns")
        if self.rows + _TAIL * self.deviation >= self.layout.half:
            raise CapacityError(
                "such noise hides so few rows altogether: allow a larger epsilon, or count fewer "
                "columns"
            )

    @property
    def each(self) -> int:
        """How many counts a column has: its bins, and missing values last."""
        return self.choice.bins + 1

    @property
    def counts(self) -> int:
        """How many there are in all."""
        return self.columns * self.each

    @cached_property
    def layout(self) -> SumsLayout:
        """How they are summed under encryption."""
        bits = max(_LEAST_PLAIN_BITS, self.rows.bit_length() + _ROOM_BITS)
        return SumsLayout(self.counts, self.rows, 1, bits, self.counts, disjoint=self.each)

    @property
    def sensitivity(self) -> float:
        """How far one unit moves all counts together, in the Euclidean norm."""
        return math.sqrt(self.columns * (1 if self.choice.receiver == "host" else 2))

    @cached_property
    def privacy(self) -> PrivacyPlan:
        """What the noisy counts cost; at most the ε that was chosen."""
        found = calibrate(
            self.choice.epsilon,
            self.choice.delta,
            noise="local",
            rows=[self.rows],
            sampling_rates=[1.0],
            rounds=1,
            l2_clip_norm=self.sensitivity,
            privacy_unit=unit_of(self.choice),
        )
        # The proof wants noise of 4 counts; with few columns and a large ε it is more than enough.
        least = _LEAST_MULTIPLIER / self.sensitivity
        return replace(found, noise_multiplier=max(found.noise_multiplier, least))

    @property
    def deviation(self) -> float:
        """The standard deviation of each count's noise, rounded up."""
        dominating = self.privacy.noise_multiplier * self.privacy.l2_clip_norm
        return math.hypot(dominating, SMOOTHING) * (1 + 2.0**-48)

    def noise(self, randomness: NoiseSource) -> NDArray[np.int64]:
        """Draw the noise of every count once, (counts,)."""
        return discrete_gaussian(np.zeros(self.counts), self.deviation, randomness)

    def fingerprint(self) -> bytes:
        """Return 32 bytes that both sides have alike if and only if they count the same."""
        said = json_bytes([asdict(self.choice), self.rows, self.columns])
        return hashlib.sha256(b"privfed vertical scorecard 1, " + said).digest()


def unit_of(choice: ScorecardChoice) -> str:
    """Return what the noise protects, in words."""
    return _UNITS[choice.receiver]


def combined_privacy(plan: PrivacyPlan, noise_multipliers: list[float]) -> PrivacyPlan:
    """Return what a plan and earlier releases on the same rows cost together, at its δ.

    Gaussians of all rows compose to one: their squared signals over noise add up (Dong, Roth, Su,
    arXiv 1905.02383, corollary 3.3), also where later releases depend on earlier ones.

    Args:
        plan: That of the release that comes.
        noise_multipliers: Those of the earlier ones.
    """
    signal = math.fsum(one**-2 for one in (plan.noise_multiplier, *noise_multipliers))
    together = signal**-0.5 * (1 - 2.0**-48)
    return replace(plan, noise_multiplier=together, target_epsilon=None)
