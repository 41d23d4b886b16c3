"""What two companies compute garbled: coefficients onto a ball, their opening, and a score's.

The guest garbles, the host evaluates. A value v is shared modulo t: v = x_G + x_H mod t, centred.
With `value_bits` = b, O = 2^(b-1) and K = b - 1 - drop, and everything below 2^63:

**`project`**, a lane a coefficient, -O <= v + 2^drop / 2 < O.

- The guest's `sum`: x_G + O + 2^drop / 2 mod t (no half where drop is 0). The host's `share`: x_H.
- u = v / 2^drop, rounded to the nearest integer, halves up: from -2^K to 2^K - 1.
- m = u, or -u - 1 where u is negative; S = sum over all lanes of (m >> cut)^2.
- beta belongs to the last threshold that S reaches, and is 0 below the first; beta_j are its bits.
  m' = m - sum over j of beta_j (m >> (beta_bits - j)): about m (1 - beta / 2^beta_bits), and above
  it by less than one for each bit that is set. u' is to m' as u to m.
- The host's output `share`: u' 2^drop - rho mod t, where the guest draws rho uniformly, its new
  share; so the host's is uniform, too. The guest brings `mask`, g = -rho - O mod t, and `room`,
  2^(K+1) - min(2^(K+1), (t - g) / 2^drop rounded up): the sum (u' 2^drop + O) + g reaches t just
  where (u' + 2^K) + room reaches 2^(K+1), because the low bits of its first part are 0.

**`project` with opened lanes**: `to_guest` lanes, then `to_host`, then those that stay shared.
Instead of a share, u' / 2^rounding opens, to the nearest integer, halves up, plus 2^(K - rounding).

**`open_scores`**, a lane a row, to the guest alone. For a class, the guest's `sum` is
x_G + O - threshold - 1 mod t, and whether v > threshold opens. For a score, `sum` is as above, and
u opens, or the nearest number that has `bits` bits in two's complement.

`projected` and `opened` are the same in plain integers; `projected_bound` bounds what can leave.
"""

import functools
import secrets
from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from privfed.errors import CapacityError, ConfigError
from privfed.garbled import Circuit, CircuitBuilder, Numbers, Wire, Word, gadgets

__all__ = [
    "Opening",
    "Projection",
    "centred",
    "fresh_shares",
    "open_scores",
    "opened",
    "opened_values",
    "project",
    "projected",
    "projected_bound",
    "projection_values",
    "score_values",
    "scores",
]

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


# -- the circuits ------------------------------------------------------------------------------


@functools.lru_cache(maxsize=64)
def project(plan: Projection) -> Circuit:
    """Return the circuit of a plan; it is kept, as a plan's iterations have all the same."""
    circuit = CircuitBuilder()
    bits = plan.modulus.bit_length()
    own = circuit.garbler_input("sum", bits, plan.lanes)
    theirs = circuit.evaluator_input("share", bits, plan.lanes)
    kept = _reconstruct(circuit, own, theirs, plan.modulus, plan.value_bits)[plan.drop :]
    high = _shrink(circuit, kept, plan)
    if plan.to_guest:
        circuit.garbler_output("opened", _rounded(circuit, high, 0, plan.to_guest, plan.rounding))
    if plan.to_host:
        end = plan.to_guest + plan.to_host
        opened = _rounded(circuit, high, plan.to_guest, end, plan.rounding)
        circuit.evaluator_output("opened", opened)
    if plan.shared:
        mask = circuit.garbler_input("mask", bits, plan.shared)
        room = circuit.garbler_input("room", len(high), plan.shared)
        rest = _part(high, plan.lanes - plan.shared, plan.lanes)
        passes = gadgets.add(circuit, rest, room, len(high) + 1)[-1]
        columns = [[bit] for bit in mask]
        for column, bit in zip(columns[plan.drop :], rest, strict=False):
            column.append(bit)
        less = _less_modulus(columns, passes, plan.modulus)
        circuit.evaluator_output("share", gadgets.add_columns(circuit, less, bits))
    return circuit.build()


@functools.lru_cache(maxsize=64)
def open_scores(plan: Opening) -> Circuit:
    """Return the circuit of a plan; it is kept for the next rows."""
    circuit = CircuitBuilder()
    bits = plan.modulus.bit_length()
    own = circuit.garbler_input("sum", bits, plan.lanes)
    theirs = circuit.evaluator_input("share", bits, plan.lanes)
    value = _reconstruct(circuit, own, theirs, plan.modulus, plan.value_bits)
    if plan.threshold is not None:
        circuit.garbler_output("opened", value[-1:])
    else:
        signed = [*value[plan.drop : -1], circuit.inverted(value[-1])]
        circuit.garbler_output("opened", gadgets.clamp(circuit, signed, plan.bits))
    return circuit.build()


def _reconstruct(circuit: CircuitBuilder, a: Word, b: Word, modulus: int, bits: int) -> Word:
    """Return a + b mod t, which is known to be below 2^bits."""
    # The sum is w or w + t: its high part is 0, or that of t, or one more. The parity of some bits
    # tells which.
    high = modulus >> bits
    common = high & (high + 1)
    telling = common & -common if common else 1 | (high + 1)
    whole = gadgets.add(circuit, a, b, bits + telling.bit_length())
    passed = gadgets.xor_all(
        circuit, [bit for place, bit in enumerate(whole[bits:]) if telling >> place & 1]
    )
    columns = _less_modulus([[bit] for bit in whole[:bits]], passed, modulus)
    return gadgets.add_columns(circuit, columns, bits)


