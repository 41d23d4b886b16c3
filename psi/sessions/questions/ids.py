"""A random ID for each item of the union, the same at both sides."""

from typing import Any

import numpy as np

from psi.errors import ConfigError
from psi.protocols.private_ids import PrivateIDReceiver, PrivateIDSender
from psi.sessions.questions.question import Ask, Held, Outcome, Question
from psi.tables.files import joined, taken

__all__ = ["IDS"]


def _refuse(ask: Ask) -> None:
    if ask.result != "both":
        raise ConfigError('private IDs go to both sides: choose result="both"')


def _outcome(held: Held, table: Any, numbers: bool) -> Outcome:
    """Return one line for each ID of the union, in an order common to both sides."""
    first_rows = held.index.rows[held.index.starts[:-1]].tolist()
    row_of = dict(zip(held.party.own_ids, first_rows, strict=True))
    union = held.party.union_ids
    rows = np.array([row_of.get(name, -1) for name in union], np.intp)
    content = {"row": rows} if numbers else taken(table, rows)
    columns = joined({"private_id": union}, content, on=())
    return columns, f"{len(union)} IDs of the union, {len(row_of)} with a row here,"


IDS = Question(
    name="ids",
    help="a random ID for each item of the union",
    parties=lambda ask: (PrivateIDReceiver, PrivateIDSender),
    outcome=_outcome,
    refuse=_refuse,
)
