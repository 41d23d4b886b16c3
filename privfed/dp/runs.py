"""How many times a private training is repeated so that its best run costs little.

Papernot and Steinke, "Hyperparameter Tuning with Rényi Differential Privacy", ICLR 2022 (arXiv
2110.03620), after Liu and Talwar (STOC 2019): if the number of runs is random, independent of the
data and nobody's to see, the best of them costs about what two or three do, however many there are.
"""

from __future__ import annotations

import decimal
import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

from privfed.dp.discrete import WordSource
from privfed.dp.renyi import ORDERS, Floats
from privfed.errors import ConfigError

_MOST_RUNS = 1000  # on average
_BITS = 320  # of the uniform number that a number of runs is read off
_DIGITS = 100
_NEGLIGIBLE = Decimal("1e-80")
_LEAST_GAMMA = 1e-20  # below, numbers come up that are too large for so many digits
_NEAR_ZERO = 1e-12
DRAW_ERROR = 1e-75
"""How far, in total variation, the number that is drawn may be from its law."""


@dataclass(frozen=True)
class FixedRuns:
    """A fixed number of runs, which compose: all of them may be seen.

    Attributes:
        count: How many, ≥ 1.

    Raises:
        ConfigError: There are none.
    """

    count: int

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "count", operator.index(self.count))
        except TypeError:
            raise ConfigError("a number of runs is whole") from None
        if self.count < 1:
            raise ConfigError(f"tuning needs at least 1 run, not {self.count}")

    def __str__(self) -> str:
        return f"{self.count} run" + "s" * (self.count > 1)

    def draw(self, randomness: WordSource) -> int:
        """Return the number."""
        return self.count


@dataclass(frozen=True)
class RandomRuns:
    """A random number of runs, of which the best alone is ever seen, and not how many there were.

    Attributes:
        mean: How many on average: above 1, or for Poisson at least 1.
        shape: η > -1 of a truncated negative binomial law (0: logarithmic, 1: geometric), or
            infinity for Poisson, which may give no run at all. A smaller one costs less and varies
            more. One within 1e-12 of 0 is taken for 0.

    Raises:
        ConfigError: A number is out of range, or no law of that shape has that mean: with one
            near -1 the number would be 1 nearly always, and past all bounds else.
    """

    mean: float
    shape: float = 1.0

    def __post_init__(self) -> None:
        try:
            for name in ("mean", "shape"):
                object.__setattr__(self, name, float(getattr(self, name)))
        except (TypeError, ValueError, OverflowError):
            raise ConfigError("the mean and the shape of a number of runs are numbers") from None
        if not self.shape > -1:
            raise ConfigError(f"the shape must be above -1, not {self.shape}")
        least = 1.0 if self.is_poisson else 1.001
        if not least <= self.mean <= _MOST_RUNS:
            raise ConfigError(
                f"the mean number of runs must be {least:g} to {_MOST_RUNS}, not {self.mean}"
            )
        if abs(self.shape) < _NEAR_ZERO:
            object.__setattr__(self, "shape", 0.0)
        if not self.is_poisson and not self._has_its_mean():
            raise ConfigError(
                f"a random number of runs of shape {self.shape:g} cannot have a mean of "
                f"{self.mean:g}: take a shape from -0.5 to 1000, or infinity for Poisson"
            )

    def __str__(self) -> str:
        names = {0.0: "logarithmic", 1.0: "geometric", math.inf: "Poisson"}
        law = names.get(self.shape, f"truncated negative binomial of shape {self.shape:g}")
        return f"a random number of runs ({law}, {self.mean:g} on average)"

    @property
    def is_poisson(self) -> bool:
        """Whether the number has a Poisson law, and may be zero."""
        return self.shape == math.inf

    @cached_property
    def gamma(self) -> float:
        """The γ of the truncated negative binomial law that has this mean."""
        low, high = -800.0, -1e-9  # of its logarithm
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (low, middle) if self._mean(middle) < self.mean else (middle, high)
        return math.exp(high)

    def _has_its_mean(self) -> bool:
        try:
            mean = self._mean(math.log(self.gamma))
        except (OverflowError, ValueError):  # γ is too small for doubles
            return False
        return self.gamma >= _LEAST_GAMMA and math.isclose(mean, self.mean, rel_tol=1e-6)

    def _mean(self, log_gamma: float) -> float:
        eta = self.shape
        if eta == 0:
            return math.expm1(-log_gamma) / -log_gamma
        return eta * math.expm1(-log_gamma) / -math.expm1(eta * log_gamma)

    def divergences(self, once: Floats, deltas: Callable[[float], float]) -> Floats:
        """Return bounds on the Rényi divergences of the best run, at `ORDERS`.

        Args:
            once: Those of a single run with its score, in the worse direction.
            deltas: A bound on a single run's δ for an ε; asked for Poisson alone.
        """
        orders = ORDERS
        if self.is_poisson:  # theorem 6
            near = [deltas(math.log1p(1 / (order - 1))) for order in orders]
            return once + self.mean * np.array(near) + math.log(self.mean) / (orders - 1)
        log_gamma = math.log(self.gamma)
        mean = math.log(self._mean(log_gamma)) + 1e-12
        other = float(np.min((1 - 1 / orders) * once - log_gamma / orders))
        return once + (1 + self.shape) * other + mean / (orders - 1)  # theorem 2

    def law(self) -> Iterator[tuple[int, Decimal]]:
        """Yield each number of runs with its chance, until what is left is next to nothing."""
        with decimal.localcontext(prec=_DIGITS):
            if self.is_poisson:
                mean = Decimal(self.mean)
                count, chance = 0, (-mean).exp()
            else:
                gamma, eta = Decimal(self.gamma), Decimal(self.shape)
                rest = 1 - gamma
                whole = -gamma.ln() if eta == 0 else ((-eta * gamma.ln()).exp() - 1) / eta
                count, chance = 1, rest / whole
        while chance > _NEGLIGIBLE or count < self.mean:
            yield count, chance
            with decimal.localcontext(prec=_DIGITS):
                factor = mean if self.is_poisson else rest * (count + eta)
                count, chance = count + 1, chance * factor / (count + 1)

    def draw(self, randomness: WordSource) -> int:
        """Draw a number, from a source that nobody else knows."""
        uniform = below(randomness, 2**_BITS)
        with decimal.localcontext(prec=_DIGITS):
            left = Decimal(uniform) / Decimal(2**_BITS)
        last = 0
        for last, chance in self.law():  # noqa: B007  (read below)
            with decimal.localcontext(prec=_DIGITS):
                left -= chance
            if left < 0:
                break
        return last


Runs = RandomRuns | FixedRuns


def below(randomness: WordSource, count: int) -> int:
    """Draw a whole number from 0 up to `count`, which is left out; off by at most 2^-320."""
    words = randomness.words(2 * _BITS // 64)
    return int.from_bytes(words.tobytes(), "little") % count


def runs_to_dict(runs: Runs) -> dict[str, Any]:
    """Return plain values; `runs_from_dict` is the way back."""
    if isinstance(runs, FixedRuns):
        return {"count": runs.count}
    return {"mean": runs.mean, "shape": None if runs.is_poisson else runs.shape}


def runs_from_dict(settings: dict[str, Any]) -> Runs:
    """Return what `runs_to_dict` described.

    Raises:
        ConfigError: A number is out of range.
        KeyError: A setting is missing.
    """
    if "count" in settings:
        return FixedRuns(settings["count"])
    shape = settings["shape"]
    return RandomRuns(settings["mean"], math.inf if shape is None else shape)
