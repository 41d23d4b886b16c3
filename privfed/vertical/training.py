"""What a company's training of any model has: `privfed.vertical.job` calls it in turn.

`begin` is what a first session does and a later one skips (`go_on`): `psi` finds the common rows,
and shapes are told, from which both have one plan. Each side holds out the same rows: the first
ones of the order that the intersection drew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.errors import BudgetExceededError, ConfigError
from privfed.vertical.company import CompanyTable
from privfed.vertical.halves import Half
from privfed.vertical.outcome import KnownHalf
from privfed.vertical.results import UsedTable
from privfed.vertical.talk import StepCost, Talk
from privfed.vertical.terms import OwnChoice, VerticalChoice
from privfed.vertical.unfinished import Brought, Unfinished
from psi.network import Progress

__all__ = ["MEMORY_BYTES", "Training", "VerticalJob"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

MEMORY_BYTES = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class VerticalJob:
    """What a company brings.

    Attributes:
        table: Its table.
        name: What it is called.
        file: Where the table comes from.
        choice: What both chose.
        out: Its folder for the half.
        unfinished: Where the training is kept until both halves are written.
        resume: Whether to go on with what is there.
        charge: Counts what the other side asks.
        max_peer_items: The largest set the other side may bring.
        own: What the company chose for itself; the model's own defaults, if None.
        memory_bytes: How much of it a model may take for what it could make anew.
    """

    table: CompanyTable
    name: str
    file: UsedTable
    choice: VerticalChoice
    out: Path
    unfinished: Path
    resume: bool = False
    charge: Callable[[int, int], None] | None = None
    max_peer_items: int | None = None
    own: OwnChoice | None = None
    memory_bytes: int = MEMORY_BYTES

    @property
    def brought(self) -> Brought:
        """What the training goes on with, if it breaks off."""
        return Brought(
            role=self.table.role,
            table=self.file.sha256,
            id_columns=self.table.id_columns,
            label=self.table.label,
            normalise=self.table.normalise,
            choice=self.choice.fields | ({} if self.own is None else self.own.fields),
        )


class Training(ABC):
    """One company's training of one model, from common rows to its half.

    Attributes:
        job: What the company brings.
        rows: Its table's common rows, in the order that both sides have.
        tests: How many first ones are held out.
        unfinished: What goes on if this breaks off; nothing is written before the sides meet.
    """

    job: VerticalJob
    rows: Rows
    tests: int
    unfinished: Unfinished[Any, Any]

    def __init__(self, job: VerticalJob) -> None:
        """Take what the company brings."""
        self.job = job

    @abstractmethod
    def begin(self, talk: Talk, progress: Progress | None) -> None:
        """Find the common rows and agree on a plan.

        Args:
            talk: With the other company.
            progress: Called with a stage, how much is done, and of how much.

        Raises:
            ConfigError: The table cannot train, or too few rows are common.
            CapacityError: The plan does not fit.
            PSIError: The other side is gone, or sent what is not acceptable.
        """

    def go_on(self) -> None:
        """Take up a training that broke off, instead of `begin`.

        Raises:
            ConfigError: There is none, or it began with something else.
            DecodeError: What is there is damaged.
            BudgetExceededError: Sessions that broke off may have answered too many held-out rows.
        """
        path, plan_and_state = self.job.unfinished, self._kinds
        self.unfinished = Unfinished.load(path, self.job.brought, *plan_and_state)
        beginning = self.unfinished.beginning
        self._take(np.array(beginning.rows, np.intp))
        if self._integers(beginning.plan) != beginning.integers:
            raise ConfigError(
                f"{path} began with other numbers from the same table: go on with the schema and "
                "the versions that it began with, or train from the beginning in another folder"
            )
        self._check_answered()

    @abstractmethod
    def train(self, talk: Talk, progress: Progress | None) -> None:
        """Train this company's half, from where the training is; `unfinished` alone is written.

        Raises:
            ConfigError: The training broke off too often, or its file cannot be written.
            PSIError: The other side is gone, or sent what is not acceptable.
        """

    @abstractmethod
    def half(self) -> Half:
        """Return what is kept of a trained half."""

    @abstractmethod
    def known(self, joint: Floats | None, costs: Sequence[StepCost]) -> KnownHalf:
        """Return what the company knows when all is done.

        Args:
            joint: The guest's scores of held-out rows.
            costs: What each step cost.
        """

    @property
    @abstractmethod
    def _kinds(self) -> tuple[type[Any], type[Any]]:
        """The types of the plan, and of how far a side is."""

    @abstractmethod
    def _take(self, rows: Rows) -> None:
        """Take common rows of the table: the first ones are held out, the others train."""

    @abstractmethod
    def _integers(self, plan: Any) -> str:
        """Return a digest of what the two sides compute with."""

    def _check_answered(self) -> None:
        """Check that the held-out rows may be answered once more."""
        answered, most = self.unfinished.answered, self.job.choice.predictions
        if answered + self.tests > most:
            raise BudgetExceededError(
                f"sessions that broke off may have answered {answered} held-out rows, and "
                f"the model may answer {most} in all: train from the beginning"
            )
