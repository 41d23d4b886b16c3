"""Weight of evidence and information value from noisy counts, and what of both is noise.

    WOE of a bin = ln((events in it / events) / (others in it / others))
    IV = sum over bins of (share of events - share of others) * WOE

A count below one half, which noise or an empty cell leaves, is taken as one half before the
logarithm. Noise makes IV larger, the more so with many bins and few events: what it adds is
estimated by drawing it again on top of the counts as they are (2,000 times), and taken off. What a
column that says nothing would show is drawn, too: events spread over the bins by chance, with the
same noise. None of this touches a table again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ColumnEvidence", "NoisyColumn", "information_value", "weights_of_evidence"]

LEAST_COUNT = 0.5
DRAWS = 2000
_LEVEL = 0.95
_TELLING = 4.0  # deviations of a bin's noisy rows, below which it may be empty

Floats = NDArray[np.float64]


def weights_of_evidence(
    events: Floats, others: Floats, all_events: float, all_others: float
) -> Floats:
    """Return each bin's WOE; arguments in any shape, bins along the last axis."""
    shares = np.maximum(events, LEAST_COUNT) / max(all_events, LEAST_COUNT)
    rest = np.maximum(others, LEAST_COUNT) / max(all_others, LEAST_COUNT)
    return np.asarray(np.log(shares / rest))


def information_value(
    events: Floats, others: Floats, all_events: float, all_others: float
) -> Floats:
    """Return the IV of the bins along the last axis."""
    shares = np.maximum(events, LEAST_COUNT) / max(all_events, LEAST_COUNT)
    rest = np.maximum(others, LEAST_COUNT) / max(all_others, LEAST_COUNT)
    return np.asarray(((shares - rest) * np.log(shares / rest)).sum(axis=-1))


@dataclass(frozen=True, eq=False)
class ColumnEvidence:
    """What a column's counts say.

    Attributes:
        told: Which bins are in it; others may be empty, for all that the noise lets see.
        woe: Each bin's, NaN of others.
        low: The lower end of its 95 % interval by the noise alone.
        high: The upper end.
        measured: The IV of the counts as they are.
        by_noise: What noise adds to it, estimated.
        of_nothing: What of 100 columns that say nothing 95 stay below, by noise and chance.
    """

    told: NDArray[np.bool_]
    woe: Floats
    low: Floats
    high: Floats
    measured: float
    by_noise: float
    of_nothing: float

    @property
    def iv(self) -> float:
        """The IV without what noise adds."""
        return max(0.0, self.measured - self.by_noise)


@dataclass(frozen=True, eq=False)
class NoisyColumn:
    """One column's noisy counts.

    Attributes:
        events: Rows of each bin whose label is 1.
        others: The other rows.
        all_events: Events among all rows.
        all_others: Other rows among them.
        deviation: The standard deviation of the noise of a count.
        rows: How many rows each bin has, for who knows; None: others have a noise of their own.
    """

    events: Floats
    others: Floats
    all_events: float
    all_others: float
    deviation: float
    rows: Floats | None = None

    def evidence(self, rng: np.random.Generator) -> ColumnEvidence:
        """Return what the counts say.

        Args:
            rng: What noise is imitated with; it protects nobody.
        """
        told = self._told
        nan = np.full(len(told), np.nan)
        if not told.any():
            return ColumnEvidence(told, nan, nan, nan, 0.0, 0.0, 0.0)
        totals = (self.all_events, self.all_others)
        events, others = self.events[told], self.others[told]
        measured = float(information_value(events, others, *totals))
        again = self._noisy(events, others, rng)
        drawn = weights_of_evidence(*again, *totals)
        woe, low, high = nan.copy(), nan.copy(), nan.copy()
        woe[told] = weights_of_evidence(events, others, *totals)
        tail = (1 - _LEVEL) / 2
        low[told], high[told] = np.quantile(drawn, [tail, 1 - tail], axis=0)
        by_noise = float(information_value(*again, *totals).mean()) - measured
        nothing = information_value(*self._noisy(*self._by_chance(told, rng), rng), *totals)
        return ColumnEvidence(
            told, woe, low, high, measured, by_noise, float(np.quantile(nothing, _LEVEL))
        )

    @property
    def _told(self) -> NDArray[np.bool_]:
        if self.rows is not None:
            return np.asarray(self.rows > 0)
        # A bin's rows are both counts, with the noise of both.
        least = max(_TELLING * np.sqrt(2) * self.deviation, LEAST_COUNT)
        return np.asarray(self.events + self.others > least)

    def _noisy(
        self, events: Floats, others: Floats, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Return counts (draws, bins) with noise on top of given ones."""
        shape = (DRAWS, events.shape[-1])
        noise = np.rint(rng.normal(0.0, self.deviation, shape)) if self.deviation else 0.0
        if self.rows is not None:
            return events + noise, others - noise  # the rows are known exactly
        second = np.rint(rng.normal(0.0, self.deviation, shape)) if self.deviation else 0.0
        return events + noise, others + second

    def _by_chance(
        self, told: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Return counts (draws, bins) as if the bins said nothing of events."""
        noisy = (self.events + self.others if self.rows is None else self.rows)[told]
        rows: NDArray[np.int64] = np.rint(noisy).astype(np.int64)
        events = round(rows.sum() * self.all_events / (self.all_events + self.all_others))
        drawn = rng.multivariate_hypergeometric(
            rows, min(max(events, 0), int(rows.sum())), DRAWS, method="marginals"
        )
        return drawn.astype(np.float64), (rows - drawn).astype(np.float64)
