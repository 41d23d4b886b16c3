"""The privacy loss of one noisy step on a grid, for a unit with any number of rows in it.

A step releases a sum with Gaussian noise of standard deviation σ, in units of the clip norm. A unit
adds j clip norms with chance p_j, so the pair to tell apart is the mixture Σ p_j N(j, σ²) and
N(0, σ²) (Ganesh, "Tight Group-Level DP Guarantees for DP-SGD with Sampling via Mixture of Gaussians
Mechanisms", arXiv 2401.10294). What lies between two losses of the grid is split among them so that
both laws keep their mass, which connects the dots (Doroshenko and others, arXiv 2207.04380) and
never loses less. All terms are positive, so that the smallest mass has as many digits as the
largest. docs/accounting.md has the proofs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from privfed.dp.batches import Cases

Floats = NDArray[np.float64]

_UNIT = 2.0**-53
_NODES, _WEIGHTS = special.roots_legendre(6)  # on cells so narrow that this is exact in doubles
_NEWTON, _NEAR = 6, 1e-8
_FINEST = 2**15  # losses on a grid: more cost time and save next to nothing
_MANY = 2**16  # steps from which on finer cells would cost a second
COARSE, FINE = 8, 32


@dataclass(frozen=True, eq=False)
class Loss:
    """What is lost in one direction, as masses on a grid: an upper bound once `drift` is added.

    Attributes:
        grid: Distance of neighbouring losses.
        first: The least loss, in grid units.
        masses: Chance of each loss from there up.
        infinite: Chance that counts as a breach.
        drift: How much larger than on the grid a loss may be, for rounding.
    """

    grid: float
    first: int
    masses: Floats
    infinite: float
    drift: float

    @cached_property
    def values(self) -> Floats:
        """The losses themselves."""
        found: Floats = (self.first + np.arange(len(self.masses), dtype=np.float64)) * self.grid
        return found

    @cached_property
    def logarithms(self) -> Floats:
        """Logarithms of the masses."""
        with np.errstate(divide="ignore"):
            found: Floats = np.log(self.masses)
        return found


class Losses(NamedTuple):
    """Both directions: with the unit against without it, and the other way round."""

    removed: Loss
    added: Loss


def release_grid(noise_multiplier: float, cases: Cases, tail: float) -> tuple[float, float]:
    """Return the variance of a release's loss, and the finest grid that is worth its time."""
    found = [(weight, step_grid(noise_multiplier, chances, tail)) for weight, chances in cases]
    # Cases that lose next to nothing have fine grids, which the others need not follow.
    return (
        math.fsum(weight * variance for weight, (variance, _) in found),
        max(finest for _, (_, finest) in found),
    )


def release_losses(noise_multiplier: float, cases: Cases, grid: float, tail: float) -> Losses:
    """Return a release's losses on a grid: those of the case that is there, by its chance."""
    found = [
        (weight, step_losses(noise_multiplier, chances, grid, tail)) for weight, chances in cases
    ]
    if len(found) == 1:
        return found[0][1]
    return Losses(
        _mixed([(weight, each.removed) for weight, each in found]),
        _mixed([(weight, each.added) for weight, each in found]),
    )


def pair_losses(epsilon: float, delta: float, grid: float) -> Losses:
    """Return the losses of whatever is (ε, δ)-DP: ε or -ε, or with chance δ everything."""
    last = math.ceil(epsilon / grid) if epsilon < math.inf else 0
    masses = np.zeros(2 * last + 1)
    masses[0] += (1 - delta) / (1 + math.exp(last * grid))
    masses[-1] += (1 - delta) / (1 + math.exp(-last * grid))
    infinite = delta if epsilon < math.inf else 1.0
    loss = Loss(grid, -last, masses, infinite, 4 * _UNIT * last * grid)
    return Losses(loss, loss)


def _mixed(losses: Sequence[tuple[float, Loss]]) -> Loss:
    first = min(loss.first for _, loss in losses)
    masses = np.zeros(max(loss.first + len(loss.masses) for _, loss in losses) - first)
    for weight, loss in losses:
        masses[loss.first - first :][: len(loss.masses)] += weight * loss.masses
    infinite = math.fsum(weight * loss.infinite for weight, loss in losses)
    return Loss(losses[0][1].grid, first, masses, infinite, max(loss.drift for _, loss in losses))


def step_grid(
    noise_multiplier: float, chances: Sequence[float], tail: float
) -> tuple[float, float]:
    """Return the variance of a step's loss, and the finest grid that is worth its time."""
    pair = _Pair(noise_multiplier, chances, tail)
    _, with_unit, _, losses = pair.nodes(pair.edges)
    mean = float((with_unit * losses).sum())
    variance = float((with_unit * (losses - mean) ** 2).sum())
    low, high = pair.loss(pair.edges[[0, -1]])
    return variance, float(high - low) / _FINEST


def loss_grid(variance: float, steps: int, finest: float, cells: int | None = None) -> float:
    """Return the grid for so many steps, whose losses have that variance together.

    A cell of a k-th of a step's deviation adds at most 1/(4k²) to the variance: the noise that a
    target needs grows by at most 1 part in 512 of 8, 8192 of 32. It is a power of two, so that
    steps that are alike have one grid.

    Args:
        variance: The variance of all steps' losses together.
        steps: The number of steps.
        finest: The grid's least value.
        cells: The k above, `COARSE` or `FINE`; None: the finer one unless steps are many.
    """
    cells = cells or (COARSE if steps > _MANY else FINE)
    return 2.0 ** math.floor(math.log2(max(math.sqrt(variance / steps) / cells, finest)))


