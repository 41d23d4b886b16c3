"""The trusted server of central noise: it adds the parties' sums, and the plan's noise once."""

from __future__ import annotations

import numpy as np

from privfed.dp import PrivacyPlan, SecretRandomness
from privfed.dp.shares import SLACK
from privfed.errors import CapacityError
from privfed.partner.carriers import read_sum


class NoisySum:
    """One round's sum; `Aggregator` of `privfed.secagg` is what encrypted ones have instead.

    Args:
        plan: A plan with noise="central".
    """

    def __init__(self, plan: PrivacyPlan) -> None:
        self._plan = plan
        self._sum = np.zeros(plan.dimension)

    def add(self, data: bytes) -> None:
        """Add a party's sum.

        Raises:
            DecodeError: It is none.
            CapacityError: It is larger than clipped gradients can be.
        """
        values = read_sum(data, self._plan.dimension)
        # Beside a far larger sum others' rows would be rounded by more than `SLACK`.
        most = max(self._plan.rows) * self._plan.l2_clip_norm * (1 + SLACK)
        if not np.abs(values).max() <= most:
            raise CapacityError("a sum is larger than clipped gradients can be")
        self._sum += values

    def total(self) -> bytes:
        """Return the noisy sum; it is drawn anew at each call."""
        noisy = SecretRandomness().noisy(self._sum, self._deviation)
        return noisy.astype("<f8").tobytes()

    @property
    def _deviation(self) -> float:
        return self._plan.noise_multiplier * self._plan.l2_clip_norm * (1 + SLACK)
