"""Which split of the host is a node's best, and whether it beats the guest's: garbled.

The scores of the host's splits are shared modulo 2^T, in every node of a level. The guest garbles,
the host evaluates, and of the scores nothing opens: the guest learns which nodes the host won, and
the host which of its splits won there.

A score counts by its size, whatever its sign. Both sides keep the top k bits of their shares, and
the guest adds half a unit before: with s = T - k,

    u = ((x_G + 2^(s-1) mod 2^T) >> s) + (x_H >> s) mod 2^k,   m = u, or -u - 1 if u is negative.

The carry of the low bits is missing in about half of all cases. So m is |v| / 2^s, rounded to the
nearest integer, or one less, either way below 2^(k-1); and m = 0 if v = 0. The host wins if its
largest m, of equal ones that with the lowest number, is above the guest's best >> s.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.garbled import Circuit, CircuitBuilder, Numbers, gadgets

__all__ = [
    "Contest",
    "contest",
    "guest_values",
    "host_values",
    "outcome_of",
    "splits_won",
    "won_by_host",
]

_MOST_BITS = 62  # of a ring, so that sums fit a word


@dataclass(frozen=True)
class Contest:
    """A public plan of a level's contest.

    Attributes:
        nodes: How many nodes the level has.
        splits: How many splits the host has.
        bits: k: how many bits of a score are compared, its sign among them.
        plain_bits: T: scores are shared modulo 2^T, and lie between -2^(T-1) and 2^(T-1).
    """

    nodes: int
    splits: int
    bits: int
    plain_bits: int

    def __post_init__(self) -> None:
        fits = 2 <= self.bits <= self.plain_bits <= _MOST_BITS
        if not (fits and self.nodes >= 1 and self.splits >= 1):
            raise ConfigError(f"no contest can be held of {self}")

    @property
    def dropped(self) -> int:
        """How many low bits are not compared."""
        return self.plain_bits - self.bits


@functools.lru_cache(maxsize=64)
def contest(plan: Contest) -> Circuit:
    """Return the circuit of a plan; it is kept, as the levels of all trees have the same."""
    circuit = CircuitBuilder()
    lanes = plan.nodes * plan.splits
    own = circuit.garbler_input("sum", plan.bits, lanes)
    theirs = circuit.evaluator_input("share", plan.bits, lanes)
    best = circuit.garbler_input("best", plan.bits - 1, plan.nodes)
    score = gadgets.add(circuit, own, theirs, plan.bits)
    size = [circuit.xor(bit, score[-1]) for bit in score[:-1]]
    most, split = gadgets.highest(circuit, size, plan.splits)
    won = gadgets.exceeds(circuit, most, best)
    circuit.garbler_output("won", [won])
    circuit.evaluator_output("won", [won])
    circuit.evaluator_output("split", gadgets.masked(circuit, won, split))
    return circuit.build()


def guest_values(plan: Contest, shares: NDArray[np.uint64], best: NDArray[np.int64]) -> Numbers:
    """Return the guest's inputs.

    Args:
        plan: The plan.
        shares: Its share of each score, below 2^T: shape (nodes, splits).
        best: The best score of its own splits in each node, at least 0: shape (nodes,).
    """
    return {"sum": _placed(plan, _own(plan, shares)), "best": _kept(plan, best).astype(np.uint64)}


def host_values(plan: Contest, shares: NDArray[np.uint64]) -> Numbers:
    """Return the host's inputs, for its share of each score: shape (nodes, splits)."""
    return {"share": _placed(plan, _theirs(plan, shares))}


def won_by_host(values: Numbers) -> NDArray[np.bool_]:
    """Return which nodes the host won, of the guest's outputs."""
    return values["won"].astype(np.bool_)


def splits_won(values: Numbers) -> NDArray[np.int64]:
    """Return the split that won each node, or -1, of the host's outputs."""
    return np.where(won_by_host(values), values["split"].astype(np.int64), -1)


def outcome_of(
    plan: Contest,
    sums: NDArray[np.int64] | NDArray[np.uint64],
    best: NDArray[np.int64],
    shares: NDArray[np.uint64] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return what comes out, in plain integers: which nodes the host won, and by which split or -1.

    Args:
        plan: The plan.
        sums: The scores, shape (nodes, splits); or the guest's shares of them.
        best: What `guest_values` takes.
        shares: The host's shares, if `sums` are shares.
    """
    units = _own(plan, sums.astype(np.uint64))
    if shares is not None:
        units = units + _theirs(plan, shares)
    # Moved up to the top of a word and down again, a number of k bits has its sign.
    unused = 64 - plan.bits
    scores = (units << np.uint64(unused)).astype(np.int64) >> unused
    sizes = scores ^ (scores >> 63)
    won = sizes.max(axis=1) > _kept(plan, best)
    return won, np.where(won, sizes.argmax(axis=1), -1)


def _own(plan: Contest, shares: NDArray[np.uint64]) -> NDArray[np.uint64]:
    half = np.uint64((1 << plan.dropped) >> 1)
    return _theirs(plan, (shares + half) & np.uint64((1 << plan.plain_bits) - 1))


def _theirs(plan: Contest, shares: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return shares >> np.uint64(plan.dropped)


def _kept(plan: Contest, best: NDArray[np.int64]) -> NDArray[np.int64]:
    return best >> plan.dropped


def _placed(plan: Contest, numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the numbers of all nodes, split by split in the order of the tournament."""
    return numbers.T[gadgets.tournament(plan.splits)].ravel()
