"""What many steps lose together: sums of losses by a tilted Fourier transform, with its error.

A sum's far tail is smaller than the rounding of a plain transform. So masses are tilted first, by
e^(θ·loss), with θ such that the tail that is asked for is where most of the tilted mass lies, and
its digits are as good there as anybody's. Rounding of the transform, what wraps around its window
and what the grid leaves out is bounded and added: each number here is an upper bound.
docs/accounting.md has the proofs, and the constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import fft

from privfed.dp.losses import Floats, Loss
from privfed.errors import ConfigError

_UNIT = 2.0**-53
MASS_ERROR = 2.0**-40
"""Relative error of a step's masses, and of tilting them, that is paid for."""
_TRANSFORM_ERROR = 16 * _UNIT  # for each doubling of the length, in the Euclidean norm
_LEFT_OUT = 30.0  # e^-30 of a tail may lie outside the window
_FAR = 16.0  # standard deviations, twice as many as a Gaussian needs
_LARGEST = 2**24
_ITERATIONS = 60
_FEW = 64
_STEEPEST = 64.0  # tilt over the grid: neighbours differ by e^64
_TIGHT, _NEAR = 1e-6, 1e-6


class _Moments(NamedTuple):
    """Of tilted losses: the log of their generating function, their mean and their variance."""

    log: float
    mean: float
    variance: float


