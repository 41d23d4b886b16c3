"""Noise that hides one ID in a figure: drawn exactly, of bounded size, and with its δ.

P(x) ∝ exp(-ε·|x|/Δ) for whole numbers x from -b to b, where Δ is the most by which one ID moves the
figure: the discrete Laplace distribution, truncated (Geng, Ding, Guo and Kumar 2018, arXiv
1810.00877). As it has bounds, it can be made of a fixed number of dummies, and a noisy sum can be
searched for. It is drawn by algorithm 2 of Canonne, Kamath and Steinke 2020 (arXiv 2004.00010),
which compares whole numbers of the operating system's generator and uses no floating point; what
lies beyond the bounds is drawn again.

Two neighbours' figures differ by s ≤ Δ. Where both can give an outcome, the chances of it differ by
a factor of at most exp(ε·s/Δ). The s outermost outcomes can come of one of them alone; together
they have at most the weight of the Δ outermost ones. So the figure is (ε, δ)-differentially private
if that weight is at most δ, and b is the least bound of which this is true.
"""

import math
import secrets
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from psi.defaults import DELTA
from psi.errors import ConfigError

__all__ = ["EXACT", "NOTHING", "OwnNoise", "SessionCost", "TruncatedLaplace"]

_EPSILONS = (0.001, 20.0)  # less takes tens of thousands of dummies, more promises nothing
_DELTAS = (1e-15, 1e-4)
_OUTSIDE = 0.05


class SessionCost(NamedTuple):
    """What a session costs each ID of this side.

    Attributes:
        epsilon: Infinite if an exact figure, or the matches themselves, are told.
        delta: The chance for which `epsilon` promises nothing.
    """

    epsilon: float
    delta: float


EXACT = SessionCost(math.inf, 0.0)
NOTHING = SessionCost(0.0, 0.0)
"""The other side learns this side's size and no more."""


@dataclass(frozen=True)
class TruncatedLaplace:
    """The noise of one figure.

    Attributes:
        epsilon: What the figure may cost an ID.
        sensitivity: The most by which an ID that is replaced by another moves the figure.
        bound: The largest noise.
    """

    epsilon: Fraction
    sensitivity: int
    bound: int

    @classmethod
    def of(cls, epsilon: Fraction, delta: Fraction, sensitivity: int) -> "TruncatedLaplace":
        """Return the noise with the least bound whose δ is at most `delta`."""
        # With q = exp(-ε/Δ) the outermost Δ outcomes weigh
        #     q^(b-Δ+1)·(1-q^Δ) / (1+q-2q^(b+1)),
        # solved for q^b. A billionth less than δ makes up for the rounding of these few steps.
        step = float(epsilon / sensitivity)
        q, aim = math.exp(-step), float(delta) * (1 - 1e-9)
        edge = math.exp(step * (sensitivity - 1)) * -math.expm1(-float(epsilon))
        bound = math.ceil(math.log((edge + 2 * q * aim) / (aim * (1 + q))) / step)
        return cls(epsilon, sensitivity, max(bound, sensitivity))

    @property
    def within(self) -> int:
        """How far from 0 the noise lies at most, in 95 of 100 draws."""
        step = float(self.epsilon / self.sensitivity)
        q = math.exp(-step)  # beyond w lie at most 2q^(w+1)/(1+q)
        wide = math.ceil(math.log(2 / (_OUTSIDE * (1 + q))) / step) - 1
        return min(max(wide, 0), self.bound)

    def draw(self) -> int:
        """Return a number from -bound to bound, from the operating system's generator."""
        scale = self.sensitivity / self.epsilon
        while True:
            drawn = _discrete_laplace(scale.numerator, scale.denominator)
            if abs(drawn) <= self.bound:
                return drawn


@dataclass(frozen=True)
class OwnNoise:
    """What a side demands for each ID of its own, by noise that it adds itself.

    Attributes:
        epsilon: What all that the other side learns in a session may cost an ID, 0.001 to 20.
        delta: The chance for which `epsilon` promises nothing, 1e-15 to 0.0001.

    Raises:
        ConfigError: One is out of range, or no number.
    """

    epsilon: float
    delta: float = DELTA

    def __post_init__(self) -> None:
        for name, value, (least, most) in (
            ("epsilon", self.epsilon, _EPSILONS),
            ("delta", self.delta, _DELTAS),
        ):
            if not least <= value <= most:
                raise ConfigError(f"{name} lies between {least:g} and {most:g}")

    @property
    def cost(self) -> SessionCost:
        """What is demanded, as a cost."""
        return SessionCost(self.epsilon, self.delta)

    def over(self, sensitivities: list[int]) -> list[TruncatedLaplace]:
        """Return the noise of each figure, of which each may cost an equal share.

        Args:
            sensitivities: The most by which one ID moves each figure.
        """
        figures = len(sensitivities)
        # As decimals, so that three times 0.1 is 0.3.
        epsilon, delta = Fraction(repr(float(self.epsilon))), Fraction(repr(float(self.delta)))
        return [
            TruncatedLaplace.of(epsilon / figures, delta / figures, one) for one in sensitivities
        ]


def _discrete_laplace(numerator: int, denominator: int) -> int:
    """Draw x with P(x) ∝ exp(-|x|·denominator/numerator)."""
    while True:
        offset = secrets.randbelow(numerator)
        if not _happens(offset, numerator):
            continue
        whole = 0
        while _happens(1, 1):
            whole += 1
        size = (offset + numerator * whole) // denominator
        negative = secrets.randbelow(2)
        if size or not negative:  # else 0 would come twice as often as it should
            return -size if negative else size


def _happens(numerator: int, denominator: int) -> bool:
    """Draw True with probability exp(-numerator/denominator), at most 1 (algorithm 1 there)."""
    tries = 1
    while secrets.randbelow(denominator * tries) < numerator:
        tries += 1
    return tries % 2 == 1
