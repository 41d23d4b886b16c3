"""What a side chooses for a session of three and more: the rows that all have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from psi.defaults import DUPLICATES
from psi.errors import ConfigError
from psi.network.roster import Roster
from psi.network.terms import Terms
from psi.protocols.kmprt import Leader, Member
from psi.protocols.parameters import SessionParameters
from psi.sessions.questions.question import Held, Outcome, OwnTable
from psi.tables.files import taken
from psi.tables.keys import Duplicates

__all__ = ["GroupChoice", "GroupTerms", "Learners"]

Learners: TypeAlias = Literal["all", "leader"]

_DIGITS = 16  # of the roster's digest; the protocol compares all of it


class GroupTerms(Terms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The terms of a session of three and more.

    Attributes:
        question: What is asked.
        result: Who learns the result.
        protocol: The protocol's name.
        roster: The first digits of the roster's digest.
    """

    question: Literal["intersection of all"] = "intersection of all"
    result: Learners
    protocol: Literal["kmprt"] = "kmprt"
    roster: Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{_DIGITS}}}\\Z")]


@dataclass(frozen=True, kw_only=True)
class GroupChoice:
    """Who takes part, and who learns which rows all have.

    Attributes:
        roster: All parties.
        number: This side's number on the roster; 0 leads.
        result: Who gets the result: "all", or only the "leader".
        duplicates: "error" or "first", as for `psi.align`.

    Raises:
        ConfigError: A choice is not acceptable.
    """

    roster: Roster
    number: int
    result: Learners = "all"
    duplicates: Duplicates = DUPLICATES

    def __post_init__(self) -> None:
        if self.result not in ("all", "leader"):
            raise ConfigError("the result goes to all, or to the leader")
        if self.duplicates == "all":
            raise ConfigError('pairs of rows are for two parties: choose duplicates="first"')

    @property
    def role(self) -> Literal["receiver", "sender"]:
        """The leader receives."""
        return "sender" if self.number else "receiver"

    @property
    def gets_result(self) -> bool:
        """Whether this side gets the result."""
        return self.result == "all" or self.number == 0

    @property
    def item_bytes(self) -> int | None:
        """None: what another side can test is no number of its items here."""
        return None

    @property
    def terms(self) -> Terms:
        """What all sides must have chosen alike."""
        return GroupTerms(result=self.result, roster=self.roster.digest()[:_DIGITS])

    def party(
        self, items: Sequence[bytes], own: OwnTable, form: str, options: dict[str, Any]
    ) -> Leader | Member:
        """Return the state machine, given the table's items and their key format."""
        parameters = SessionParameters(
            output="both" if self.result == "all" else "receiver",
            key_format=f"{form}; parties {self.roster.digest()}",
        )
        parties = len(self.roster.parties)
        if self.number:
            return Member(items, parameters, number=self.number, parties=parties, **options)
        return Leader(items, parameters, parties=parties, **options)

    def outcome(self, held: Held, table: Any, numbers: bool) -> Outcome:
        """Return what this side has learnt, as columns to write and in a few words."""
        rows = held.rows()
        columns = {"row": rows} if numbers else taken(table, rows)
        return columns, f"{len(rows)} rows that all {len(self.roster.parties)} have"