def _less_modulus(columns: list[list[Wire]], condition: Wire, modulus: int) -> list[list[Wire]]:
    """Return what adds up to t less, modulo 2^(columns), where the condition holds."""
    constant = -modulus
    return [
        [*column, condition] if constant >> place & 1 else column
        for place, column in enumerate(columns)
    ]


def _shrink(circuit: CircuitBuilder, kept: Word, plan: Projection) -> Word:
    """Return u' + 2^K of u + 2^K."""
    if not plan.thresholds:
        return kept
    negative = circuit.inverted(kept[-1])
    magnitude = [circuit.xor(bit, negative) for bit in kept[:-1]]
    total = gadgets.add_lanes(circuit, gadgets.square(circuit, magnitude[plan.cut :]))
    reached = gadgets.at_least(
        circuit, gadgets.repeat(total, len(plan.thresholds)), plan.thresholds
    )
    beta = gadgets.reached_entry(circuit, reached, plan.betas, plan.beta_bits)
    # m - x = ~(~m + x)
    columns = [[circuit.inverted(bit)] for bit in magnitude]
    used = functools.reduce(int.__or__, plan.betas)
    for place, bit in enumerate(gadgets.repeat(beta, plan.lanes)):
        if used >> place & 1:
            part = gadgets.masked(circuit, bit, magnitude[plan.beta_bits - place :])
            for column, product in zip(columns, part, strict=False):
                column.append(product)
    shrunk = gadgets.add_columns(circuit, columns, len(columns))
    positive = kept[-1]  # of the complement, the sign's complement
    return [*(circuit.xor(bit, positive) for bit in shrunk), kept[-1]]


def _rounded(circuit: CircuitBuilder, word: Word, start: int, end: int, rounding: int) -> Word:
    part = _part(word, start, end)
    if not rounding:
        return part
    return gadgets.add(
        circuit, part[rounding:], part[rounding - 1 : rounding], len(part) - rounding + 1
    )


def _part(word: Word, start: int, end: int) -> Word:
    return [bit.part(start, end) for bit in word]


# -- what the guest brings ---------------------------------------------------------------------


def fresh_shares(modulus: int, count: int) -> Residues:
    """Return uniform residues mod t from the operating system's generator."""
    bits = modulus.bit_length()
    drawn = np.empty(0, np.uint64)
    while len(drawn) < count:
        words = np.frombuffer(secrets.token_bytes(16 * count + 64), np.uint64)
        words = words >> np.uint64(64 - bits)
        drawn = np.concatenate([drawn, words[words < np.uint64(modulus)]])
    return drawn[:count].copy()


def projection_values(plan: Projection, shares: Residues, fresh: Residues) -> Numbers:
    """Return the guest's inputs of `project`.

    Args:
        plan: The plan.
        shares: The guest's share of each value, shape (lanes,).
        fresh: Its next share of each lane that stays shared, rho: from `fresh_shares`.
    """
    modulus, offset = np.uint64(plan.modulus), np.uint64(1 << (plan.value_bits - 1))
    values = {"sum": (shares + np.uint64(_added(plan))) % modulus}
    if plan.shared:
        # Below 3t: rho + O is below 2t.
        mask = (modulus + modulus - fresh - offset) % modulus
        half = np.uint64(1 << (plan.magnitude_bits + 1))
        up = np.uint64((1 << plan.drop) - 1)
        until = (modulus - mask + up) >> np.uint64(plan.drop)
        values |= {"mask": mask, "room": half - np.minimum(half, until)}
    return values


def score_values(plan: Opening, shares: Residues) -> Numbers:
    """Return the guest's inputs of `open_scores`, for its share of each score."""
    modulus = np.uint64(plan.modulus)
    return {"sum": (shares + np.uint64(_added(plan) % plan.modulus)) % modulus}


def opened_values(plan: Projection, values: Numbers) -> Integers:
    """Return opened coefficients, in units of 2^(drop + rounding), of a party's outputs."""
    return values["opened"].astype(np.int64) - (1 << (plan.magnitude_bits - plan.rounding))


def scores(plan: Opening, values: Numbers) -> Integers:
    """Return classes, 0 or 1, or scores in units of 2^drop, of the guest's outputs."""
    found = values["opened"].astype(np.int64)
    if plan.threshold is None:
        found -= (found >> (plan.bits - 1)) << plan.bits
    return found


# -- the same in plain integers ----------------------------------------------------------------


def centred(modulus: int, guest: Residues, host: Residues) -> Integers:
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


def _added(plan: Projection | Opening) -> int:
    """Return what the guest adds to its share of a value."""
    offset = 1 << (plan.value_bits - 1)
    if isinstance(plan, Opening) and plan.threshold is not None:
        return offset - plan.threshold - 1
    return offset + ((1 << plan.drop) >> 1)


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
