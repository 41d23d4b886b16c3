"""What a company keeps of a training of trees.

Nothing in it is of one row: gains, counts of bits and shares of a column's spread are over all rows
that train. What leaves are worth, which tells of labels, is in the guest's half alone.
"""

from __future__ import annotations

from typing import Literal

from privfed.records import Bound, Count, KnownNumber, KnownShare, ResultsPart
from privfed.vertical.results import SideOfModel, VerticalResults
from privfed.vertical.trees.plan import Reveal

__all__ = ["TREES_FORMAT", "BitsOfTree", "ColumnAudit", "SideOfTrees", "TreesResults"]

TREES_FORMAT: Literal["privfed vertical trees results 1"] = "privfed vertical trees results 1"


class SideOfTrees(SideOfModel, frozen=True, kw_only=True):
    """One side of a model of trees."""

    splits: Count | None = None  # between bins of its columns; the host's are known to both
    bins: Count | None = None  # of a column, at most, beside that of missing values
    gain_share: KnownShare | None = None  # of all splits' gain, which of its own have
    gain_shares: tuple[KnownShare, ...] | None = None  # which each feature has, in order
    nodes_won: tuple[Count, ...] | None = None  # by each feature, in the trees that are kept


class BitsOfTree(ResultsPart, frozen=True, kw_only=True):
    """What the guest read of the host's columns in one tree."""

    won: Count  # nodes in which a split of the host is the best
    asked: Count  # nodes; of each the guest learns whether the host won it
    sides: Count  # of rows in nodes that the host won, a bit a row


class ColumnAudit(ResultsPart, frozen=True, kw_only=True):
    """What is told of a column of the host; shares are of its spread over the training rows."""

    name: str
    nodes: Count  # that it won, in all trees that were grown
    thresholds: Count  # different splits of it among these
    ranges: Count  # into which they part its values
    at_most: KnownShare  # known by the side of every row at every one of these splits
    collected: KnownShare | None  # by the sides that the guest read
    by_scores: KnownShare | None  # by the model's scores of the same rows


class TreesResults(VerticalResults, frozen=True, kw_only=True):
    """The whole file of a model of trees."""

    format: Literal["privfed vertical trees results 1"] = TREES_FORMAT
    guest: SideOfTrees
    host: SideOfTrees
    depth: Count
    most_rounds: Count  # as both chose
    rounds: Count  # grown
    kept_rounds: Count | None  # null: the guest alone knows
    trees_a_round: Count  # of K > 2 classes one each
    reveal: Reveal
    opened_sums: Count  # of the host's splits, which the guest read as they are
    learning_rate: KnownNumber | None = None  # null, as what follows: the guest alone knows
    l2: KnownNumber | None = None
    validation_rows: Count | None = None  # held back, to tell when to stop
    patience: Count | None = None
    weighted: bool | None = None
    losses: tuple[Bound, ...] = ()  # on the rows held back, after each round
    bits: tuple[BitsOfTree, ...]
    repeated_bits: Count = 0  # that the guest read besides at most, of trees that were grown again
    sides_exact: bool  # false: the host knows the most that it can be
    audit: tuple[ColumnAudit, ...] | None  # null: the host alone knows

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in (self.guest, self.host):
            for known in (side.gain_shares, side.nodes_won):
                if known is not None and len(known) != side.columns:
                    raise ValueError("a side has one number a column")
        if len(self.bits) != self.rounds * self.trees_a_round:
            raise ValueError("bits are counted of each tree")
        if self.losses and len(self.losses) != self.rounds:
            raise ValueError("a loss is of each round")
        if not (self.kept_rounds or 0) <= self.rounds <= self.most_rounds:
            raise ValueError("more rounds are kept than were grown, or more grown than were chosen")

    @property
    def sides_read(self) -> int:
        """How many sides of rows the guest read."""
        return sum(tree.sides for tree in self.bits)

    @property
    def kept_sides(self) -> int | None:
        """How many of these are of trees that are kept; None: the guest alone knows."""
        if self.kept_rounds is None:
            return None
        return sum(tree.sides for tree in self.bits[: self.kept_rounds * self.trees_a_round])

    @property
    def nodes_told(self) -> int:
        """Of how many nodes the guest learned whether the host won them, a bit each."""
        return sum(tree.asked for tree in self.bits)
