"""One company's training from its table: common rows, encoding, plan, training, held-out scores.

Four conversations over one connection: `psi` finds the common rows, shapes are told, the model is
trained, and held-out rows are scored. Each side holds out the same rows: the first ones of the
order that the intersection drew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.vertical.encoding import BlockEncoder
from privfed.vertical.guest import Guest
from privfed.vertical.host import Host
from privfed.vertical.labels import read_labels
from privfed.vertical.plan import VerticalPlan
from privfed.vertical.rows import Role, clipped_share, with_intercept
from privfed.vertical.series import Family
from privfed.vertical.shapes import BlockShape, GuestShapes, HostShapes
from privfed.vertical.side import VerticalSide
from privfed.vertical.terms import TrainingStep, VerticalChoice
from privfed.vertical.whitening import Whitening
from psi.network import Dialogue, Progress
from psi.sessions import PairChoice, TableSession

if TYPE_CHECKING:
    from psi.network import Connection

__all__ = ["CompanyTable", "LabelScale", "StepCost", "Talk", "TrainedHalf", "train_half"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
_FEWEST = 20  # common rows: less can neither train nor test anything


@dataclass(frozen=True)
class LabelScale:
    """How labels become what is trained on: (label - middle) / unit.

    Attributes:
        middle: The mean of a linear model's training labels; else 0.
        unit: Their deviation; the mean of counts; 1 for classes.
    """

    middle: float = 0.0
    unit: float = 1.0

    @classmethod
    def fit(cls, labels: Floats, family: Family) -> LabelScale:
        """Return the scale of training labels."""
        if family == "linear":
            return cls(float(labels.mean()), float(labels.std()))
        return cls(unit=float(labels.mean())) if family == "poisson" else cls()

    def scaled(self, labels: Floats) -> Floats:
        """Return labels as they are trained on."""
        return (labels - self.middle) / self.unit

    def scores(self, trained: Floats, family: Family) -> Floats:
        """Return scores of the labels themselves, from those of scaled ones."""
        if family == "poisson":
            return trained + math.log(self.unit)
        return trained * self.unit + self.middle


@dataclass(frozen=True, kw_only=True)
class CompanyTable:
    """A company's table, and what in it is what. Its repr shows no cell.

    Attributes:
        role: Whether the company holds labels.
        frame: Text cells.
        id_columns: The ID.
        label: The label column; None at the host.
        normalise: Steps that make IDs comparable, as of `psi`; the same at both sides.
        duplicates: What to do with an ID that repeats, as of `psi`: "error" or "first".
    """

    role: Role
    frame: pd.DataFrame = field(repr=False)
    id_columns: tuple[str, ...]
    label: str | None = None
    normalise: str | None = None
    duplicates: Literal["error", "first"] = "error"

    def __post_init__(self) -> None:
        for name in (*self.id_columns, *([self.label] if self.label else [])):
            if name not in self.frame.columns:
                raise ConfigError(
                    f"the table has no column {name!r}: its columns are "
                    f"{', '.join(map(repr, map(str, self.frame.columns)))}"
                )
        if not self.id_columns:
            raise ConfigError("name the column of the ID")
        if self.label in self.id_columns:
            raise ConfigError("the ID is no label: name another column")
        if (self.role == "guest") != (self.label is not None):
            raise ConfigError(
                "the guest is the side with the labels: name its label column, and none at the host"
            )

    def labels(self, family: Family) -> tuple[Floats, tuple[str, ...]]:
        """Return all rows' labels as numbers, and what 0 and 1 are called; nothing at the host.

        Raises:
            ConfigError: They are not of the family.
        """
        if self.label is None:
            return np.empty(0), ()
        return read_labels([str(cell) for cell in self.frame[self.label]], family, self.label)

    @property
    def features(self) -> pd.DataFrame:
        """Its columns but ID and label.

        Raises:
            ConfigError: There is none.
        """
        named = {*self.id_columns, self.label}
        features = self.frame[[name for name in self.frame.columns if name not in named]]
        if not features.columns.size:
            raise ConfigError("the table has no column beside ID and label: there is no feature")
        return features


@dataclass(frozen=True)
class StepCost:
    """What a step cost this company.

    Attributes:
        step: Which conversation.
        wall_seconds: From its beginning to its end, waiting included.
        cpu_seconds: What this process took.
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
        encoder: Its table's columns.
        whitening: What is done to these.
        side: The session, done: its coefficients or shares.
        scale: How its labels were scaled.
        classes: What its labels 0 and 1 are called.
        labels: All common rows', in their order; empty at the host.
        block: Its common rows, standardised, in their order.
        rows: The table's common rows, in that order.
        tests: How many first ones are held out.
        table_rows: How many its table has.
        clipped_share: Which part of its training rows was shortened.
        costs: What each step cost.
    """

    plan: VerticalPlan
    encoder: BlockEncoder
    whitening: Whitening
    side: VerticalSide
    scale: LabelScale
    classes: tuple[str, ...]
    labels: Floats
    block: Floats
    rows: Rows
    tests: int
    table_rows: int
    clipped_share: float
    costs: list[StepCost]


@dataclass(kw_only=True)
class Talk:
    """Holds conversations of one training over a connection, and counts what they cost.

    Attributes:
        connection: To the other company.
        choice: What both chose.
        guest_listens: Whether the guest is the side that listens.
        costs: What the steps so far cost.
    """

    connection: Connection
    choice: VerticalChoice
    guest_listens: bool
    costs: list[StepCost] = field(default_factory=list)

    def hold(self, step: TrainingStep, dialogue: Dialogue, cpu_began: float | None = None) -> None:
        """Hold a conversation; errors as of `Connection.converse`."""
        began = time.process_time() if cpu_began is None else cpu_began
        started = time.monotonic()
        terms = self.choice.terms(step, guest_listens=self.guest_listens)
        traffic = self.connection.converse(dialogue, terms)
        self.costs.append(
            StepCost(
                step,
                time.monotonic() - started,
                time.process_time() - began,
                traffic.bytes_sent,
                traffic.bytes_received,
            )
        )


def train_half(
    table: CompanyTable,
    talk: Talk,
    *,
    charge: Callable[[int, int], None] | None = None,
    max_peer_items: int | None = None,
    progress: Progress | None = None,
    on_step: Callable[[TrainingStep], None] | None = None,
) -> TrainedHalf:
    """Train one company's half.

    Args:
        table: This company's.
        talk: With the other.
        charge: Counts what the other side asks (`psi.ledger`).
        max_peer_items: The largest set the other side may bring.
        progress: Called with a stage, how much is done, and of how much.
        on_step: Called as a step begins.

    Returns:
        The half; nothing is written yet.

    Raises:
        ConfigError: The table cannot train, or too few rows are common.
        CapacityError: The plan does not fit.
        PSIError: The other side is gone, or sent what is not acceptable.
    """
    choice, tell = talk.choice, on_step or (lambda step: None)
    guest = table.role == "guest"
    features, (labels, classes) = table.features, table.labels(choice.family)
    tell("align")
    rows = _common_rows(table, talk, charge, max_peer_items, progress)
    tests = len(rows) * choice.test_percent // 100
    train = rows[tests:]
    if tests > choice.predictions:
        raise ConfigError(
            f"{tests} rows are held out, and the model may answer {choice.predictions} in all: "
            "allow more predictions at both companies, or hold out fewer rows"
        )
    tell("shapes")
    began = time.process_time()
    encoder = _fitted(features.iloc[train].reset_index(drop=True), choice, table.role)
    block = encoder.matrix(features.iloc[rows].reset_index(drop=True))
    ridge = choice.penalty * (4 if choice.family == "logistic" else 1)
    whitening = Whitening.fit(block[tests:], ridge)
    whitened = block[tests:] @ whitening.matrix
    own = with_intercept(whitened) if guest else whitened
    shape = BlockShape(len(train), block.shape[1], own.shape[1])
    shapes = GuestShapes(shape) if guest else HostShapes(shape)
    talk.hold("shapes", shapes, began)
    plan = choice.plan(*((shape, shapes.theirs) if guest else (shapes.theirs, shape)))
    tell("train")
    began = time.process_time()
    scale = LabelScale.fit(labels[train], choice.family) if guest else LabelScale()
    side: VerticalSide = (
        Guest(plan, own, whitening.matrix, scale.scaled(labels[train]), progress=progress)
        if guest
        else Host(plan, own, whitening.matrix, progress=progress)
    )
    talk.hold("train", side, began)
    return TrainedHalf(
        plan=plan,
        encoder=encoder,
        whitening=whitening,
        side=side,
        scale=scale,
        classes=classes,
        labels=labels[rows] if guest else labels,
        block=block,
        rows=rows,
        tests=tests,
        table_rows=len(table.frame),
        clipped_share=clipped_share(plan, table.role, own),
        costs=talk.costs,
    )


def _common_rows(
    table: CompanyTable,
    talk: Talk,
    charge: Callable[[int, int], None] | None,
    max_peer_items: int | None,
    progress: Progress | None,
) -> Rows:
    """Return this table's common rows, in the order that both sides have."""
    began = time.process_time()
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
    talk.hold("align", session.party, began)
    rows = session.rows()
    if len(rows) < _FEWEST:
        raise ConfigError(
            f"{len(rows)} rows are common to both tables, at least {_FEWEST} can train: compare "
            "how IDs are written, and choose the same steps of normalisation at both sides"
        )
    return rows


def _one_or_many(columns: Sequence[str]) -> str | list[str]:
    return columns[0] if len(columns) == 1 else list(columns)


def _fitted(frame: pd.DataFrame, choice: VerticalChoice, role: Role) -> BlockEncoder:
    """Return the encoder of training rows; the host's columns tell apart enough rows each."""
    least = choice.least_rows if role == "host" and choice.coefficients == "own" else 0
    encoder = BlockEncoder.fit(frame, least_rows=least)
    rare = encoder.rare_columns(least)
    if rare:
        raise ConfigError(
            f"{', '.join(map(repr, rare))} differ from the commonest value in fewer than {least} "
            "of the common rows: their coefficients would tell these rows' labels; leave these "
            'columns out, or keep coefficients="shared" at both sides'
        )
    return encoder
