"""The conversations of one job over a connection, and what each cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.vertical.company import CompanyTable
from psi.errors import TransportError
from psi.network import Dialogue, Progress, Terms
from psi.sessions import PairChoice, TableSession

if TYPE_CHECKING:
    from psi.network import Connection

__all__ = ["StepCost", "Talk", "common_rows"]

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

    step: str
    wall_seconds: float
    cpu_seconds: float
    bytes_sent: int
    bytes_received: int


@dataclass(kw_only=True)
class Talk:
    """Holds conversations of one job over a connection, and counts what they cost.

    Attributes:
        connection: To the other company.
        terms: Returns those of a step's conversation.
        on_step: Called as a step begins.
        costs: What the steps so far cost.
    """

    connection: Connection
    terms: Callable[[Any], Terms]
    on_step: Callable[[Any], None] = lambda step: None
    costs: list[StepCost] = field(default_factory=list)
    _step: str = field(init=False)
    _cpu_began: float = field(init=False)

    def enter(self, step: str) -> None:
        """Begin a step: what is prepared from here on is its cost."""
        self._step, self._cpu_began = step, time.process_time()
        self.on_step(step)

    def hold(self, dialogue: Dialogue) -> None:
        """Hold the step's conversation; errors as of `Connection.converse`."""
        started = time.monotonic()
        traffic = self.connection.converse(dialogue, self.terms(self._step))
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
            self.connection.converse(last, self.terms("written"))
        except TransportError:
            if not last.done:  # it went away with its half written
                raise


class _Written(Dialogue):
    """Nothing to say: that both came to its terms says that both have written their halves."""

    protocol = "privfed vertical written"
    speaks_first = False

    def start(self) -> None:
        self._start_once()
        self._end()


def common_rows(
    table: CompanyTable,
    talk: Talk,
    charge: Callable[[int, int], None] | None,
    max_peer_items: int | None,
    progress: Progress | None,
) -> Rows:
    """Return this table's common rows, in the order that both sides have.

    Args:
        table: This company's.
        talk: With the other.
        charge: Counts what the other side asks (`psi.ledger`).
        max_peer_items: The largest set the other side may bring.
        progress: Called with a stage, how much is done, and of how much.

    Raises:
        ConfigError: Too few rows are common.
        PSIError: The other side is gone, or sent what is not acceptable.
    """
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
