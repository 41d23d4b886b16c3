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

`privfed.vertical.linear.projections` has the same in plain integers, and bounds what can come out.
"""

import functools
import secrets

import numpy as np

from privfed.garbled import Circuit, CircuitBuilder, Numbers, Wire, Word, gadgets
from privfed.vertical.linear.projections import Integers, Opening, Projection, Residues

__all__ = [
    "fresh_shares",
    "open_scores",
    "opened_values",
    "project",
    "projection_values",
    "score_values",
    "scores",
]


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


# -- what enters and what comes out ------------------------------------------------------------


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


def _added(plan: Projection | Opening) -> int:
    """Return what the guest adds to its share of a value."""
    offset = 1 << (plan.value_bits - 1)
    if isinstance(plan, Opening) and plan.threshold is not None:
        return offset - plan.threshold - 1
    return offset + ((1 << plan.drop) >> 1)
