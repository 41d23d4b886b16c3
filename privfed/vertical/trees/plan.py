"""What two companies agree on before they grow trees: one frozen plan, its fingerprint, its proofs.

All answers of a plan, those to sessions that broke off and to predictions included, are together
within `privfed.vertical.trees.sums.DISTANCE` of ones that say nothing of noise: each layout floods
as if all of them were its own.
"""

import contextlib
import hashlib
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

from privfed.errors import CapacityError, ConfigError
from privfed.vertical.roles import Family
from privfed.vertical.trees.contest import Contest
from privfed.vertical.trees.leaves import LeavesLayout
from privfed.vertical.trees.opening import TreeOpening
from privfed.vertical.trees.sides import MOST_NODES
from privfed.vertical.trees.splits import MOST_WEIGHT
from privfed.vertical.trees.sums import SumsLayout

__all__ = ["MOST_TREE_SESSIONS", "Reveal", "TreesPlan"]

Reveal: TypeAlias = Literal["sides", "histograms"]
"""What of the host's columns the guest sees at a node: which side its rows take, where the host's
split is the best; or besides, faster, the score of every split of the host."""

MOST_TREE_SESSIONS = 8  # of one training: each after the first answers trees again
_REPEATED_TREES = 2  # by each of these: the one that broke off, and one that was not kept
_MOST_ROWS = 1 << 21
_LEAST_PLAIN_BITS = 24
_GRAIN = 15  # a row's residual, on average, if those of all rows are alike
_SPARED_BITS = 3  # of it, where many rows leave no room: rounding then adds noise that they drown
_CONTEST_BITS = 16  # of a score, compared; one more for each doubling of rows beyond these
_CONTEST_ROWS = 1 << 17
_SCORE_PLAIN_BITS = 28
_SCORE_UNIT_BITS = 16  # a score of 1, as an integer
_OPENED: dict[Family, tuple[int, int]] = {  # how many bits of its fraction open, and bits in all
    "logistic": (2, 7),
    "linear": (4, 8),
    "poisson": (4, 8),
}


class TreesPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that both sides must know alike; public.

    Attributes:
        family: What the label is.
        outputs: How many scores a row has, and trees a round: of K > 2 classes K, else 1.
        rows: The common rows that train, those held back to tell when to stop among them.
        host_splits: How many splits the host's columns allow.
        trees: How many rounds there are at most.
        depth: How many splits are on the way to a leaf.
        reveal: What of a node the guest sees.
        predictions: How many rows the model may ever answer, test rows included.
    """

    family: Family = "logistic"
    outputs: int = 1
    rows: int
    host_splits: int
    trees: int = 30
    depth: int = 4
    reveal: Reveal = "sides"
    predictions: int = 100_000

    def __post_init__(self) -> None:
        if self.family not in _OPENED:
            raise ConfigError(f"the family is one of {', '.join(_OPENED)}, not {self.family!r}")
        if min(self.outputs, self.host_splits, self.trees) < 1 or self.predictions < 0:
            raise ConfigError("outputs, splits and trees are 1 or more")
        if self.outputs > 1 and self.family != "logistic":
            raise ConfigError("of several classes each is told from the rest: family logistic")
        if not (self.depth >= 1 and 2**self.depth <= MOST_NODES):
            raise ConfigError(f"trees are 1 to {MOST_NODES.bit_length() - 1} deep")
        if not 2 <= self.rows <= _MOST_ROWS:
            raise ConfigError(f"{self.rows} common rows: 2 to {_MOST_ROWS} can train")
        _ = self.sums, self.leaves(self.trees)  # which make their checks

    def fingerprint(self) -> bytes:
        """Return 32 bytes that name the plan, the version of these rules, and what follows."""
        derived = repr((self.sums, self.leaves(self.trees), self.contest(1))).encode()
        return hashlib.sha256(
            b"privfed vertical trees plan 1, " + msgspec.json.encode(self) + derived
        ).digest()

    @property
    def most_trees(self) -> int:
        """How many trees there are at most, of all outputs."""
        return self.trees * self.outputs

    @property
    def inner_nodes(self) -> int:
        """How many splits a tree has."""
        return int(2**self.depth) - 1

    @property
    def tree_leaves(self) -> int:
        """How many leaves a tree has."""
        return int(2**self.depth)

    def repeated_bits(self, sessions: int) -> int:
        """Return how many bits a guest collects at most of trees that are grown again.

        Args:
            sessions: How many the training took: two trees for each after the first one, the tree
                that broke off and one that a side did not keep.
        """
        return _REPEATED_TREES * (sessions - 1) * (self.rows * self.depth + self.inner_nodes)

    @property
    def sums(self) -> SumsLayout:
        """How the sums of a node's residuals are laid out and hidden."""
        return _sums(self)

    def leaves(self, rounds: int) -> LeavesLayout:
        """Return how the leaves of rows are laid out and hidden, by so many rounds of trees."""
        return _leaves(self, rounds)

    @property
    def most_score(self) -> int:
        """The largest score of a split, either way."""
        return self.sums.half - 1

    def contest(self, nodes: int) -> Contest:
        """Return the contest of a level of so many nodes."""
        beyond = max(0, (self.rows - 1).bit_length() - (_CONTEST_ROWS - 1).bit_length())
        bits = min(_CONTEST_BITS + beyond, self.sums.plain_bits)
        return Contest(nodes, self.host_splits, bits, self.sums.plain_bits)

    def opening(self, rows: int, *, classes: bool) -> TreeOpening:
        """Return what opens of so many rows: their classes, or rounded scores.

        Args:
            rows: How many.
            classes: Whether classes alone open; of more than two nothing else does.
        """
        bits = _SCORE_PLAIN_BITS
        if self.outputs > 1:
            number = (self.outputs - 1).bit_length()
            return TreeOpening(rows, bits, bits, classes=self.outputs, bits=number)
        if classes:
            return TreeOpening(rows, bits, bits, threshold=0)
        fraction, opened = _OPENED[self.family]
        return TreeOpening(rows, bits, bits, drop=_SCORE_UNIT_BITS - fraction, bits=opened)

    @property
    def score_unit(self) -> float:
        """What a unit of a score that opens is."""
        return float(2.0 ** -_OPENED[self.family][0])

    @property
    def leaf_unit(self) -> float:
        """What a unit of a leaf's value is, as its rows are scored."""
        return float(2.0**-_SCORE_UNIT_BITS)


def _answered(plan: TreesPlan) -> int:
    """Return how many numbers all answers of a plan hold."""
    trees = plan.most_trees + _REPEATED_TREES * (MOST_TREE_SESSIONS - 1)
    return trees * plan.inner_nodes * plan.host_splits + plan.predictions * plan.outputs


@lru_cache(maxsize=16)
def _sums(plan: TreesPlan) -> SumsLayout:
    """Return the layout with room for the grain; of many rows for a coarser one, if it must be."""
    needed = (_GRAIN * MOST_WEIGHT * plan.rows).bit_length() + 1
    least = max(_LEAST_PLAIN_BITS, needed - _SPARED_BITS)
    for bits in range(max(_LEAST_PLAIN_BITS, needed), least, -1):
        with contextlib.suppress(CapacityError):
            return _sums_with(plan, bits)
    return _sums_with(plan, least)


def _sums_with(plan: TreesPlan, plain_bits: int) -> SumsLayout:
    return SumsLayout(plan.host_splits, plan.rows, MOST_WEIGHT, plain_bits, _answered(plan))


@lru_cache(maxsize=16)
def _leaves(plan: TreesPlan, rounds: int) -> LeavesLayout:
    return LeavesLayout(rounds * plan.tree_leaves, _SCORE_PLAIN_BITS, _answered(plan))
