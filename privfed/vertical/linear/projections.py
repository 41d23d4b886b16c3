"""What garbled circuits let out of shared numbers: public plans, and the same in plain integers.

`Projection` says how coefficients are taken onto a ball and which of them open, `Opening` what
opens of a score; `privfed.vertical.linear.circuits` makes circuits of them, and says which integers
enter. `projected` and `opened` compute what comes out, and `projected_bound` the most that can.
"""

from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from privfed.errors import CapacityError, ConfigError

__all__ = ["Opening", "Projection", "opened", "projected", "projected_bound", "shared_values"]

Integers = NDArray[np.int64]
Residues = NDArray[np.uint64]

_PRECISION = 20  # bits behind the point of a square root, which is rounded up
_ULP = Fraction(1, 1 << _PRECISION)
_WORD_BITS = 64
_MOST_BITS = 62  # of a modulus, so that sums fit a word


@dataclass(frozen=True)
class Projection:
    """A public plan of `project`.

    Attributes:
        modulus: t, odd.
        lanes: How many coefficients.
        value_bits: b: a value and the half that rounds it lie in -2^(b-1) .. 2^(b-1) - 1.
        drop: How many low bits are rounded away.
        cut: How many low bits more are left out of the sum of squares.
        thresholds: Sums of squares, ascending, from which a coefficient shrinks.
        betas: For each threshold, how much: by beta / 2^beta_bits.
        beta_bits: How fine that is.
        to_guest: How many first lanes open to the guest.
        to_host: How many lanes after them open to the host.
        rounding: How many bits an opened number is rounded by, beyond `drop`.
    """

    modulus: int
    lanes: int
    value_bits: int
    drop: int
    cut: int
    thresholds: tuple[int, ...]
    betas: tuple[int, ...]
    beta_bits: int
    to_guest: int = 0
    to_host: int = 0
    rounding: int = 0

    def __post_init__(self) -> None:
        _check_values(self.modulus, self.lanes, self.value_bits, self.drop)
        fits = 0 <= self.cut < self.magnitude_bits and 0 <= self.rounding < self.magnitude_bits
        opened = min(self.to_guest, self.to_host, self.shared) >= 0
        ascending = list(self.thresholds) == sorted({0, *self.thresholds})[1:]
        levels = len(self.thresholds) == len(self.betas) and all(
            0 <= beta < 1 << self.beta_bits for beta in self.betas
        )
        counted = 2 * (self.magnitude_bits - self.cut) + self.lanes.bit_length() < _WORD_BITS
        if not (fits and opened and ascending and levels and counted):
            raise ConfigError(f"no projection can be made of {self}")

    @property
    def magnitude_bits(self) -> int:
        """K: how many bits a rounded value has besides its sign."""
        return self.value_bits - 1 - self.drop

    @property
    def shared(self) -> int:
        """How many lanes stay shared: the last ones."""
        return self.lanes - self.to_guest - self.to_host

    @classmethod
    def onto_ball(
        cls,
        modulus: int,
        lanes: int,
        value_bits: int,
        drop: int,
        radius: int,
        reach: int,
        *,
        beta_bits: int = 5,
    ) -> "Projection":
        """Return the plan whose results have at most a norm, whatever came in.

        Args:
            modulus: t.
            lanes: How many coefficients.
            value_bits: See `Projection`.
            drop: See `Projection`.
            radius: The most that the norm of u' may be, in units of 2^drop.
            reach: The most that the norm of u can be.
            beta_bits: How fine a coefficient shrinks: up to 2^-beta_bits too far.

        Raises:
            CapacityError: No shrinking leads from there to here, or the radius is a few units only.
            ConfigError: The other settings do not go together.
        """
        fine = radius // (64 * (isqrt(lanes - 1) + 1))
        cut = min(max(fine.bit_length() - 1, 0), value_bits - drop - 2)
        plan = cls(modulus, lanes, value_bits, drop, cut, (), (), beta_bits)
        most = _most_squares(plan, reach)
        thresholds: list[int] = []
        betas: list[int] = []
        for beta in range(1 << beta_bits):
            spare = radius - _slack(plan, beta)
            whole = Fraction(1 << beta_bits, ((1 << beta_bits) - beta) << cut)
            root = spare * whole - _root(lanes) - _ULP
            # All sums of squares up to here end within the radius.
            good = int(root * root) if root > 0 else -1
            if not beta:
                if good < 0:
                    raise CapacityError("the ball is smaller than the grid: drop fewer bits")
            elif good > thresholds[-1]:
                betas.append(beta)
            else:
                continue
            if good >= most:
                break
            thresholds.append(good + 1)
        else:
            raise CapacityError(
                f"no shrinking by less than 2^{beta_bits} leads from a norm of {reach} to "
                f"{radius}: take smaller steps or a larger ball"
            )
        return cls(
            modulus, lanes, value_bits, drop, cut, tuple(thresholds), tuple(betas), beta_bits
        )