@functools.lru_cache(maxsize=256)
def step_losses(
    noise_multiplier: float, chances: tuple[float, ...], grid: float, tail: float
) -> Losses:
    """Return a step's losses on a grid.

    Args:
        noise_multiplier: σ over the clip norm, > 0.
        chances: p_0 … p_r, the chance that j of the unit's rows are in the step; they sum to one.
        grid: The grid of the loss, > 0.
        tail: Mass at either end of the noise that counts as a breach, so that it need not be
            followed.
    """
    pair = _Pair(noise_multiplier, chances, tail)
    edges, (low, high) = pair.edges, pair.loss(pair.edges[[0, -1]])
    first = math.floor(low / grid)
    last = max(math.ceil(high / grid), first + 1)
    thresholds = pair.thresholds(np.arange(first + 1, last) * grid)
    edges = np.sort(np.concatenate([edges, thresholds]))
    without_unit, with_unit, middle, losses = pair.nodes(edges)
    cell = np.clip(np.floor(middle / grid).astype(np.int64) - first, 0, last - first - 1)
    above = np.clip(losses - (first + cell) * grid, 0.0, grid)
    upper = np.expm1(above) / math.expm1(grid)
    lower = np.expm1(above - grid) / math.expm1(-grid)

    def gather(low: Floats, high: Floats) -> Floats:
        size = last - first + 1
        found = np.zeros(size)
        found += np.bincount(cell, low.sum(axis=0), size)
        found += np.bincount(cell + 1, high.sum(axis=0), size)
        return found

    removed = gather(with_unit * lower * np.exp(-above), with_unit * upper * np.exp(grid - above))
    added = gather(without_unit * lower, without_unit * upper)
    rest = (4 * tail, pair.rounding)
    return Losses(Loss(grid, first, removed, *rest), Loss(grid, -last, added[::-1], *rest))


class _Pair:
    """The mixture with the unit and the Gaussian without it, between the tails of both."""

    def __init__(self, sigma: float, chances: Sequence[float], tail: float) -> None:
        self._sigma = sigma
        given = np.asarray(chances, np.float64)
        self._shifts = np.flatnonzero(given > 0).astype(np.float64)
        self._chances = given[given > 0]
        reach = -float(special.ndtri(tail)) * sigma
        rows = float(self._shifts[-1])

        low, high = reach, rows + reach
        while high - low > 1e-3 * sigma:  # to the least that leaves no more than the tail beyond
            middle = (low + high) / 2
            beyond = float(special.ndtr((self._shifts - middle) / sigma) @ self._chances)
            low, high = (middle, high) if beyond > tail else (low, middle)
        width = sigma / (15 + 2 * rows / sigma)
        self.edges = np.linspace(-reach, high, math.ceil((high + reach) / width) + 1)
        exponent = rows * (max(reach, high) + rows) / sigma**2
        self.rounding = _UNIT * (8 * exponent + 2 * rows + 16)

    # Along the first axis lie the numbers of rows: few, which NumPy would walk slowly as the last.
    # Operations are in place, as fresh memory costs more time than they.

    def _exponents(self, x: Floats) -> Floats:
        shifts = self._shifts.reshape(-1, *[1] * x.ndim)
        found: Floats = x - shifts / 2
        found *= shifts
        found /= self._sigma**2
        return found

    def _mean(self, values: Floats) -> Floats:
        found: Floats = np.einsum("k,k...->...", self._chances, values)
        return found

    def loss(self, x: Floats) -> Floats:
        """Return log(mixture / Gaussian) at x; it rises with x, and is convex."""
        exponents = self._exponents(x)
        top = exponents.max(axis=0)
        exponents -= top
        found: Floats = np.log(self._mean(np.exp(exponents, out=exponents)))
        found += top
        # Where the loss is small, 1 + (the rest) would round it.
        is_small = np.abs(found) < 0.25
        found[is_small] = np.log1p(self._mean(np.expm1(self._exponents(x[is_small]))))
        return found

    def _slope(self, x: Floats) -> Floats:
        weights = self._exponents(x)
        weights -= weights.max(axis=0)
        np.exp(weights, out=weights)
        found: Floats = np.einsum("k,k...->...", self._chances * self._shifts, weights)
        found /= self._mean(weights) * self._sigma**2
        return found

    def thresholds(self, losses: Floats) -> Floats:
        """Return the x at which each loss is reached, by Newton's method from the right."""
        right = np.clip(np.searchsorted(self.loss(self.edges), losses), 1, len(self.edges) - 1)
        low, x = self.edges[right - 1], self.edges[right]
        for _ in range(_NEWTON):
            nearer = np.clip(x - (self.loss(x) - losses) / self._slope(x), low, self.edges[right])
            moved, x = float(np.abs(nearer - x).max(initial=0.0)), nearer
            if moved <= _NEAR * self._sigma:  # the next would move it by about the square
                break
        return x

    def nodes(self, edges: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return (nodes, cells) masses of both laws, losses in the cells' middles and at nodes."""
        middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
        x = middle + half * _NODES[:, None]
        width = half * _WEIGHTS[:, None] / (self._sigma * math.sqrt(2 * math.pi))
        densities = x - self._shifts[:, None, None]
        densities /= self._sigma
        densities *= densities
        densities /= -2
        with_unit = width * self._mean(np.exp(densities, out=densities))
        without_unit = width * np.exp(-((x / self._sigma) ** 2) / 2)
        return without_unit, with_unit, self.loss(middle), self.loss(x)
