"""One company's training of a linear model over a connection."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privfed.vertical.linear.common import CommonRows
from privfed.vertical.linear.guest import Guest
from privfed.vertical.linear.halves import LinearHalf
from privfed.vertical.linear.host import Host
from privfed.vertical.linear.outcome import KnownLinear
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.rows import clipped_share, integer_rows
from privfed.vertical.linear.side import VerticalSide
from privfed.vertical.linear.state import TrainingState
from privfed.vertical.linear.terms import BlockShape, LinearChoice
from privfed.vertical.shapes import GuestShapes, HostShapes
from privfed.vertical.talk import StepCost, Talk, common_rows
from privfed.vertical.training import Training, VerticalJob
from privfed.vertical.unfinished import Beginning, Unfinished
from psi.network import Progress

__all__ = ["LinearTraining"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


class LinearTraining(Training):
    """One company's training of a linear model.

    Attributes:
        common: Its rows, once `begin` or `go_on` is done.
        side: Its side of the training, once that is.
    """

    common: CommonRows
    side: VerticalSide
    unfinished: Unfinished[VerticalPlan, TrainingState]

    def __init__(self, job: VerticalJob, choice: LinearChoice) -> None:
        """Take what the company brings, and chose."""
        super().__init__(job)
        self._choice = choice

    @property
    def plan(self) -> VerticalPlan:
        """What both agreed on."""
        return self.unfinished.beginning.plan

    @property
    def clipped_share(self) -> float:
        """Which part of its training rows was shortened."""
        return clipped_share(self.plan, self.job.table.role, self.common.whitened)

    def begin(self, talk: Talk, progress: Progress | None) -> None:
        """Find the common rows and agree on a plan."""
        job, choice = self.job, self._choice
        table, guest = job.table, job.table.role == "guest"
        _ = table.described, table.labels(choice.family)  # before the other side waits
        talk.enter("align")
        rows = common_rows(table, talk, job.charge, job.max_peer_items, progress)
        talk.enter("shapes")
        self._take(rows)
        shapes = (GuestShapes if guest else HostShapes)(self.common.shape, BlockShape)
        talk.hold(shapes)
        both = (self.common.shape, shapes.theirs)
        plan = choice.plan(*(both if guest else both[::-1]))
        beginning = Beginning(
            brought=job.brought,
            plan=plan,
            rows=tuple(rows.tolist()),
            integers=self._integers(plan),
        )
        state = TrainingState.begun(plan, shapes.mark)
        self.unfinished = Unfinished(job.unfinished, beginning, state)

    def train(self, talk: Talk, progress: Progress | None) -> None:
        """Train this company's half."""
        talk.enter("train")
        common, unfinished = self.common, self.unfinished
        matrix, state, keep = common.whitening.matrix, unfinished.state, unfinished.keep
        self.side = (
            Guest(
                self.plan, common.whitened, matrix, common.scaled_labels, state=state,
                on_state=keep, progress=progress,
            )
            if self.job.table.role == "guest"
            else Host(
                self.plan, common.whitened, matrix, state=state, on_state=keep, progress=progress
            )
        )  # fmt: skip
        talk.hold(self.side)

    def half(self) -> LinearHalf:
        """Return what is kept of a trained half."""
        own, common, table = self.plan.coefficients == "own", self.common, self.job.table
        return LinearHalf(
            role=table.role,
            plan=self.plan,
            model=self.side.model.hex(),
            answers=self._choice.opened,
            encoder=common.encoder.to_fields(),
            whitening=common.whitening.to_fields(),
            id_columns=table.id_columns,
            normalise=table.normalise,
            label=table.label,
            classes=common.classes,
            middle=common.scale.middle,
            unit=common.scale.unit,
            coefficients=tuple(self.side.opened.tolist()) if own else None,
            shares=None if own else tuple(self.side.shares.tolist()),
        )

    def known(self, joint: Floats | None, costs: Sequence[StepCost]) -> KnownLinear:
        """Return what the company knows when all is done; as of `Training`."""
        return KnownLinear.of(self, joint, costs)

    @property
    def _kinds(self) -> tuple[type[VerticalPlan], type[TrainingState]]:
        return VerticalPlan, TrainingState

    def _take(self, rows: Rows) -> None:
        self.rows, self.common = rows, CommonRows.of(self.job.table, rows, self._choice)
        self.tests = self.common.tests

    def _integers(self, plan: VerticalPlan) -> str:
        """Return a digest of what shares are of: a basis that came out turned is another one."""
        rows = integer_rows(plan, self.job.table.role, self.common.whitened).astype(np.int32)
        return hashlib.sha256(rows.tobytes()).hexdigest()
