"""One side's table in a session: from its IDs to a party, and from the matches back to rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from psi.network.terms import Terms
from psi.protocols.conversation import Progress, SetConversation
from psi.protocols.padding import padded
from psi.sessions.memory import items_that_fit
from psi.sessions.questions.question import Held, Outcome, OwnTable
from psi.tables.columns import key_columns, key_names
from psi.tables.keys import Duplicates, KeyIndex, index_keys
from psi.tables.normalise import Normalise, key_format, normalisers

__all__ = ["Choice", "TableSession", "table_index"]

PartyT_co = TypeVar("PartyT_co", bound=SetConversation[Any, Any], covariant=True)


class Choice(Protocol[PartyT_co]):
    """What a side chooses for a session: `PairChoice` between two, `GroupChoice` among many."""

    @property
    def duplicates(self) -> Duplicates:
        """What to do with an ID that the table repeats."""

    @property
    def role(self) -> Literal["receiver", "sender"]:
        """Which of the protocol's roles this side has."""

    @property
    def gets_result(self) -> bool:
        """Whether this side gets the result."""

    @property
    def item_bytes(self) -> int | None:
        """The peak of memory for each item of another side; None: the protocol limits itself."""

    @property
    def terms(self) -> Terms:
        """What all sides must have chosen alike."""

    def party(
        self, items: Sequence[bytes], own: OwnTable, form: str, options: dict[str, Any]
    ) -> PartyT_co:
        """Return the state machine, given the table's items and their key format."""

    def outcome(self, held: Held, table: Any, numbers: bool) -> Outcome:
        """Return what this side has learnt, as columns to write and in a few words."""


@dataclass(frozen=True, repr=False)
class TableSession(Generic[PartyT_co]):
    """A table's party in one session.

    Attributes:
        party: The state machine to carry through.
        index: The table's distinct IDs and their rows.
        choice: What this side chose.
    """

    party: PartyT_co
    index: KeyIndex
    choice: Choice[PartyT_co]

    @classmethod
    def prepare(
        cls,
        table: Any,
        choice: Choice[PartyT_co],
        *,
        on: str | Sequence[str] | None = None,
        normalise: Normalise = None,
        pad_to: int | None = None,
        max_peer_items: int | None = None,
        progress: Progress | None = None,
    ) -> "TableSession[PartyT_co]":
        """Return a session that is ready to begin, with the table's IDs encoded.

        Args:
            table: As for `psi.align`.
            choice: What is asked, with whom, and who learns the result.
            on: The column or columns of the ID; their names may differ between the sides.
            normalise: Steps by name, the same at all sides.
            pad_to: The size of this side's set that the others are to see.
            max_peer_items: How many items another side may be able to test, if it cheats; None:
                what fits into memory, at most 2^25, as far as the choice says what an item takes.
            progress: Called with a stage, the items done and their number.

        Raises:
            ConfigError: The table, its IDs or a choice is not acceptable.
        """
        index, form = table_index(table, on, choice.duplicates, normalise)
        items: Sequence[bytes] = index.keys
        if pad_to is not None:
            items = padded(items, pad_to, side=choice.role)
        options: dict[str, Any] = {"progress": progress}
        if max_peer_items is None and choice.item_bytes is not None:
            max_peer_items = items_that_fit(choice.item_bytes)
        if max_peer_items is not None:
            options["max_peer_items"] = max_peer_items
        own = OwnTable(table, index, len(items) - len(index.keys))
        return cls(choice.party(items, own, form, options), index, choice)

    @property
    def gets_result(self) -> bool:
        """Whether this side gets the result."""
        return self.choice.gets_result

    @property
    def terms(self) -> Terms:
        """What all sides must have chosen alike."""
        return self.choice.terms

    def rows(self) -> NDArray[np.intp]:
        """Return the matching rows of this side's table; all sides' i-th rows have the same ID.

        The order is random, the same at all sides.

        Raises:
            StateError: The session is not done, or this side gets no result.
        """
        leads = self.choice.role == "receiver"
        return self.index.aligned_rows(self.party.matches, self.party.peer_counts, leads=leads)

    def outcome(self, table: Any, *, numbers: bool = False) -> Outcome:
        """Return what this side has learnt, as columns to write and in a few words.

        Args:
            table: The table as `psi.tables.files.load_table` gave it.
            numbers: Whether matching rows are given by their numbers.

        Raises:
            StateError: The session is not done, or this side gets no result.
        """
        return self.choice.outcome(self, table, numbers)


def table_index(
    table: Any, on: str | Sequence[str] | None, duplicates: Duplicates, normalise: Normalise
) -> tuple[KeyIndex, str]:
    """Return a table's distinct IDs, and their key format; arguments as of `prepare`.

    Raises:
        ConfigError: The table, its IDs or a choice is not acceptable.
    """
    functions = normalisers(normalise, key_names(on))
    columns = key_columns(table, on, "the table")
    index = index_keys(columns, duplicates=duplicates, normalise=functions, name="the table")
    return index, key_format(functions)
