"""How many IDs both sides have, and not which."""

from typing import Any

from psi.protocols.cardinality import CardinalityReceiver, CardinalitySender
from psi.sessions.questions.question import Held, Outcome, Question

__all__ = ["CARDINALITY"]


def _outcome(held: Held, table: Any, numbers: bool) -> Outcome:
    count = held.party.cardinality
    return {"cardinality": [count]}, f"{count} matching IDs"


CARDINALITY = Question(
    name="cardinality",
    help="how many IDs both have",
    parties=lambda ask: (CardinalityReceiver, CardinalitySender),
    outcome=_outcome,
)
