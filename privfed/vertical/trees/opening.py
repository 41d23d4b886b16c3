"""What opens of the scores that trees give to rows, to the guest alone: garbled.

Scores are shared modulo 2^T: x_G + x_H = v. The guest garbles, the host evaluates. A score lies in
b = `value_bits` bits, its sign among them, so the low b bits of both shares add up to it. One of:

- **a score**: v / 2^drop, rounded to the nearest integer, halves up, and the nearest to it that has
  `bits` bits. The guest's share has 2^drop / 2 added.
- **a class of two**: whether v > threshold. The guest's share has threshold + 1 taken away.
- **the best of several classes**: which score of the row is the largest, of equal ones the first.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.garbled import Circuit, CircuitBuilder, Numbers, gadgets

__all__ = [
    "TreeOpening",
    "guest_scores",
    "host_scores",
    "open_tree_scores",
    "opened_of",
    "tree_scores",
]

_MOST_BITS = 62  # of a ring, so that sums fit a word


@dataclass(frozen=True)
class TreeOpening:
    """A public plan of what opens.

    Attributes:
        rows: How many rows.
        plain_bits: T.
        value_bits: b: scores, with what the guest adds, lie in -2^(b-1) .. 2^(b-1) - 1.
        classes: How many scores a row has. With several, the number of the best opens.
        threshold: Where the class begins, exclusive; None for a score.
        drop: How many low bits of a score are rounded away.
        bits: How many bits of a score open.
    """

    rows: int
    plain_bits: int
    value_bits: int
    classes: int = 1
    threshold: int | None = None
    drop: int = 0
    bits: int = 1

    def __post_init__(self) -> None:
        fits = 1 <= self.value_bits <= self.plain_bits <= _MOST_BITS
        opened = self.drop >= 0 and 1 <= self.bits <= self.value_bits - self.drop
        one = self.classes == 1 or (self.threshold is None and not self.drop)
        if not (fits and opened and one and self.rows >= 1 and self.classes >= 1):
            raise ConfigError(f"no opening can be made of {self}")

    @property
    def added(self) -> int:
        """What the guest adds to its share."""
        return (1 << self.drop) >> 1 if self.threshold is None else -self.threshold - 1


@functools.lru_cache(maxsize=64)
def open_tree_scores(plan: TreeOpening) -> Circuit:
    """Return the circuit of a plan; it is kept for the next rows."""
    circuit = CircuitBuilder()
    lanes = plan.rows * plan.classes
    own = circuit.garbler_input("sum", plan.value_bits, lanes)
    theirs = circuit.evaluator_input("share", plan.value_bits, lanes)
    value = gadgets.add(circuit, own, theirs, plan.value_bits)
    if plan.classes > 1:
        ascending = [*value[:-1], circuit.inverted(value[-1])]
        opened = gadgets.highest(circuit, ascending, plan.classes)[1]
    elif plan.threshold is not None:
        opened = [circuit.inverted(value[-1])]
    else:
        opened = gadgets.clamp(circuit, value[plan.drop :], plan.bits)
    circuit.garbler_output("opened", opened)
    return circuit.build()


def guest_scores(plan: TreeOpening, shares: NDArray[np.uint64]) -> Numbers:
    """Return the guest's inputs, for its share of each score: shape (classes, rows)."""
    added = np.uint64(plan.added % (1 << plan.plain_bits))
    return {"sum": _placed(plan, shares + added)}


def host_scores(plan: TreeOpening, shares: NDArray[np.uint64]) -> Numbers:
    """Return the host's inputs, for its share of each score: shape (classes, rows)."""
    return {"share": _placed(plan, shares)}


def tree_scores(plan: TreeOpening, values: Numbers) -> NDArray[np.int64]:
    """Return scores in units of 2^drop, or classes, of the guest's outputs: shape (rows,)."""
    found = values["opened"].astype(np.int64)
    if plan.classes == 1 and plan.threshold is None:
        found -= (found >> (plan.bits - 1)) << plan.bits
    return found


def opened_of(plan: TreeOpening, scores: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what opens of each row, in plain integers, for scores of shape (classes, rows)."""
    if plan.classes > 1:
        best: NDArray[np.int64] = scores.argmax(axis=0)
        return best
    raised: NDArray[np.int64] = scores[0] + plan.added
    if plan.threshold is not None:
        return (raised >= 0).astype(np.int64)
    most = 1 << (plan.bits - 1)
    clamped: NDArray[np.int64] = np.clip(raised >> plan.drop, -most, most - 1)
    return clamped


def _placed(plan: TreeOpening, shares: NDArray[np.uint64]) -> NDArray[np.uint64]:
    low = shares & np.uint64((1 << plan.value_bits) - 1)
    return low[gadgets.tournament(plan.classes)].ravel()
