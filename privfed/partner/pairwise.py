"""A dialogue with each of several others at the same time, over one connection to all.

The k-th messages of all pairs go out before anybody waits for one of the (k+1)-th: so nobody waits
in a circle, whatever the order in which parties take up their messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psi.errors import ProtocolError
from psi.network import Conversation, Dialogue, Round


class Pairwise(Conversation[Round, Round]):
    """Dialogues by the number of the other party, and as one: all of them end, or none counts."""

    protocol = "pairwise"

    def __init__(self, dialogues: Mapping[int, Dialogue], names: Sequence[str]) -> None:
        """Take dialogues that have not begun.

        Args:
            dialogues: One for each other party, all of one protocol.
            names: What each party is called, by its number.
        """
        super().__init__()
        self._dialogues, self._names = dict(dialogues), names
        self._own_turn = False  # whether those are due that answer what this side began

    def between(self, peer: int, own: str, theirs: str) -> None:
        """Tell the dialogue with a party who the two are."""
        self._dialogues[peer].between(0, own, theirs)  # between two the other side is 0

    def first_round(self) -> Round:
        """Return the first message of each dialogue that this side begins."""
        return _said({peer: each.start() for peer, each in self._dialogues.items()})

    def next_round(self, arrived: Round) -> Round:
        """Return the answer to each message.

        Raises:
            ProtocolError: A message is not acceptable; names whose it is.
        """
        self._own_turn = not self._own_turn
        return _said({peer: self._answer(peer, message) for peer, message in arrived.items()})

    @property
    def awaited(self) -> Sequence[int]:
        """The numbers of those who speak now."""
        return [
            peer
            for peer, each in self._dialogues.items()
            if each.speaks_first == self._own_turn and not each.done
        ]

    @property
    def done(self) -> bool:
        """Whether all ended well."""
        return all(each.done for each in self._dialogues.values())

    def longest_from(self, peer: int) -> int:
        """Return what the next message of a party can measure at most, in bytes."""
        return self._dialogues[peer].longest_message

    def _answer(self, peer: int, message: bytes) -> bytes | None:
        try:
            return self._dialogues[peer].receive(message)
        except ProtocolError as error:
            raise type(error)(f"{self._names[peer]}: {error}") from None


def _said(messages: Mapping[int, bytes | None]) -> Round:
    return {peer: message for peer, message in messages.items() if message is not None}
