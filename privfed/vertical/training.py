"""One company's training over a connection: common rows, plan, shares, and the end that both hear.

`begin` is what a first session does and a later one skips (`go_on`): `psi` finds the common rows,
and shapes are told, from which both have one plan. Each side holds out the same rows: the first
ones of the order that the intersection drew.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privfed.errors import BudgetExceededError, ConfigError
from privfed.vertical.company import CommonRows, CompanyTable
from privfed.vertical.linear.guest import Guest
from privfed.vertical.linear.host import Host
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.rows import clipped_share, integer_rows
from privfed.vertical.linear.shapes import GuestShapes, HostShapes
from privfed.vertical.linear.side import VerticalSide
from privfed.vertical.linear.state import TrainingState
from privfed.vertical.roles import Role
from privfed.vertical.terms import TrainingStage, TrainingStep, VerticalChoice, VerticalTerms
from privfed.vertical.unfinished import Beginning, Brought, Unfinished
from psi.errors import TransportError
from psi.network import Dialogue, Progress
from psi.sessions import PairChoice, TableSession

if TYPE_CHECKING:
    from psi.network import Connection

__all__ = ["StepCost", "Talk", "TrainedHalf", "begin", "go_on", "train_half"]

Rows = NDArray[np.intp]
_FEWEST = 20  # common rows: less can neither train nor test anything


@dataclass(frozen=True)
class StepCost:
    """What a step cost this company.

    Attributes:
        step: Which conversation.
        wall_seconds: From its beginning to its end, waiting included.
        cpu_seconds: What this process took, to prepare it and in it.
        bytes_sent: By this side.
        bytes_received: From the other.
    """

    step: TrainingStep
    wall_seconds: float
    cpu_seconds: float
    bytes_sent: int
    bytes_received: int


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrainedHalf:
    """What one company has after training.

    Attributes:
        plan: What both agreed on.
        common: Its rows.
        side: The session, done: its coefficients or shares.
        table_rows: How many its table has.
        costs: What each step cost.
    """

    plan: VerticalPlan
    common: CommonRows
    side: VerticalSide
    table_rows: int
    costs: list[StepCost]

    @property
    def clipped_share(self) -> float:
        """Which part of its training rows was shortened."""
        return clipped_share(self.plan, self.side.role, self.common.whitened)


@dataclass(kw_only=True)
class Talk:
    """Holds conversations of one training over a connection, and counts what they cost.

    Attributes:
        connection: To the other company.
        choice: What both chose.
        guest_listens: Whether the guest is the side that listens.
        resume: Whether a training that broke off goes on.
        on_step: Called as a step begins.
        costs: What the steps so far cost.
    """

    connection: Connection
    choice: VerticalChoice
    guest_listens: bool
    resume: bool = False
    on_step: Callable[[TrainingStep], None] = lambda step: None
    costs: list[StepCost] = field(default_factory=list)
    _step: TrainingStep = field(init=False)
    _cpu_began: float = field(init=False)

    def enter(self, step: TrainingStep) -> None:
        """Begin a step: what is prepared from here on is its cost."""
        self._step, self._cpu_began = step, time.process_time()
        self.on_step(step)

    def hold(self, dialogue: Dialogue) -> None:
        """Hold the step's conversation; errors as of `Connection.converse`."""
        started = time.monotonic()
        traffic = self.connection.converse(dialogue, self._terms(self._step))
        self.costs.append(
            StepCost(
                self._step,
                time.monotonic() - started,
                time.process_time() - self._cpu_began,
                traffic.bytes_sent,
                traffic.bytes_received,
            )
        )

    def hear_written(self) -> None:
        """Return when the other company has written its half, too; this one's is on disk.

        Raises:
            TransportError: This cannot be known: the other side is gone before it said so.
        """
        last = _Written()
        try:
            self.connection.converse(last, self._terms("written"))
        except TransportError:
            if not last.done:  # it went away with its half written
                raise

    def _terms(self, stage: TrainingStage) -> VerticalTerms:
        return self.choice.terms(stage, guest_listens=self.guest_listens, resume=self.resume)


class _Written(Dialogue):
    """Nothing to say: that both came to its terms says that both have written their halves."""

    protocol = "privfed vertical written"
    speaks_first = False

    def start(self) -> None:
        self._start_once()
        self._end()


