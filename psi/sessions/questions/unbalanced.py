"""Which rows a large side, which answers many small ones from a store, has, too."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from psi.errors import ConfigError
from psi.protocols.unbalanced import UnbalancedReceiver, UnbalancedSender
from psi.sessions.questions.question import (
    Ask,
    Detail,
    Held,
    Outcome,
    OwnTable,
    Question,
    matching_rows,
)
from psi.sessions.tagstore import read_kept, write_kept

__all__ = ["UNBALANCED", "LargeSide"]


@dataclass(frozen=True)
class LargeSide:
    """What a small side knows of the large side that it asks.

    Attributes:
        keep: A file that keeps the large side's tags between requests; a file with other content
            is refused, not replaced.
        key: As in `psi.UnbalancedReceiver`.
    """

    keep: Annotated[
        Path | None,
        Detail("a file that keeps the tags for the next request", sides=("join",), writes=True),
    ] = None
    key: Annotated[str | None, Detail("take no other key's answers", sides=("join",))] = None


def _refuse(ask: Ask) -> None:
    if (ask.side, ask.result) != ("join", "join"):
        raise ConfigError(
            'the side that asks joins and learns alone: choose result="join"; the large side '
            "answers from a TagStore"
        )


def _options(ask: Ask, own: OwnTable) -> Mapping[str, Any]:
    known = ask.details or LargeSide()
    keep = functools.partial(write_kept, known.keep) if known.keep is not None else None
    return {"tags": read_kept(known.keep), "keep": keep, "key": known.key}


def _outcome(held: Held, table: Any, numbers: bool) -> Outcome:
    columns, found = matching_rows(held, table, numbers)
    return columns, f"{found} under the key {held.party.public_key}"


UNBALANCED = Question(
    name="unbalanced",
    help="the rows that a store has",
    parties=lambda ask: (UnbalancedReceiver, UnbalancedSender),
    outcome=_outcome,
    details=LargeSide,
    refuse=_refuse,
    options=_options,
)