class Composition:
    """The sum of independent losses on one grid, in one direction.

    Args:
        parts: Each loss with how often it is suffered, ≥ 1; at least one.
    """

    def __init__(self, parts: Sequence[tuple[Loss, int]]) -> None:
        self._parts = parts
        self._grid = parts[0][0].grid
        self._infinite = math.fsum(count * loss.infinite for loss, count in parts)
        self._drift = math.fsum(count * loss.drift for loss, count in parts)
        self._growth = math.exp(sum(count for _, count in parts) * MASS_ERROR)

    def epsilon(self, delta: float) -> float:
        """Return the least ε ≥ 0 whose δ is surely at most `delta`, or infinity."""
        if not delta > self._infinite:
            return math.inf
        wanted = math.log(delta)
        guess = math.sqrt(-2 * wanted / max(self._moments(0.0).variance, 1e-300))

        def tail(moments: _Moments, tilt: float) -> tuple[float, float]:
            return wanted - moments.log + tilt * moments.mean, tilt * moments.variance

        curve = self.curve(self._solve(tail, guess))
        most = math.fsum(count * float(loss.values[-1]) for loss, count in self._parts)
        low, high = 0.0, min(curve.epsilon(delta), most)
        few = sum(count for _, count in self._parts) <= _FEW
        if few and high > 0 and not curve.is_tight(high, delta):
            # Chernoff's bound is far above the curve of few steps: look where that is.
            if self.delta(0.0) <= delta:
                return 0.0
            while high - low > _NEAR * high and not curve.is_tight(high, delta):
                middle = (low + high) / 2
                curve = self.curve(self._tilt_to(middle))
                high = min(high, curve.epsilon(delta))
                low = min(middle, high)
                if curve.delta(middle) <= delta:
                    low, high = 0.0, min(middle, high)
        return high + self._drift if high > 0 else 0.0

    def delta(self, epsilon: float) -> float:
        """Return an upper bound on δ at `epsilon`."""
        wanted = epsilon - self._drift
        return self.curve(self._tilt_to(wanted)).delta(wanted)

    def deltas(self, tail: float) -> tuple[int, Floats]:
        """Return bounds on δ on the grid, down to about `tail`, and the place of the first.

        Each of several tilts has the digits of one stretch; each gives a bound everywhere.
        """
        tilt, found = 0.0, [(0.0, self._moments(0.0))]
        for _ in range(_ITERATIONS):
            at = found[-1][1]
            if at.log - tilt * at.mean < math.log(tail) or not at.variance > 0:
                break
            tilt += 4 / math.sqrt(at.variance)
            found.append((tilt, self._moments(tilt)))
        window = self._window(*found[0])[0], self._window(*found[-1])[1]
        bounds = [self._curve(*each, window).on_grid() for each in found]
        return window[0], np.minimum.accumulate(np.minimum.reduce(bounds))

    def _tilt_to(self, wanted: float) -> float:
        """Return the tilt that moves the mean up to a loss, or 0 where it is above."""
        middle = self._moments(0.0)
        if middle.mean >= wanted:
            return 0.0
        guess = (wanted - middle.mean) / max(middle.variance, 1e-300)
        return self._solve(lambda at, _: (at.mean - wanted, at.variance), guess)

    def _solve(
        self, excess: Callable[[_Moments, float], tuple[float, float]], guess: float
    ) -> float:
        """Return about where the excess changes sign; any tilt is right, a near one tight."""
        low, high, tilt = 0.0, math.inf, min(guess, _STEEPEST / self._grid)
        for _ in range(_ITERATIONS):
            value, slope = excess(self._moments(tilt), tilt)
            low, high = (low, tilt) if value > 0 else (tilt, high)
            step = tilt - value / slope if slope > 0 else math.inf
            if abs(step - tilt) <= 1e-3 * tilt or low >= _STEEPEST / self._grid:
                break
            if not low < step < high:
                step = (low + high) / 2 if high < math.inf else 2 * tilt
            tilt = min(step, 4 * tilt, _STEEPEST / self._grid)
        return tilt

    def _moments(self, tilt: float) -> _Moments:
        logs, means, variances = [], [], []
        for loss, count in self._parts:
            top, weights = _tilted(loss, tilt)
            total = float(weights.sum())
            mean = float(weights @ loss.values) / total
            logs.append(count * (top + math.log(total)))
            means.append(count * mean)
            variances.append(count * float(weights @ (loss.values - mean) ** 2) / total)
        return _Moments(math.fsum(logs), math.fsum(means), math.fsum(variances))

    def _window(self, tilt: float, at: _Moments) -> tuple[int, int]:
        """Return the first and last sum, in grid units, between which what counts lies.

        By Chernoff's bound, less than e^-30 of the tilted mass is below. Above is less than
        e^(`at.log` - tilt·`at.mean` - 30) before it is tilted.
        """
        least = sum(count * loss.first for loss, count in self._parts)
        most = sum(count * (loss.first + len(loss.masses) - 1) for loss, count in self._parts)
        if at.variance <= 0:
            return least, most
        unit = 1 / math.sqrt(at.variance)  # of a Gaussian, 7.7 of it would be best
        base = at.log - tilt * at.mean - _LEFT_OUT

        def above(more: float) -> float:
            return (self._moments(tilt + more).log - base) / (tilt + more) - at.mean

        def below(less: float) -> float:
            return at.mean - (at.log - self._moments(tilt - less).log - _LEFT_OUT) / less

        high = at.mean + _nearest(above, (2 * unit, 4 * unit, 8 * unit), _FAR / unit)
        low = at.mean - _nearest(below, (8 * unit, 12 * unit), _FAR / unit)
        # A tilt may raise a step's far tail again: let two such steps stay in the window.
        longest = max(len(loss.masses) for loss, _ in self._parts)
        first = min(max(least, math.floor(low / self._grid)), most)
        return first, max(first, min(most, math.ceil(high / self._grid) + 2 * longest))

    def curve(self, tilt: float) -> DeltaCurve:
        """Return δ of every ε in the window where that tilt puts the mass."""
        at = self._moments(tilt)
        return self._curve(tilt, at, self._window(tilt, at))

    def _curve(self, tilt: float, at: _Moments, window: tuple[int, int]) -> DeltaCurve:
        first, last = window
        length = 1 << (last - first).bit_length()
        if length > _LARGEST:
            raise ConfigError("so many steps are more than can be accounted for: ask for fewer")
        relative = _TRANSFORM_ERROR * max(1, length.bit_length() - 1)
        log_size = np.zeros(length // 2 + 1)
        angle, log_bound, errors = log_size.copy(), log_size.copy(), log_size.copy()
        offset = 0
        for loss, count in self._parts:
            weights = _tilted(loss, tilt)[1]
            weights /= weights.sum()
            centre = round(float(weights @ np.arange(len(weights))))
            offset += count * (loss.first + centre)
            places = (np.arange(len(weights)) - centre) % length
            found = fft.rfft(np.bincount(places, weights, length))
            size = np.abs(found)
            error = relative * math.sqrt(length) * float(np.linalg.norm(weights))
            bound = size + error
            with np.errstate(divide="ignore"):
                log_size += count * np.log(size)
            angle += count * np.angle(found)
            log_bound += count * np.log(bound)
            errors += count * (error / bound + 8 * _UNIT * (1 + np.abs(np.log(bound))))
        product = np.exp(log_size)
        sums = fft.irfft(product * np.exp(1j * angle), length) if length > 1 else product
        noise = np.linalg.norm(np.exp(log_bound) * errors) + relative * np.linalg.norm(product)
        sums = np.roll(np.maximum(sums, 0.0), (offset - first) % length)
        return DeltaCurve(
            self._grid,
            first,
            sums,
            tilt,
            at,
            math.sqrt(2 / length) * float(noise),
            growth=self._growth,
            infinite=self._infinite,
        )


def _nearest(end: Callable[[float], float], tilts: Sequence[float], far: float) -> float:
    """Return the nearest end that a tilt finds; gentler ones are tried where a tail is heavy."""
    found, tilt = min(map(end, tilts)), min(tilts) / 2
    while found > far and (nearer := end(tilt)) < found:
        found, tilt = nearer, tilt / 2
    return found


def _tilted(loss: Loss, tilt: float) -> tuple[float, Floats]:
    """Return the tilted masses over their largest, and its logarithm."""
    exponents = loss.logarithms + tilt * loss.values
    top = float(exponents.max())
    # Smaller ones would be subnormal, which is slow; a mass too much only adds to the bound.
    return top, np.exp(np.maximum(exponents - top, -600.0))


class DeltaCurve:
    """δ as a function of ε, bounded from above and tight in one stretch."""

    def __init__(
        self,
        grid: float,
        first: int,
        sums: Floats,
        tilt: float,
        at: _Moments,
        error: float,
        *,
        growth: float,
        infinite: float,
    ) -> None:
        self._centre = at.mean
        values = (first + np.arange(len(sums))) * grid
        away = values - self._centre
        base = at.log - tilt * at.mean  # Chernoff's bound of the tail from the centre on
        self._growth, self._beyond = growth, math.exp(base - _LEFT_OUT)
        self._rest = infinite + growth * self._beyond
        with np.errstate(over="ignore", invalid="ignore"):
            masses = np.where(sums > 0, sums * np.exp(base - tilt * away), 0.0)
            above = np.cumsum(masses[::-1])[::-1]
            scaled = np.cumsum((masses * np.exp(-away))[::-1])[::-1]
            # By Cauchy and Schwarz: the error of all values above one, weighted by e^(-tilt·loss).
            norm = math.sqrt(min(len(sums), 1 / max(-math.expm1(-2 * tilt * grid), 1e-300)))
            noise = error * norm * np.exp(base - tilt * (away + grid))
        rounding = 4 * len(sums) * _UNIT * above
        self._values, self._grid = values, grid
        # Between two values δ is `above - e^(ε - centre)·scaled` of the upper one.
        self._above, self._scaled = np.append(above + rounding, 0.0), np.append(scaled, 0.0)
        self._noise = noise

    @property
    def lowest(self) -> float:
        """The least ε of the window."""
        return float(self._values[0])

    def is_tight(self, epsilon: float, delta: float) -> bool:
        """Return whether the error is a small part of `delta` there."""
        place = math.ceil((epsilon - self.lowest) / self._grid) - 1
        if not 0 <= place < len(self._noise):
            return False
        return bool(self._noise[place] + self._beyond < _TIGHT * delta)

    def on_grid(self) -> Floats:
        """Return δ at every value."""
        with np.errstate(over="ignore", invalid="ignore"):
            factors = np.exp(self._values - self._centre)
            exact = np.maximum(self._above[1:] - factors * self._scaled[1:], 0.0)
            found = self._growth * (exact + self._noise) + self._rest
        return np.where(found < 1, found, 1.0)

    def epsilon(self, delta: float) -> float:
        """Return an ε in the window whose δ is at most `delta`, the least but for the error."""
        over = np.flatnonzero(self.on_grid() > delta)
        if not len(over):
            return self.lowest
        if over[-1] + 1 == len(self._values):
            return math.inf
        low = int(over[-1])
        left = (delta - self._rest) / self._growth
        gap, scaled = float(self._above[low + 1] + self._noise[low]) - left, self._scaled[low + 1]
        if not (0 < gap < math.inf and 0 < scaled < math.inf):
            return float(self._values[low + 1])
        found = self._centre + math.log(gap / scaled)
        return float(np.clip(found, self._values[low], self._values[low + 1]))

    def delta(self, epsilon: float) -> float:
        """Return the δ of an ε."""
        place = math.floor((epsilon - self.lowest) / self._grid)
        if place < 0:  # under the chord from (e^ε, δ) = (0, 1)
            return 1 - (1 - self.delta(self.lowest)) * math.exp(epsilon - self.lowest)
        if place >= len(self._values):
            return min(1.0, self._rest)
        factor = math.exp(min(epsilon - self._centre, 700.0))
        with np.errstate(invalid="ignore"):  # far below the tilt's mean numbers may be infinite
            exact = self._above[place + 1] - factor * self._scaled[place + 1]
        found = self._growth * (max(exact, 0.0) + self._noise[place]) + self._rest
        return float(found) if found < 1 else 1.0
