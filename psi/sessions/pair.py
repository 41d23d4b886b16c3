"""What a side chooses for a session between two, for every question."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from psi.defaults import QUESTION
from psi.errors import ConfigError
from psi.network.terms import Terms
from psi.protocols.choice import AUTO, chosen
from psi.protocols.party import Party
from psi.sessions.questions import QUESTIONS, Ask, Question
from psi.sessions.questions.question import Held, Outcome, OwnTable

__all__ = ["PairChoice", "PairTerms", "answering_terms"]

# For each of 300,000 items of the other side VmHWM grew by 715 bytes under counts, by 1,101 under
# private IDs, by 598 under ecdh.
_ITEM_BYTES = 1_200

_FIELDS = {name: kind for question in QUESTIONS.values() for name, kind in question.fields.items()}

PairTerms = msgspec.defstruct(
    "PairTerms",
    [
        ("question", Literal[tuple(QUESTIONS)]),
        ("result", Literal["both", "serve", "join"]),
        *((name, kind | None, None) for name, kind in _FIELDS.items()),
    ],
    bases=(Terms,),
    module=__name__,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
)
"""The terms of a session between two: the question, who learns, and every question's fields."""


@dataclass(frozen=True, kw_only=True)
class PairChoice(Ask):
    """A question, and how this side asks it.

    Attributes:
        learn: The question's name (`psi.sessions.questions`).

    Raises:
        ConfigError: There is no such question, or it cannot be asked in this way.
    """

    learn: str = QUESTION

    def __post_init__(self) -> None:
        if self.result not in ("both", "serve", "join"):
            raise ConfigError("the result goes to both, serve or join")
        if self.learn not in QUESTIONS:
            raise ConfigError(f"what is learnt is one of {', '.join(QUESTIONS)}")
        if not self.question.pairs and self.duplicates == "all":
            raise ConfigError('pairs of rows are an intersection: choose duplicates="first"')
        if self.protocol != AUTO and "protocol" not in self.question.fields:
            raise ConfigError("the protocol can be chosen for an intersection only: leave it out")
        if self.bandwidth is not None and (
            self.protocol != AUTO or "protocol" not in self.question.fields
        ):
            raise ConfigError(
                f"a bandwidth decides on the protocol, so it goes with {AUTO} and an intersection: "
                "leave it out"
            )
        if self.details is not None and not isinstance(self.details, self.question.details or ()):
            raise ConfigError(
                f'{type(self.details).__name__} does not go with learn="{self.learn}"'
            )
        self.question.refuse(self)

    @property
    def question(self) -> Question:
        """What is asked."""
        return QUESTIONS[self.learn]

    @property
    def role(self) -> Literal["receiver", "sender"]:
        """Which of the protocol's roles this side has."""
        return "receiver" if self.question.receives(self) else "sender"

    @property
    def gets_result(self) -> bool:
        """Whether this side gets the result."""
        return self.result == "both" or self.role == "receiver"

    @property
    def item_bytes(self) -> int:
        """The peak of memory for each item of the other side."""
        named = "protocol" in self.question.fields
        return chosen(self.protocol).item_bytes if named else _ITEM_BYTES

    @functools.cached_property
    def terms(self) -> Terms:
        """What both sides must have chosen alike."""
        agreed = self.question.agreed(self)
        return cast("Terms", PairTerms(question=self.learn, result=self.result, **agreed))

    def party(
        self, items: Sequence[bytes], own: OwnTable, form: str, options: dict[str, Any]
    ) -> Party:
        """Return the state machine, given the table's items and their key format."""
        question, both = self.question, self.result == "both"
        common = {
            "output": "both" if both else "receiver",
            "key_format": form,
            "multiplicities": both and self.duplicates == "all",
        }
        receiver, sender = question.parties(self)
        return (receiver if self.role == "receiver" else sender)(
            items,
            parameters=question.parameters(self, common),
            **question.options(self, own),
            **options,
        )

    def outcome(self, held: Held, table: Any, numbers: bool) -> Outcome:
        """Return what this side has learnt, as columns to write and in a few words."""
        return self.question.outcome(held, table, numbers)


def answering_terms() -> Terms:
    """Return the terms of a side that answers from a `psi.TagStore`, which the asking side has."""
    return PairChoice(side="join", learn="unbalanced", result="join").terms
