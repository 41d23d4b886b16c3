"""A party's noise as integers, so that the sum under encryption carries all of it.

Every party draws its integers from the discrete Gaussian around its own unrounded sum, which is the
noise and the rounding in one (Kairouz, Liu, Steinke, arXiv 2102.06387, with shifted centres). The
proof is in docs/privacy.md, the cost in `privfed.dp.plan`.
"""

from __future__ import annotations

import bisect
import math

import numpy as np
from numpy.typing import NDArray

from privfed.dp.discrete import discrete_gaussian
from privfed.dp.domination import domination_gap
from privfed.dp.plan import PrivacyPlan
from privfed.dp.randomness import NoiseSource, require_secret
from privfed.errors import ConfigError

SLACK = 1e-6
"""Share of the clip norm that floating point may add to a sensitivity: once in the sum, and once in
the division by the grid. It is enough for a million rows at each party."""
OVERFLOW = 2.0**-40  # chance at most that any value of any round leaves the encoding


class NoiseShares:
    """The integers of a plan with noise="shares": what a party sends, and what the sum means.

    Args:
        plan: The plan that all parties agreed on.
        simulation: Whether seeded randomness is allowed.

    Raises:
        ConfigError: The plan's noise is not made of shares.
    """

    def __init__(self, plan: PrivacyPlan, *, simulation: bool = False) -> None:
        if not plan.is_shared:
            raise ConfigError(f"the plan's noise is {plan.noise}: shares need noise='shares'")
        self.plan, self._simulation = plan, simulation
        # Of the grid, in the sum's units.
        self.step = plan.grid * plan.l2_clip_norm * (1 + 2 * SLACK)

    def draw(
        self, clipped: NDArray[np.float64], l2_sensitivity: float, randomness: NoiseSource
    ) -> NDArray[np.int64]:
        """Return one party's noisy integers of one round.

        Args:
            clipped: (dimension,) sum of this party's clipped rows.
            l2_sensitivity: How far one row moves it; at most the plan's clip norm, up to `SLACK`.
            randomness: A source of its own, whose draws nobody repeats; seeded only in simulation.

        Raises:
            ConfigError: The sum does not fit the plan or is not finite, or a seed would have to
                protect it.
        """
        require_secret([randomness], self._simulation)
        check_sum(self.plan, clipped, l2_sensitivity)
        return discrete_gaussian(clipped / self.step, self.plan.share_grid_std, randomness)

    def decode(self, sums: NDArray[np.int64]) -> NDArray[np.float64]:
        """Turn decrypted integer sums into the noisy sum of all parties."""
        return sums.astype(np.float64) * self.step

    @property
    def largest_sum(self) -> int:
        """Magnitude that no summed integer of the whole training exceeds, except with chance 2^-40.

        Half of that chance is for a step with more rows than this bound counts, where each row adds
        one clip norm along one axis. The other half is for the noise of all parties, whose tail is
        a Gaussian's (docs/privacy.md, equation (3)).
        """
        from scipy import stats  # half a second, which who only draws noise does not wait for

        plan = self.plan
        releases = max(plan.steps)
        # A coin with a smaller chance shows heads less often: the largest rate bounds all.
        chance, count = OVERFLOW / 2 / releases, sum(plan.rows)
        rate = max(plan.sampling_rates)
        rows = bisect.bisect_left(
            range(count + 1), True, key=lambda drawn: stats.binom.sf(drawn, count, rate) <= chance
        )
        if plan.truncated_batch_sizes is not None:
            rows = min(rows, sum(plan.truncated_batch_sizes))
        deviation = plan.share_grid_std * math.sqrt(plan.parties)
        gap = domination_gap(plan.dimension, releases, plan.parties)
        logarithm = math.log(2 * releases * plan.dimension / (OVERFLOW / 2)) + gap
        noise = deviation * math.sqrt(2 * logarithm)
        return math.ceil(rows / plan.grid + noise) + 1

    @property
    def bits(self) -> int:
        """Bits of a value in `privfed.secagg.Parameters`, so that every sum fits."""
        # A sum over M parties may reach M·(2^(bits-1) - 1).
        per_party = -(-self.largest_sum // self.plan.parties)
        return max(6, per_party.bit_length() + 1)


def check_sum(plan: PrivacyPlan, clipped: NDArray[np.float64], l2_sensitivity: float) -> None:
    """Refuse a sum of clipped rows that the plan's noise would not hide.

    Raises:
        ConfigError: Its length is not the plan's dimension, or a row moves it too far.
    """
    if clipped.shape != (plan.dimension,):
        raise ConfigError(
            f"the plan is for {plan.dimension} values, not {list(clipped.shape)}: "
            "calibrate it with this model's dimension"
        )
    if not l2_sensitivity <= plan.l2_clip_norm * (1 + SLACK):
        raise ConfigError(
            f"a row moves this sum by {l2_sensitivity:g}, the plan allows "
            f"{plan.l2_clip_norm:g}: clip to the plan's norm"
        )
