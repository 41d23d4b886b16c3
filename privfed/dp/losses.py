"""The privacy loss distribution of one noisy step, for a unit with any number of rows in it.

A step releases a sum with Gaussian noise of standard deviation σ, in units of the clip norm. A unit
adds j clip norms with chance p_j, so the pair to tell apart is the mixture Σ p_j N(j, σ²) and
N(0, σ²) (Ganesh, "Tight Group-Level DP Guarantees for DP-SGD with Sampling via Mixture of Gaussians
Mechanisms", arXiv 2401.10294). Its hockey-stick divergences on a grid of ε become dp-accounting's
pessimistic distribution by connecting the dots (Doroshenko and others, arXiv 2207.04380).
dp-accounting computes the same for mixtures by one search a grid point; here it is one array.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from dp_accounting.pld import pld_pmf
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
from numpy.typing import NDArray
from scipy import special

_TAIL = 10.0  # standard deviations; the mass beyond, below 10^-22, counts as an infinite loss
_CELLS = 2**12
_HALVINGS = 32  # an error of t in the threshold changes a divergence by t² only

Floats = NDArray[np.float64]


def step_loss(
    noise_multiplier: float, chances: Sequence[float], discretisation: float
) -> PrivacyLossDistribution:
    """Return the distribution of a step's privacy loss, pessimistically on a grid.

    Args:
        noise_multiplier: σ over the clip norm, > 0.
        chances: p_0 … p_r, the chance that j of the unit's rows are in the step; they sum to one.
        discretisation: The grid of the loss, > 0.
    """
    pair = _Pair(noise_multiplier, np.asarray(chances, np.float64))
    low, high = pair.loss(np.array([-_TAIL * pair.sigma, pair.rows + _TAIL * pair.sigma]))
    removed = np.arange(math.floor(low / discretisation), math.ceil(high / discretisation) + 1)
    added = -removed[::-1]
    return PrivacyLossDistribution(
        _connect(discretisation, removed, pair.removed(removed * discretisation)),
        _connect(discretisation, added, pair.added(added * discretisation)),
    )


def _connect(discretisation: float, grid: NDArray[np.int64], deltas: Floats) -> pld_pmf.PLDPmf:
    falling = np.minimum.accumulate(np.clip(deltas, 0.0, 1.0))
    return pld_pmf.create_pmf_pessimistic_connect_dots(discretisation, grid, falling)


class _Pair:
    """The mixture with the unit and the Gaussian without it."""

    def __init__(self, sigma: float, chances: Floats) -> None:
        self.sigma, self.rows = sigma, len(chances) - 1
        present = chances > 0
        self._shifts = np.flatnonzero(present).astype(np.float64)
        self._chances = chances[present]

    def loss(self, x: Floats) -> Floats:
        """Return log(mixture / Gaussian) at x; it rises with x."""
        exponents = (np.multiply.outer(self._shifts, x).T - self._shifts**2 / 2) / self.sigma**2
        found: Floats = special.logsumexp(exponents + np.log(self._chances), axis=1)
        return found

    def _threshold(self, losses: Floats) -> Floats:
        """Return the x at which the loss is reached, or the end of the range on its side."""
        cells = np.linspace(-2 * _TAIL * self.sigma, self.rows + 2 * _TAIL * self.sigma, _CELLS)
        right = np.clip(np.searchsorted(self.loss(cells), losses), 1, _CELLS - 1)
        low, high = cells[right - 1], cells[right]
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = self.loss(middle) < losses
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return high

    def removed(self, epsilons: Floats) -> Floats:
        """Return the divergence of the mixture from the Gaussian at each ε."""
        x = self._threshold(epsilons)
        found: Floats = self._mixed(-x, -1.0) - np.exp(epsilons + special.log_ndtr(-x / self.sigma))
        return found

    def added(self, epsilons: Floats) -> Floats:
        """Return the divergence of the Gaussian from the mixture at each ε."""
        x = self._threshold(-epsilons)
        mixed = self._mixed(x, 1.0)
        with np.errstate(divide="ignore"):
            scaled = np.exp(epsilons + np.log(mixed))
        found: Floats = special.ndtr(x / self.sigma) - scaled
        return found

    def _mixed(self, x: Floats, sign: float) -> Floats:
        """Return the mixture's mass on one side of a threshold."""
        apart = np.subtract.outer(x, sign * self._shifts) / self.sigma
        mass: Floats = special.ndtr(apart) @ self._chances
        return mass
