"""What a question is: data, and a few functions of how one side asks it."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from psi.defaults import DUPLICATES, RESULT
from psi.protocols.choice import AUTO
from psi.protocols.parameters import SessionParameters
from psi.protocols.party import Party
from psi.tables.files import taken
from psi.tables.keys import Duplicates, KeyIndex

__all__ = [
    "Ask",
    "Detail",
    "Held",
    "Outcome",
    "OwnTable",
    "Parties",
    "Question",
    "Result",
    "Side",
    "matching_rows",
    "receives_result",
    "told_of",
]

Side: TypeAlias = Literal["serve", "join"]
Result: TypeAlias = Literal["both", "serve", "join"]
Outcome: TypeAlias = tuple[dict[str, Any], str]
"""Columns to write, and what was found in a few words."""
Parties: TypeAlias = tuple[type[Party], type[Party]]
"""The receiver and the sender."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """How one side asks.

    Attributes:
        side: Whether this side serves or joins.
        result: Who gets the result: "both", or the side that serves or joins.
        duplicates: As for `psi.align`. If both get the result, "all" on both sides gives every pair
            of rows; if one side gets it, each of its rows once.
        protocol: For the intersection: "auto", or the name of one (`psi.protocols.choice`).
        bandwidth: With "auto": what the line carries, in Mbit/s; None: nothing is known of it.
        details: What else the question takes, of the type `Question.details`.
    """

    side: Side
    result: Result = RESULT
    duplicates: Duplicates = DUPLICATES
    protocol: str = AUTO
    bandwidth: float | None = None
    details: Any = None


@dataclass(frozen=True)
class Detail:
    """The description of a detail, which stands in its annotation.

    Attributes:
        help: What it is, for people.
        sides: Which of the two sides may give it.
        writes: Whether it names a file that is written.
    """

    help: str
    sides: tuple[Side, ...] = ("serve", "join")
    writes: bool = False


@dataclass(frozen=True)
class OwnTable:
    """This side's table, as it is when the party is made.

    Attributes:
        table: The table that the caller gave.
        index: Its distinct IDs and their rows.
        dummies: How many dummies come after the IDs, to hide their number.
    """

    table: Any
    index: KeyIndex
    dummies: int


class Held(Protocol):
    """A session that was held, as a question sees it."""

    @property
    def party(self) -> Any:
        """The state machine, done."""

    @property
    def choice(self) -> Any:
        """What this side chose: an `Ask`."""

    @property
    def index(self) -> KeyIndex:
        """The table's distinct IDs and their rows."""

    def rows(self) -> NDArray[np.intp]:
        """Return the matching rows of this side's table."""


def receives_result(ask: Ask) -> bool:
    """Return whether a side is the receiver, if that follows from who gets the result."""
    return ask.side == ("join" if ask.result == "both" else ask.result)


def matching_rows(held: Held, table: Any, numbers: bool) -> Outcome:
    """Return the rows that both sides have, or their numbers."""
    rows = held.rows()
    return {"row": rows} if numbers else taken(table, rows), f"{len(rows)} matching rows"


def _parameters(ask: Ask, common: Mapping[str, Any]) -> SessionParameters:
    return SessionParameters(**common)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What two sides can learn.

    Attributes:
        name: The name by which it is chosen.
        help: What is learnt, in a few words.
        parties: The receiver and the sender that answer it.
        outcome: What a side has learnt, given the session, the table, and whether matching rows
            are given by their numbers.
        details: The dataclass of what else a side gives, each field annotated by a `Detail`.
        refuse: Raises `ConfigError` if it cannot be asked in this way.
        receives: Whether a side is the receiver.
        parameters: Makes the parties' parameters from those that every question has.
        options: What else this side's party takes.
        pairs: Whether every pair of rows of a repeated ID is told, if both sides ask for it.
        fields: The type of each field that it adds to the terms; `agreed` gives their values.
        agreed: See `fields`.
    """

    name: str
    help: str
    parties: Callable[[Ask], Parties]
    outcome: Callable[[Held, Any, bool], Outcome]
    details: type[Any] | None = None
    refuse: Callable[[Ask], None] = lambda ask: None
    receives: Callable[[Ask], bool] = receives_result
    parameters: Callable[[Ask, Mapping[str, Any]], SessionParameters] = _parameters
    options: Callable[[Ask, OwnTable], Mapping[str, Any]] = lambda ask, own: {}
    pairs: bool = False
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    agreed: Callable[[Ask], Mapping[str, Any]] = lambda ask: {}


def told_of(details: type[Any] | None) -> dict[str, Detail]:
    """Return the description of each field of a question's details, by its name."""
    fields = dataclasses.fields(details) if details is not None else ()
    return {field.name: get_args(field.type)[1] for field in fields}