def begin(
    table: CompanyTable,
    brought: Brought,
    path: Path,
    talk: Talk,
    *,
    charge: Callable[[int, int], None] | None = None,
    max_peer_items: int | None = None,
    progress: Progress | None = None,
) -> tuple[CommonRows, Unfinished]:
    """Find the common rows and agree on a plan.

    Args:
        table: This company's.
        brought: What it brings again if this breaks off.
        path: Where that is kept meanwhile.
        talk: With the other.
        charge: Counts what the other side asks (`psi.ledger`).
        max_peer_items: The largest set the other side may bring.
        progress: Called with a stage, how much is done, and of how much.

    Returns:
        The common rows, and the training, of which nothing is written yet.

    Raises:
        ConfigError: The table cannot train, or too few rows are common.
        CapacityError: The plan does not fit.
        PSIError: The other side is gone, or sent what is not acceptable.
    """
    choice, guest = talk.choice, table.role == "guest"
    _ = table.described, table.labels(choice.family)  # before the other side waits
    talk.enter("align")
    rows = _common_rows(table, talk, charge, max_peer_items, progress)
    talk.enter("shapes")
    common = CommonRows.of(table, rows, choice)
    shapes = GuestShapes(common.shape) if guest else HostShapes(common.shape)
    talk.hold(shapes)
    both = (common.shape, shapes.theirs)
    plan = choice.plan(*(both if guest else both[::-1]))
    beginning = Beginning(
        brought=brought,
        plan=plan,
        rows=tuple(rows.tolist()),
        integers=_integers(plan, table.role, common),
    )
    return common, Unfinished(path, beginning, TrainingState.begun(plan, shapes.mark))


def go_on(table: CompanyTable, brought: Brought, path: Path) -> tuple[CommonRows, Unfinished]:
    """Return what `begin` did, of a training that broke off.

    Args:
        table: This company's.
        brought: The same as before.
        path: Where the training was kept.

    Raises:
        ConfigError: There is none, or it began with something else.
        DecodeError: What is there is damaged.
        BudgetExceededError: Sessions that broke off may have answered too many held-out rows.
    """
    unfinished = Unfinished.load(path)
    unfinished.check(brought)
    beginning = unfinished.beginning
    common = CommonRows.of(table, np.array(beginning.rows, np.intp), brought.choice)
    if _integers(beginning.plan, table.role, common) != beginning.integers:
        raise ConfigError(
            f"{path} began with other numbers from the same table: go on with the schema and the "
            "versions that it began with, or train from the beginning in another folder"
        )
    if unfinished.answered + common.tests > brought.choice.predictions:
        raise BudgetExceededError(
            f"sessions that broke off may have answered {unfinished.answered} held-out rows, and "
            f"the model may answer {brought.choice.predictions} in all: train from the beginning"
        )
    return common, unfinished


def train_half(
    table: CompanyTable,
    common: CommonRows,
    unfinished: Unfinished,
    talk: Talk,
    progress: Progress | None = None,
) -> TrainedHalf:
    """Train one company's half, from where the training is.

    Args:
        table: This company's.
        common: What `begin` or `go_on` returned, and so the next one.
        unfinished: The training.
        talk: With the other company.
        progress: Called with a stage, how much is done, and of how much.

    Returns:
        The half; `unfinished` alone is written.

    Raises:
        ConfigError: The training broke off too often, or its file cannot be written.
        PSIError: The other side is gone, or sent what is not acceptable.
    """
    talk.enter("train")
    plan, matrix = unfinished.beginning.plan, common.whitening.matrix
    state, keep = unfinished.state, unfinished.keep
    side: VerticalSide = (
        Guest(
            plan, common.whitened, matrix, common.scaled_labels, state=state, on_state=keep,
            progress=progress,
        )
        if table.role == "guest"
        else Host(plan, common.whitened, matrix, state=state, on_state=keep, progress=progress)
    )  # fmt: skip
    talk.hold(side)
    return TrainedHalf(
        plan=plan, common=common, side=side, table_rows=len(table.frame), costs=talk.costs
    )


def _integers(plan: VerticalPlan, role: Role, common: CommonRows) -> str:
    """Return a digest of what shares are of: a basis that came out turned is another one."""
    rows = integer_rows(plan, role, common.whitened).astype(np.int32)
    return hashlib.sha256(rows.tobytes()).hexdigest()


def _common_rows(
    table: CompanyTable,
    talk: Talk,
    charge: Callable[[int, int], None] | None,
    max_peer_items: int | None,
    progress: Progress | None,
) -> Rows:
    """Return this table's common rows, in the order that both sides have."""
    session = TableSession.prepare(
        table.frame,
        PairChoice(side="join" if table.role == "guest" else "serve", duplicates=table.duplicates),
        on=_one_or_many(table.id_columns),
        normalise=table.normalise,
        max_peer_items=max_peer_items,
        progress=progress,
    )
    if charge is not None:
        session.party.charge_with(charge)
    talk.hold(session.party)
    rows = session.rows()
    if len(rows) < _FEWEST:
        raise ConfigError(
            f"{len(rows)} rows are common to both tables, at least {_FEWEST} can train: compare "
            "how IDs are written, and choose the same steps of normalisation at both sides"
        )
    return rows


def _one_or_many(columns: Sequence[str]) -> str | list[str]:
    return columns[0] if len(columns) == 1 else list(columns)
