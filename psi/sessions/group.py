"""One side's table in a session of three and more: from its IDs to a party, and back to rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError
from psi.network.roster import Roster
from psi.protocols.kmprt import Leader, Member
from psi.protocols.padding import padded
from psi.protocols.party import Parameters, Progress
from psi.sessions.pair import table_index
from psi.tables.keys import Duplicates, KeyIndex
from psi.tables.normalise import Normalise

__all__ = ["GroupSession", "Learners"]

Learners: TypeAlias = Literal["all", "leader"]


@dataclass(frozen=True, repr=False)
class GroupSession:
    """A table's party in one session of several.

    Attributes:
        party: The state machine to carry through.
        index: The table's distinct IDs and their rows.
        gets_result: Whether this side gets the result.
        terms: What all sides must have agreed, in words.
    """

    party: Leader | Member
    index: KeyIndex
    gets_result: bool
    terms: str

    @classmethod
    def prepare(
        cls,
        table: Any,
        *,
        number: int,
        roster: Roster,
        on: str | Sequence[str] | None = None,
        duplicates: Duplicates = "error",
        normalise: Normalise = None,
        result: Learners = "all",
        pad_to: int | None = None,
        max_peer_items: int | None = None,
        progress: Progress | None = None,
    ) -> "GroupSession":
        """Encode a table's IDs and get ready to speak.

        Args:
            table: As for `psi.align`.
            number: This side's number on the roster; 0 leads.
            roster: Everybody.
            on: The column or columns of the ID; their names may differ between the sides.
            duplicates: "error" or "first", as for `psi.align`.
            normalise: Steps by name, the same at all sides.
            result: Who gets the result: "all", or only the "leader".
            pad_to: The size of the set that the others are to see; this side's alone.
            max_peer_items: The largest set another side may announce; 2^24 without.
            progress: Called with a stage, the items done and their number.

        Raises:
            ConfigError: The table, its IDs or a choice is not acceptable.
        """
        if result not in ("all", "leader"):
            raise ConfigError("the result goes to all, or to the leader")
        if duplicates == "all":
            raise ConfigError('pairs of rows are for two parties: choose duplicates="first"')
        index, form = table_index(table, on, duplicates, normalise)
        parameters = Parameters(
            output="both" if result == "all" else "receiver",
            key_format=f"{form}; parties {roster.digest()}",
        )
        items: Sequence[bytes] = index.keys
        if pad_to is not None:
            items = padded(items, pad_to, side="sender" if number else "receiver")
        options: dict[str, Any] = {
            "parties": len(roster.parties),
            "progress": progress,
        }
        if max_peer_items is not None:
            options["max_peer_items"] = max_peer_items
        party = (
            Member(items, parameters, number=number, **options)
            if number
            else Leader(items, parameters, **options)
        )
        terms = f"--result {result} of parties {roster.digest()[:16]}"
        return cls(party, index, result == "all" or number == 0, terms)

    def rows(self) -> NDArray[np.intp]:
        """The rows of this side's table whose ID all have; everybody's i-th row has the same.

        Raises:
            StateError: The session is not done, or this side gets no result.
        """
        return self.index.aligned_rows(self.party.matches, None, leads=True)
