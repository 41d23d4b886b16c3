"""From a trained half of trees to results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.company import LabelScale
from privfed.vertical.outcome import KnownHalf, ModelScores
from privfed.vertical.talk import StepCost
from privfed.vertical.trees.bins import Binning
from privfed.vertical.trees.collected import CollectedBits
from privfed.vertical.trees.grown import GuestTree, HostTree, leaves_by_tree, scores_by_leaves
from privfed.vertical.trees.importance import (
    gains_of_columns,
    gains_of_host_columns,
    gains_of_sides,
)
from privfed.vertical.trees.plan import TreesPlan
from privfed.vertical.trees.references import ClearTrees
from privfed.vertical.trees.results import BitsOfTree, ColumnAudit, SideOfTrees, TreesResults
from privfed.vertical.trees.splits import Codes
from privfed.vertical.trees.terms import OwnTrees
from privfed.vertical.trees.told import told_of_columns

if TYPE_CHECKING:
    from privfed.vertical.trees.training import TreesTraining

__all__ = ["KnownTrees"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownTrees(KnownHalf):
    """What a company knows of trees. Its repr shows no number.

    Attributes:
        plan: What both agreed on.
        own: What it chose for itself.
        binning: Its columns.
        codes: Those of all common rows, (columns, rows).
        guest_trees: The guest's part of all trees that were grown.
        host_trees: The host's part.
        kept: How many first ones are kept.
        base: The guest's scores before the first tree.
        losses: Those of the rows held back, after each round.
        collected: What the guest collected; at the host the most that it can be.
        repeated_bits: How many bits more it can be, of trees that were grown again.
        scale: How the guest's labels were scaled.
        reference: The guest's settings and labels, for trees in the clear.
    """

    plan: TreesPlan
    own: OwnTrees
    binning: Binning = field(repr=False)
    codes: Codes = field(repr=False)
    guest_trees: tuple[GuestTree, ...] = field(repr=False)
    host_trees: tuple[HostTree, ...] = field(repr=False)
    kept: int
    base: Floats = field(repr=False)
    losses: tuple[float, ...] = field(repr=False)
    collected: CollectedBits = field(repr=False)
    repeated_bits: int
    scale: LabelScale = field(repr=False)
    reference: ClearTrees | None = field(repr=False)

    @classmethod
    def of(
        cls, training: TreesTraining, joint: Floats | None, costs: Sequence[StepCost]
    ) -> KnownTrees:
        """Return what is known of a trained half; arguments as of `Training.known`."""
        job, plan = training.job, training.plan
        guest = job.table.role == "guest"
        return cls(
            role=job.table.role,
            name=job.name,
            fingerprint=plan.fingerprint(),
            family=plan.family,
            opened="class" if plan.outputs > 1 else job.choice.opened,
            labels=training.scale.scores(training.labels, plan.family),
            classes=training.classes,
            tests=training.tests,
            joint=joint,
            train_rows=plan.rows,
            table_rows=len(job.table.frame),
            costs=costs,
            label=job.table.label,
            file=job.file,
            plan=plan,
            own=training.own,
            binning=training.binning,
            codes=training.codes,
            guest_trees=tuple(training.boosting.trees) if guest else (),
            host_trees=() if guest else training.grown_of_host,
            kept=len(training.guest_trees if guest else training.host_trees),
            base=training.boosting.base if guest else np.empty(0),
            losses=tuple(training.boosting.losses) if guest else (),
            collected=training.collected,
            repeated_bits=training.repeated_bits,
            scale=training.scale,
            reference=training.reference if guest else None,
        )

    def results(self, *, other: str, source: str = "") -> TreesResults:
        """Return what this company of two writes; as of `KnownHalf`."""
        if self.role == "host":
            return self._results(None, SideOfTrees(name=other), self._side(), source=source)
        gains = self._gains
        theirs = SideOfTrees(
            name=other, splits=self.plan.host_splits, gain_share=_share(gains, "host")
        )
        own = gains_of_columns(self._kept_trees, self.binning)
        return self._results(None, self._side(gains, own), theirs, source=source)

    def results_with(self, host: KnownTrees, *, source: str = "") -> TreesResults:
        """Return what a run that played both companies writes; as of `KnownHalf`."""
        gains = self._gains
        own = gains_of_columns(self._kept_trees, self.binning)
        theirs = gains_of_host_columns(self._kept_trees, host.host_trees, host.binning)
        sides = self._side(gains, own), host._side(gains, theirs)
        return self._results(host, *sides, source=source)

    def _results(
        self,
        host: KnownTrees | None,
        guest_side: SideOfTrees,
        host_side: SideOfTrees,
        *,
        source: str,
    ) -> TreesResults:
        plan, collected, guest = self.plan, self.collected, self.role == "guest"
        held = None if self.reference is None else self.reference.held_back
        classes_only = self.opened == "class" and (plan.outputs == 1 or host is None)
        audit = None
        if host is not None or not guest:
            audit = (host or self).audit(None if host is None else self)
        return TreesResults(
            **self._fields(host, self._scores(host), source=source, classes_only=classes_only),
            guest=guest_side,
            host=host_side,
            terms=_terms(plan),
            depth=plan.depth,
            most_rounds=plan.trees,
            rounds=len(collected.nodes) // plan.outputs,
            kept_rounds=self.kept // plan.outputs,
            trees_a_round=plan.outputs,
            reveal=plan.reveal,
            opened_sums=0 if plan.reveal == "sides" else sum(collected.asked) * plan.host_splits,
            learning_rate=self.own.learning_rate if guest else None,
            l2=self.own.l2 if guest else None,
            validation_rows=None if held is None else int(held.sum()),
            patience=self.own.patience if guest else None,
            weighted=self.own.weight is not None if guest else None,
            losses=self.losses,
            bits=tuple(
                BitsOfTree(won=nodes, asked=asked, sides=rows)
                for nodes, rows, asked in zip(
                    collected.nodes, collected.rows, collected.asked, strict=True
                )
            ),
            repeated_bits=self.repeated_bits,
            sides_exact=guest,
            audit=audit,
        )

    # -- what columns are worth --------------------------------------------------------------------

    @property
    def _kept_trees(self) -> tuple[GuestTree, ...]:
        return self.guest_trees[: self.kept]

    @property
    def _gains(self) -> Mapping[str, float]:
        return gains_of_sides(self._kept_trees)

    def _side(
        self, gains: Mapping[str, float] = _NOTHING, columns: Mapping[str, float] = _NOTHING
    ) -> SideOfTrees:
        """Return this half, as results tell of it.

        Args:
            gains: Those of both sides, if they are known.
            columns: Those of its own columns.
        """
        names, whole = self.binning.names, sum(map(_positive, gains.values()))
        shares = tuple(_positive(columns[name]) / whole for name in names if whole and columns)
        won = np.zeros(len(names), np.int64)
        for tree in self.host_trees[: self.kept]:
            split = np.array([each for each in tree.splits if each >= 0], np.int64)
            np.add.at(won, self.binning.splits.column[split], 1)
        return SideOfTrees(
            name=self.name,
            columns=len(names),
            table_rows=self.table_rows,
            names=names,
            splits=len(self.binning.splits),
            bins=self.own.bins,
            gain_share=_share(gains, self.role),
            gain_shares=shares or None,
            nodes_won=None if self.role == "guest" else tuple(won.tolist()),
        )

    # -- how good it is ----------------------------------------------------------------------------

    def _scores(self, host: KnownTrees | None) -> ModelScores:
        """Return scores of held-out rows by the guest alone, together, and pooled."""
        if self.joint is None or self.reference is None or not self.tests:
            return ModelScores()
        if self.plan.outputs == 1:
            together = self.joint[:, None]
        elif host is None:  # the class alone opened
            together = (self.joint[:, None] == np.arange(self.plan.outputs)).astype(np.float64)
        else:
            together = self.scores_of_leaves(self.leaves_with(host, slice(self.tests)))
        reference, tests = self.reference, self.tests

        def fitted(*halves: KnownTrees) -> Floats:
            codes = np.concatenate([half.codes for half in halves])
            ordered = [each.ordered for half in halves for each in half.binning.columns]
            return self._said(reference.scores(codes[:, tests:], codes[:, :tests], ordered))

        return ModelScores(
            alone=fitted(self),
            together=self._said(together),
            pooled=None if host is None else fitted(self, host),
        )

    def _said(self, scores: Floats) -> Floats:
        """Return scores of the labels themselves; of one a row in one dimension."""
        found = self.scale.scores(scores, self.family)
        return found[:, 0] if self.plan.outputs == 1 else found

    # -- who has both halves -----------------------------------------------------------------------

    def leaves_with(self, host: KnownTrees, rows: slice) -> list[Integers]:
        """Return the leaf of common rows in each tree that was grown."""
        return leaves_by_tree(
            self.guest_trees,
            host.host_trees,
            (self.binning.splits, self.codes[:, rows]),
            (host.binning.splits, host.codes[:, rows]),
        )

    def scores_of_leaves(self, leaves: Sequence[Integers]) -> Floats:
        """Return the model's scores of rows, (rows, outputs)."""
        return scores_by_leaves(self.base, self._kept_trees, leaves)

    def audit(self, guest: KnownTrees | None) -> tuple[ColumnAudit, ...]:
        """Return what is told of the host's columns; `self` is the host's."""
        codes, leaves, scores = self.codes[:, self.tests :], None, None
        if guest is not None:
            leaves = guest.leaves_with(self, slice(self.tests, None))
            scores = guest.scores_of_leaves(leaves)
        return told_of_columns(self.binning, codes, self.host_trees, leaves, scores)


def _share(gains: Mapping[str, float], side: str) -> float | None:
    whole = sum(map(_positive, gains.values()))
    return _positive(gains[side]) / whole if whole else None


def _positive(gain: float) -> float:
    """Return a gain, and 0 where splits that were the best for whole numbers lost a little."""
    return max(gain, 0.0)


def _terms(plan: TreesPlan) -> tuple[tuple[str, str], ...]:
    return (
        ("splits of the host", f"{plan.host_splits:,}"),
        ("bits of a score, shared and compared", f"{plan.sums.plain_bits} and "
         f"{plan.contest(1).bits}"),
        ("rows that the model may ever answer", f"{plan.predictions:,}"),
        ("what all answers tell of noise", "a statistical distance of at most 2⁻⁴⁰"),
    )  # fmt: skip
