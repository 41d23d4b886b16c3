"""A company's half of trees."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
import pandas as pd

from privfed.vertical.halves import Half
from privfed.vertical.roles import Family
from privfed.vertical.trees.bins import Binning, BinningFields
from privfed.vertical.trees.grown import GuestTree, HostTree
from privfed.vertical.trees.plan import TreesPlan
from privfed.vertical.trees.query import GuestTreesQuery, HostTreesQuery
from psi.network import Progress

__all__ = ["TreesHalf"]

_Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]


class TreesHalf(Half, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One company's half of trees.

    Attributes:
        plan: What both agreed on.
        bins: The company's columns.
        base: The guest's scores before the first tree, one an output.
        guest_trees: The guest's part of each tree; null at the host.
        host_trees: The host's part; null at the guest.
    """

    KIND: ClassVar[str] = "half of trees"

    plan: TreesPlan
    bins: BinningFields
    base: tuple[_Finite, ...]
    guest_trees: tuple[GuestTree, ...] | None
    host_trees: tuple[HostTree, ...] | None

    def __post_init__(self) -> None:
        super().__post_init__()
        plan, guest = self.plan, self.role == "guest"
        own, other = (
            (self.guest_trees, self.host_trees) if guest else (self.host_trees, self.guest_trees)
        )
        if own is None or other is not None or len(self.base) != (plan.outputs if guest else 0):
            raise ValueError("a half has its own part of each tree")
        if len(own) % plan.outputs or not plan.outputs <= len(own) <= plan.most_trees:
            raise ValueError("a half has as many trees as its plan allows")
        splits = len(self.bins.column)
        for tree in own:
            whole = isinstance(tree, HostTree) or (
                len(tree.leaves) == plan.tree_leaves
                and len(tree.owners) == len(tree.gains) == plan.inner_nodes
                and all(
                    (owner == "guest") == (split >= 0)
                    for owner, split in zip(tree.owners, tree.splits, strict=False)
                )
            )
            if len(tree.splits) != plan.inner_nodes or max(tree.splits) >= splits or not whole:
                raise ValueError("a tree has its plan's nodes and leaves")
        if not guest and splits != plan.host_splits:
            raise ValueError("a host's half has its plan's splits")
        named = (2 if plan.outputs == 1 else plan.outputs) if plan.family == "logistic" else 0
        if len(self.classes) != (named if guest else 0):
            raise ValueError("the guest's half of a logistic model names its classes")
        if plan.outputs > 1 and self.answers != "class":
            raise ValueError("of several classes the best one opens")

    @property
    def family(self) -> Family:
        """What the label is."""
        return self.plan.family

    @property
    def predictions(self) -> int:
        """How many rows the model may ever answer."""
        return self.plan.predictions

    def query(
        self, frame: pd.DataFrame, *, progress: Progress | None = None
    ) -> GuestTreesQuery | HostTreesQuery:
        """Return this side of a query; as of `Half`."""
        binning = Binning.from_fields(self.bins)
        codes = binning.codes(frame.drop(columns=[*self.id_columns, self.label], errors="ignore"))
        model, classes = bytes.fromhex(self.model), self.answers == "class"
        if self.guest_trees is not None:
            return GuestTreesQuery(
                self.plan, model, self.base, self.guest_trees, binning.splits, codes,
                classes=classes, progress=progress,
            )  # fmt: skip
        return HostTreesQuery(
            self.plan, model, self.host_trees or (), binning.splits, codes,
            classes=classes, progress=progress,
        )  # fmt: skip