@dataclass(frozen=True)
class Opening:
    """A public plan of `open_scores`: of a class, or of a rounded score.

    Attributes:
        modulus: t, odd.
        lanes: How many rows.
        value_bits: b: what is said of `Projection`, of the score less the threshold too.
        threshold: Where the class begins, exclusive; None for a score.
        drop: How many low bits of a score are rounded away.
        bits: How many bits a score has; what lies beyond is taken to the nearest.
    """

    modulus: int
    lanes: int
    value_bits: int
    threshold: int | None = None
    drop: int = 0
    bits: int = 1

    def __post_init__(self) -> None:
        _check_values(self.modulus, self.lanes, self.value_bits, self.drop)
        if not 1 <= self.bits <= self.value_bits - self.drop:
            raise ConfigError(f"no opening can be made of {self}")


def shared_values(modulus: int, guest: Residues, host: Residues) -> Integers:
    """Return the values of which these are shares, from -t/2 to t/2."""
    values = ((guest + host) % np.uint64(modulus)).astype(np.int64)
    return values - modulus * (values > modulus // 2)


def projected(plan: Projection, values: Integers) -> Integers:
    """Return u', in units of 2^drop, of values v: what `project` shares, in plain integers."""
    rounded = (values + ((1 << plan.drop) >> 1)) >> plan.drop
    magnitude = np.where(rounded < 0, -rounded - 1, rounded)
    total = int(np.sum((magnitude >> plan.cut) ** 2))
    beta = (0, *plan.betas)[bisect_right(plan.thresholds, total)]
    shrunk = magnitude.copy()
    for place in range(plan.beta_bits):
        if beta >> place & 1:
            shrunk -= magnitude >> (plan.beta_bits - place)
    return np.where(rounded < 0, -shrunk - 1, shrunk)


def opened(plan: Projection | Opening, values: Integers) -> Integers:
    """Return what opens: coefficients u' rounded, of u'; classes or scores, of values."""
    if isinstance(plan, Projection):
        return (values + ((1 << plan.rounding) >> 1)) >> plan.rounding
    if plan.threshold is not None:
        return (values > plan.threshold).astype(np.int64)
    rounded = (values + ((1 << plan.drop) >> 1)) >> plan.drop
    most = 1 << (plan.bits - 1)
    clamped: Integers = np.clip(rounded, -most, most - 1)
    return clamped


def projected_bound(plan: Projection, reach: int | None = None) -> int:
    """Return the most that the sum of the squares of all u' can be, rounding included.

    Args:
        plan: The plan.
        reach: The most that the norm of all u can be; without it, what fits into `value_bits`.
    """
    most = _most_squares(plan, reach)
    worst = 0
    ends = [*(threshold - 1 for threshold in plan.thresholds), most]
    for end, beta in zip(ends, [0, *plan.betas], strict=True):
        # m is at most (m >> cut) 2^cut + 2^cut, in each lane.
        norm = (_root(min(end, most)) + _root(plan.lanes)) * (1 << plan.cut)
        shrunk = norm * Fraction((1 << plan.beta_bits) - beta, 1 << plan.beta_bits)
        bound = (shrunk + _slack(plan, beta)) ** 2
        worst = max(worst, int(bound))
    return worst


def _slack(plan: Projection, beta: int) -> Fraction:
    """Return the norm of what rounding adds: one for each bit of beta, and one of the sign."""
    return (beta.bit_count() + 1) * _root(plan.lanes)


def _most_squares(plan: Projection, reach: int | None) -> int:
    fits = plan.lanes * ((1 << (plan.magnitude_bits - plan.cut)) - 1) ** 2
    return fits if reach is None else min(fits, reach * reach >> 2 * plan.cut)


def _root(number: int) -> Fraction:
    """Return a square root, rounded up."""
    return (isqrt(number << 2 * _PRECISION) + 1) * _ULP


def _check_values(modulus: int, lanes: int, value_bits: int, drop: int) -> None:
    if not (modulus % 2 and 0 < modulus.bit_length() <= _MOST_BITS and lanes >= 1):
        raise ConfigError(
            f"the modulus is odd and of at most {_MOST_BITS} bits, with a lane or more"
        )
    if not (drop + 2 <= value_bits < modulus.bit_length() and drop >= 0):
        raise ConfigError(
            f"values of {value_bits} bits do not fit: more than {drop + 1} and fewer than the "
            f"modulus, which has {modulus.bit_length()}"
        )
