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
        self._most = sum(count * (loss.first + len(loss.masses) - 1) for loss, count in parts)
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

    def keeps(self, epsilon: float, delta: float) -> bool:
        """Return whether δ at `epsilon` is surely at most `delta`."""
        wanted = epsilon - self._drift
        if wanted > 0 and delta > self._infinite:
            # Chernoff's bound, doubled for rounding, at about its best tilt: where much is left.
            tilt = min(-2 * math.log(delta) / wanted, _STEEPEST / self._grid)
            left = (delta - self._infinite) / (2 * self._growth)
            if self._log(tilt) - tilt * wanted <= math.log(left):
                return True
        return self.delta(epsilon) <= delta

    def deltas(self, tail: float) -> tuple[int, Floats]:
        """Return bounds on δ on the grid, down to about `tail`, and the place of the first.

        Each of several tilts has the digits of one stretch; each gives a bound everywhere.
        """
        found, end = [(0.0, self._moments(0.0))], math.log(tail)
        for _ in range(_ITERATIONS):
            tilt, at = found[-1]
            if at.log - tilt * at.mean < end or tilt * self._grid >= _STEEPEST:
                break
            found.append(self._next(tilt, at, 5 * end))
        window = self._first(*found[0]), self._last(*found[-1])
        bounds = [self._curve(*each, window).on_grid() for each in found]
        return window[0], np.minimum.accumulate(np.minimum.reduce(bounds))

    def _next(self, tilt: float, at: _Moments, least: float) -> tuple[float, _Moments]:
        """Return a larger tilt that leaves no stretch between the two without digits.

        What lies between two means is at most six deviations from one of them. Into a heavy tail a
        small tilt moves the mean far: then steps are shorter than the deviation says, and end
        before the tail is below e^`least`, which nobody asks for and a long window would pay.
        """
        step = _STEEPEST / self._grid - tilt
        if at.variance > 0:
            step = min(step, 10 / math.sqrt(at.variance))
        while True:
            more, then = tilt + step, self._moments(tilt + step)
            reach = 6 * (math.sqrt(at.variance) + math.sqrt(then.variance))
            if then.mean - at.mean <= reach and then.log - more * then.mean >= least:
                return more, then
            step /= 2

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
            mean = _dot(weights, loss.values) / total
            logs.append(count * (top + math.log(total)))
            means.append(count * mean)
            variances.append(count * _dot(weights, (loss.values - mean) ** 2) / total)
        return _Moments(math.fsum(logs), math.fsum(means), math.fsum(variances))

    def _log(self, tilt: float) -> float:
        """Return the log of the generating function."""
        found = ((count, *_tilted(loss, tilt)) for loss, count in self._parts)
        return math.fsum(
            count * (top + math.log(float(weights.sum()))) for count, top, weights in found
        )

    def _first(self, tilt: float, at: _Moments) -> int:
        """Return a sum, in grid units, below which less than e^-30 of the tilted mass lies."""
        least = sum(count * loss.first for loss, count in self._parts)
        if at.variance <= 0:
            return least

        def below(less: float) -> float:
            return at.mean - (at.log - self._log(tilt - less) - _LEFT_OUT) / less

        unit = 1 / math.sqrt(at.variance)  # of a Gaussian, 7.7 of it would be best
        low = at.mean - _nearest(below, (8 * unit, 12 * unit), _FAR / unit)
        return min(max(least, math.floor(low / self._grid)), self._most)

    def _last(self, tilt: float, at: _Moments) -> int:
        """Return a sum above which less than e^(`at.log` - tilt·`at.mean` - 30) lies, untilted."""
        if at.variance <= 0:
            return self._most
        base = at.log - tilt * at.mean - _LEFT_OUT

        def above(more: float) -> float:
            return (self._log(tilt + more) - base) / (tilt + more) - at.mean

        unit = 1 / math.sqrt(at.variance)
        high = at.mean + _nearest(above, (2 * unit, 4 * unit, 8 * unit), _FAR / unit)
        # A tilt may raise a step's far tail again: let two such steps stay in the window.
        longest = max(len(loss.masses) for loss, _ in self._parts)
        return min(self._most, math.ceil(high / self._grid) + 2 * longest)

    def curve(self, tilt: float) -> DeltaCurve:
        """Return δ of every ε in the window where that tilt puts the mass."""
        at = self._moments(tilt)
        return self._curve(tilt, at, (self._first(tilt, at), self._last(tilt, at)))

    def _curve(self, tilt: float, at: _Moments, window: tuple[int, int]) -> DeltaCurve:
        first, last = window[0], max(window)
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
            centre = round(_dot(weights, np.arange(float(len(weights)))))
            offset += count * (loss.first + centre)
            places = (np.arange(len(weights)) - centre) % length
            found = fft.rfft(np.bincount(places, weights, length))
            size = np.abs(found)
            error = relative * math.sqrt(length) * _norm(weights)
            bound = size + error
            with np.errstate(divide="ignore"):
                log_size += count * np.log(size)
            angle += count * np.arctan2(found.imag, found.real)
            log_bound += count * np.log(bound)
            errors += count * (error / bound + 8 * _UNIT * (1 + np.abs(np.log(bound))))
        product = np.exp(log_size)
        sums = fft.irfft(product * np.exp(1j * angle), length) if length > 1 else product
        noise = _norm(np.exp(log_bound) * errors) + relative * _norm(product)
        sums = np.roll(np.maximum(sums, 0.0), (offset - first) % length)
        return DeltaCurve(
            self._grid,
            first,
            sums,
            tilt,
            at,
            math.sqrt(2 / length) * noise,
            growth=self._growth,
            infinite=self._infinite,
        )


def _dot(one: Floats, other: Floats) -> float:
    """Return the sum of products by a plain loop: a BLAS may wake threads, which cost far more."""
    return float(np.einsum("i,i->", one, other))


def _norm(values: Floats) -> float:
    return math.sqrt(_dot(values, values))


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
            untilted = np.exp(base - tilt * away)
            masses = np.where(sums > 0, sums * untilted, 0.0)
            above = np.cumsum(masses[::-1])[::-1]
            scaled = np.cumsum((masses * np.exp(-away))[::-1])[::-1]
            # By Cauchy and Schwarz: the error of all values above one, weighted by e^(-tilt·loss).
            norm = math.sqrt(min(len(sums), 1 / max(-math.expm1(-2 * tilt * grid), 1e-300)))
            noise = error * norm * math.exp(-tilt * grid) * untilted
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
