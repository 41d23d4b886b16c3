"""One side's table in a session between two: from its IDs to a party, from matches to its rows."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError, TrustWarning
from psi.protocols.cardinality import CardinalityReceiver, CardinalitySender
from psi.protocols.choice import CHEATED, Protocol, parties, resolved
from psi.protocols.padding import padded
from psi.protocols.party import Parameters, Party, Progress
from psi.protocols.private_ids import PrivateIDReceiver, PrivateIDSender
from psi.protocols.sums import SumParameters, SumReceiver, SumSender
from psi.protocols.unbalanced import UnbalancedReceiver, UnbalancedSender
from psi.tables.columns import key_columns, key_names, whole_numbers
from psi.tables.files import joined, taken
from psi.tables.keys import Duplicates, KeyIndex, index_keys
from psi.tables.normalise import Normalise, key_format, normalisers

__all__ = ["LargeSide", "Learn", "Result", "Side", "SumChoice", "TableSession", "table_index"]

Side: TypeAlias = Literal["serve", "join"]
Result: TypeAlias = Literal["both", "serve", "join"]
Learn: TypeAlias = Literal["intersection", "cardinality", "sum", "ids", "unbalanced"]

_PARTIES: dict[Learn, tuple[type[Party], type[Party]]] = {
    "intersection": parties("auto"),
    "cardinality": (CardinalityReceiver, CardinalitySender),
    "sum": (SumReceiver, SumSender),
    "ids": (PrivateIDReceiver, PrivateIDSender),
    "unbalanced": (UnbalancedReceiver, UnbalancedSender),
}


@dataclass(frozen=True)
class SumChoice:
    """What a sum is of.

    Attributes:
        column: The column to sum, at the side that has it; None at the other side.
        minimum: As in `psi.SumParameters`.
        max_value: As in `psi.SumParameters`.
    """

    column: str | None = None
    minimum: int = SumParameters.minimum
    max_value: int = SumParameters.max_value


@dataclass(frozen=True)
class LargeSide:
    """What a small side knows of a large one that it asks.

    Attributes:
        kept: As in `psi.UnbalancedReceiver`.
        key: As in `psi.UnbalancedReceiver`.
    """

    kept: Path | None = None
    key: str | None = None


_DETAILS: dict[Learn, type] = {"sum": SumChoice, "unbalanced": LargeSide}


@dataclass(frozen=True, repr=False)
class TableSession:
    """A table's party in one session.

    Attributes:
        party: The state machine to carry through.
        index: The table's distinct IDs and their rows.
        leads: Whether this side's rows vary slowest among the pairs of a repeated ID.
        gets_result: Whether this side gets the result.
        terms: What both sides must have agreed, in words.
    """

    party: Party
    index: KeyIndex
    leads: bool
    gets_result: bool
    terms: str

    @classmethod
    def prepare(
        cls,
        table: Any,
        *,
        side: Side,
        on: str | Sequence[str] | None = None,
        duplicates: Duplicates = "error",
        normalise: Normalise = None,
        result: Result = "both",
        learn: Learn = "intersection",
        details: SumChoice | LargeSide | None = None,
        pad_to: int | None = None,
        protocol: Protocol = "auto",
        max_peer_items: int | None = None,
        progress: Progress | None = None,
    ) -> "TableSession":
        """Encode a table's IDs and get ready to speak.

        Args:
            table: As for `psi.align`.
            side: Whether this side serves or joins.
            on: The column or columns of the ID; their names may differ at the other side.
            duplicates: As for `psi.align`. Where both get the result, "all" on both sides
                gives every pair of rows; where one does, its rows once each.
            normalise: Steps by name, the same at both sides.
            result: Who gets the result: "both", or the side that serves or joins.
            learn: What the result is: the matching rows, only how many IDs match, or that and
                the sum of one side's column over them; "ids": a random ID for each item of the
                union, the same at both; "unbalanced": the matching rows, from a
                side that serves a `TagStore`.
            details: What the sum is of, or what is known of the large side.
            pad_to: The size of the set that the other side is to see; this side's alone.
            protocol: For the intersection "ecdh", which "auto" is too, or "kkrt", for sides that
                trust each other not to cheat (`psi.TrustWarning` says why).
            max_peer_items: The largest set the other side may announce; 2^24 without. Not with
                "kkrt", which keeps no limit.
            progress: Called with a stage, the items done and their number.

        Raises:
            ConfigError: The table, its IDs or a choice is not acceptable.
            UnkeptLimitError: A limit is given with "kkrt".
        """
        if result not in ("both", "serve", "join"):
            raise ConfigError("the result goes to both, serve or join")
        if learn not in _PARTIES:
            raise ConfigError(f"what is learnt is one of {', '.join(_PARTIES)}")
        if learn != "intersection" and duplicates == "all":
            raise ConfigError('pairs of rows are an intersection: choose duplicates="first"')
        if protocol != "auto" and learn != "intersection":
            raise ConfigError("the protocol can be chosen for an intersection only: leave it out")
        index, form = table_index(table, on, duplicates, normalise)
        every = duplicates == "all" and result == "both"
        receives = side == ("join" if result == "both" else result)
        roles = parties(protocol) if learn == "intersection" else _PARTIES[learn]
        terms = f"--result {result} --learn {learn}"
        if learn == "intersection":
            terms += f" --protocol {resolved(protocol)}"
        options: dict[str, Any] = {"counts": index.counts()} if every else {}
        if max_peer_items is not None:
            options["max_peer_items"] = max_peer_items
        chosen: dict[str, Any] = {
            "output": "both" if result == "both" else "receiver",
            "key_format": form,
            "multiplicities": every,
        }
        parameters = Parameters(**chosen)
        if details is not None and not isinstance(details, _DETAILS.get(learn, ())):
            raise ConfigError(f"{type(details).__name__} does not go with --learn {learn}")
        if learn == "sum":
            choice = details if isinstance(details, SumChoice) else SumChoice()
            parameters = SumParameters(**chosen, minimum=choice.minimum, max_value=choice.max_value)
            receives = choice.column is None
            holder = side if choice.column else "join" if side == "serve" else "serve"
            terms += f", --column given at {holder}"
            if result == holder:
                raise ConfigError(
                    "the side with the column learns the sum only together with the other: "
                    "choose --result both"
                )
            if choice.column is not None:
                first_rows = index.rows[index.starts[:-1]]
                options["values"] = whole_numbers(table, choice.column, first_rows)
        elif learn == "ids" and result != "both":
            raise ConfigError("private IDs go to both sides: choose --result both")
        elif learn == "unbalanced":
            if (side, result) != ("join", "join"):
                raise ConfigError(
                    "the side that asks learns: psi join --learn unbalanced --result join; the "
                    "large side: psi publish, then psi answer"
                )
            known = details if isinstance(details, LargeSide) else LargeSide()
            options.update(kept=known.kept, key=known.key)
        items: Sequence[bytes] = index.keys
        if pad_to is not None:
            items = padded(items, pad_to, side="receiver" if receives else "sender")
            if every:
                options["counts"] = np.append(
                    index.counts(), np.ones(pad_to - len(index.keys), int)
                )
            if "values" in options:
                options["values"] += [0] * (pad_to - len(index.keys))
        party = roles[0 if receives else 1](
            items,
            parameters=parameters,
            progress=progress,
            **options,
        )
        if protocol == "kkrt":
            warnings.warn(CHEATED, TrustWarning, stacklevel=2)
        return cls(party, index, receives, receives or result == "both", terms)

    def rows(self) -> NDArray[np.intp]:
        """The matching rows of this side's table; the other side's i-th row has the same ID.

        The order is random, the same at both sides.

        Raises:
            StateError: The session is not done, or this side gets no result.
        """
        return self.index.aligned_rows(self.party.matches, self.party.peer_counts, leads=self.leads)

    def outcome(self, table: Any, *, numbers: bool = False) -> tuple[dict[str, Any], str]:
        """What this side has learnt, as columns to write and in a few words.

        Args:
            table: The table as `psi.tables.files.read_table` gave it.
            numbers: Whether matching rows are given by their numbers.

        Raises:
            StateError: The session is not done, or this side gets no result.
        """
        if isinstance(self.party, SumReceiver | SumSender):
            count, found = self.party.cardinality, self.party.sum
            return {"cardinality": [count], "sum": [found]}, f"the sum of {count} matching IDs"
        if isinstance(self.party, CardinalityReceiver | CardinalitySender):
            count = self.party.cardinality
            return {"cardinality": [count]}, f"{count} matching IDs"
        if isinstance(self.party, PrivateIDReceiver | PrivateIDSender):
            return self._identified(table, self.party, numbers)
        rows = self.rows()
        columns = {"row": rows} if numbers else taken(table, rows)
        if isinstance(self.party, UnbalancedReceiver):
            return columns, f"{len(rows)} matching rows under the key {self.party.public_key}"
        return columns, f"{len(rows)} matching rows"

    def _identified(
        self, table: Any, party: PrivateIDReceiver | PrivateIDSender, numbers: bool
    ) -> tuple[dict[str, Any], str]:
        """One line for each ID of the union, in an order common to both sides."""
        first_rows = self.index.rows[self.index.starts[:-1]].tolist()
        row_of = dict(zip(party.own_ids, first_rows, strict=True))
        union = party.union_ids
        rows = np.array([row_of.get(name, -1) for name in union], np.intp)
        content = {"row": rows} if numbers else taken(table, rows)
        columns = joined({"private_id": union}, content, on=())
        return columns, f"{len(union)} IDs of the union, {len(row_of)} with a row here,"


def table_index(
    table: Any, on: str | Sequence[str] | None, duplicates: Duplicates, normalise: Normalise
) -> tuple[KeyIndex, str]:
    """A table's distinct IDs, and their key format; arguments as of `prepare`.

    Raises:
        ConfigError: The table, its IDs or a choice is not acceptable.
    """
    functions = normalisers(normalise, key_names(on))
    columns = key_columns(table, on, "the table")
    index = index_keys(columns, duplicates=duplicates, normalise=functions, name="the table")
    return index, key_format(functions)
