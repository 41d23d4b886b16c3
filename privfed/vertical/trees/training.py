"""One company's training of trees over a connection."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.data import Schema
from privfed.data.notation import parse_number
from privfed.errors import ConfigError
from privfed.vertical.company import LabelScale
from privfed.vertical.shapes import GuestShapes, HostShapes
from privfed.vertical.talk import StepCost, Talk, common_rows
from privfed.vertical.training import Training, VerticalJob
from privfed.vertical.trees.bins import Binning
from privfed.vertical.trees.boosting import Boosting
from privfed.vertical.trees.collected import CollectedBits
from privfed.vertical.trees.growing import TreeSettings
from privfed.vertical.trees.grown import GuestTree, HostTree
from privfed.vertical.trees.guest import TreesGuest
from privfed.vertical.trees.halves import TreesHalf
from privfed.vertical.trees.host import TreesHost
from privfed.vertical.trees.objective import Objective
from privfed.vertical.trees.outcome import KnownTrees
from privfed.vertical.trees.plan import TreesPlan
from privfed.vertical.trees.references import ClearTrees
from privfed.vertical.trees.splits import MOST_WEIGHT, Codes
from privfed.vertical.trees.state import GuestTreesState, HostTreesState, TreesState
from privfed.vertical.trees.terms import GuestTreesShape, HostTreesShape, OwnTrees, TreesChoice
from privfed.vertical.unfinished import Beginning, Unfinished
from psi.network import Progress

__all__ = ["TreesTraining"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


class TreesTraining(Training):
    """One company's training of trees.

    Attributes:
        own: What it chose for itself.
        binning: Its columns, by the rows that train; once `begin` or `go_on` is done.
        codes: Those of all common rows, (columns, rows).
        labels: The guest's, of all common rows: classes by number, or scaled numbers.
        classes: What its labels 0, 1 and so on are called.
        scale: How its labels are scaled.
        side: Its side of the training, once that is.
        boosting: The guest's rounds.
    """

    binning: Binning
    codes: Codes
    labels: Floats
    classes: tuple[str, ...]
    scale: LabelScale
    side: TreesGuest | TreesHost
    boosting: Boosting
    unfinished: Unfinished[TreesPlan, Any]

    def __init__(self, job: VerticalJob, choice: TreesChoice, own: OwnTrees) -> None:
        """Take what the company brings, and chose.

        Raises:
            ConfigError: A host weighs rows.
        """
        super().__init__(job)
        self._choice, self.own = choice, own
        self._guest = job.table.role == "guest"
        if not self._guest and self.own.weight is not None:
            raise ConfigError("the guest alone weighs rows: leave the weight out at the host")

    @property
    def plan(self) -> TreesPlan:
        """What both agreed on."""
        return self.unfinished.beginning.plan

    @property
    def outputs(self) -> int:
        """How many scores a row has."""
        return len(self.classes) if len(self.classes) > 2 else 1

    @property
    def guest_trees(self) -> tuple[GuestTree, ...]:
        """The guest's part of the trees that are kept."""
        return tuple(self.boosting.best_trees)

    @property
    def host_trees(self) -> tuple[HostTree, ...]:
        """The host's part of the trees that are kept.

        Raises:
            StateError: The training is not done.
        """
        return self.side.trees if isinstance(self.side, TreesHost) else ()

    @property
    def grown_of_host(self) -> tuple[HostTree, ...]:
        """The host's part of all trees that were grown."""
        return self.side.state.trees if isinstance(self.side, TreesHost) else ()

    @property
    def reference(self) -> ClearTrees:
        """The same trees in the clear, of the guest's labels."""
        return ClearTrees(
            settings=self._settings,
            objective=self._objective,
            rounds=self.plan.trees,
            held_back=self._held_back,
            patience=self.own.patience or 1,
        )

    @property
    def collected(self) -> CollectedBits:
        """What the guest collected of all trees grown; at the host the most that it can be."""
        return self.side.state.collected

    @property
    def repeated_bits(self) -> int:
        """How many bits more it can be at most, of trees that sessions grew again."""
        return self.plan.repeated_bits(self.side.state.sessions)

    def begin(self, talk: Talk, progress: Progress | None) -> None:
        """Find the common rows and agree on a plan."""
        job, choice = self.job, self._choice
        _ = job.table.described, self._read_labels, self._weights
        talk.enter("align")
        rows = common_rows(job.table, talk, job.charge, job.max_peer_items, progress)
        talk.enter("shapes")
        self._take(rows)
        train = len(rows) - self.tests
        if self._guest:
            own = GuestTreesShape(train, self.outputs)
            told = GuestShapes(own, HostTreesShape)
            talk.hold(told)
            plan, mark = choice.plan(own, told.theirs), told.mark
        else:
            brings = HostTreesShape(train, len(self.binning.splits))
            heard = HostShapes(brings, GuestTreesShape)
            talk.hold(heard)
            plan, mark = choice.plan(heard.theirs, brings), heard.mark
        beginning = Beginning(
            brought=self.job.brought,
            plan=plan,
            rows=tuple(rows.tolist()),
            integers=self._integers(plan),
        )
        state: TreesState = self._kinds[1].begun(plan, mark)
        self.unfinished = Unfinished(job.unfinished, beginning, state)

    def train(self, talk: Talk, progress: Progress | None) -> None:
        """Train this company's half."""
        talk.enter("train")
        plan, unfinished, splits = self.plan, self.unfinished, self.binning.splits
        codes = np.ascontiguousarray(self.codes[:, self.tests :])
        if not self._guest:
            self.side = TreesHost(
                plan, splits, codes, cache_bytes=self.job.memory_bytes, state=unfinished.state,
                on_state=unfinished.keep, progress=progress,
            )  # fmt: skip
            talk.hold(self.side)
            return
        self.boosting = Boosting(
            self._settings,
            self._objective,
            splits,
            codes,
            rounds=plan.trees,
            most=plan.most_score,
            weight=MOST_WEIGHT,
            generator=np.random.default_rng(),
            held_back=self._held_back,
            patience=self.own.patience or 1,
        )
        self.side = TreesGuest(
            plan, self.boosting, state=unfinished.state, on_state=unfinished.keep,
            progress=progress,
        )  # fmt: skip
        talk.hold(self.side)

    def half(self) -> TreesHalf:
        """Return what is kept of a trained half."""
        table = self.job.table
        return TreesHalf(
            role=table.role,
            plan=self.plan,
            model=self.side.model.hex(),
            answers="class" if self.plan.outputs > 1 else self._choice.opened,
            bins=self.binning.to_fields(),
            base=tuple(self.boosting.base.tolist()) if self._guest else (),
            guest_trees=self.guest_trees if self._guest else None,
            host_trees=None if self._guest else self.host_trees,
            id_columns=table.id_columns,
            normalise=table.normalise,
            label=table.label,
            classes=self.classes,
            middle=self.scale.middle,
            unit=self.scale.unit,
        )

    def known(self, joint: Floats | None, costs: Sequence[StepCost]) -> KnownTrees:
        """Return what the company knows when all is done; as of `Training`."""
        return KnownTrees.of(self, joint, costs)

    # -- its rows ----------------------------------------------------------------------------------

    def _take(self, rows: Rows) -> None:
        """Take common rows: the first ones are held out, the others train."""
        table, choice = self.job.table, self._choice
        self.rows, self.tests = rows, len(rows) * choice.test_percent // 100
        choice.check_tests(self.tests)
        features = table.features
        self.binning = Binning.fit(
            features.iloc[rows[self.tests :]].reset_index(drop=True),
            schema=self._schema,
            bins=self.own.bins,
            least_rows=choice.least_rows,
        )
        self.codes = self.binning.codes(features.iloc[rows].reset_index(drop=True))
        labels, self.classes = self._read_labels
        self.labels, self.scale = labels, LabelScale()
        if self._guest:
            train = labels[rows[self.tests :]]
            if choice.family == "linear":
                self.scale = LabelScale.fit(train, "linear")
            self.labels = self.scale.scaled(labels[rows])

    @property
    def _schema(self) -> Schema:
        """What its columns are; that of weights is none of them."""
        schema, weight = self.job.table.described, self.own.weight
        if weight is None:
            return schema
        columns = tuple(column for column in schema.columns if column.name != weight)
        return replace(schema, columns=columns, ignored=(*schema.ignored, weight))

    @cached_property
    def _read_labels(self) -> tuple[Floats, tuple[str, ...]]:
        """All rows' labels, and what classes are called; nothing at the host."""
        return self.job.table.labels(self._choice.family, many=True)

    @cached_property
    def _weights(self) -> Floats:
        """How often each row of the table counts."""
        table, name = self.job.table, self.own.weight
        if name is None:
            return np.ones(len(table.frame))
        if name not in table.frame.columns or name in (*table.id_columns, table.label):
            raise ConfigError(f"there is no column {name!r} of weights beside ID and label")
        weights = np.array([parse_number(str(cell)) for cell in table.frame[name]])
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ConfigError(f"column {name!r} is no weight: give a number of 0 or more a row")
        return weights

    @property
    def _settings(self) -> TreeSettings:
        return TreeSettings(
            depth=self.plan.depth,
            learning_rate=self.own.learning_rate,
            l2=self.own.l2,
            least_rows=self._choice.least_rows,
        )

    @property
    def _objective(self) -> Objective:
        labels = self.labels[self.tests :]
        weights = self._weights[self.rows[self.tests :]]
        if self.outputs > 1:
            return Objective.of_classes(labels.astype(np.int64), self.outputs, weights)
        return Objective(self._choice.family, labels[:, None], weights)

    @property
    def _held_back(self) -> NDArray[np.bool_] | None:
        """The rows that tell when to stop: the first ones, whose order the intersection drew."""
        if self.own.patience is None:
            return None
        train = len(self.rows) - self.tests
        return np.arange(train) < max(1, train * self.own.validation_percent // 100)

    @property
    def _kinds(self) -> tuple[type[TreesPlan], type[GuestTreesState | HostTreesState]]:
        return TreesPlan, GuestTreesState if self._guest else HostTreesState

    def _integers(self, plan: TreesPlan) -> str:
        """Return a digest of what splits are of: other bins are other trees."""
        splits = self.binning.splits
        parts = (self.codes, splits.column, splits.low, splits.high, splits.missing_left)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
