"""How many items two sides share, and not which: PSI-CA by Diffie-Hellman.

De Cristofaro, Gasti and Tsudik 2012 (Fast and private computation of cardinality of set
intersection and union, ePrint 2011/141). The messages are those of `psi.protocols.commutative`: a
side returns the tags of the other's points shuffled, so that nobody can tell which of its own items
a tag belongs to. Here they are sorted: a sorted list says no more than the set itself, and its
reader can check that its order says nothing of the items. Semi-honest security under the decisional
Diffie-Hellman assumption with H a random oracle: a side that blinds each of its items by a scalar
of its own learns which of them match, unnoticed.
"""

from collections.abc import Sequence
from typing import Never

from psi.errors import ConfigError, DecodeError, StateError
from psi.protocols.commutative import CommutativeParty, CommutativeReceiver, CommutativeSender
from psi.protocols.conversation import Progress
from psi.protocols.parameters import MAX_PEER_ITEMS, SessionParameters

__all__ = ["CardinalityReceiver", "CardinalitySender", "Counting"]


class Counting(CommutativeParty):
    """What both roles do: return tags in an order that says nothing, and count common tags."""

    protocol = "ecdh-cardinality"
    _cardinality: int | None = None

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: SessionParameters | None = None,
        *,
        max_peer_items: int = MAX_PEER_ITEMS,
        progress: Progress | None = None,
    ) -> None:
        """Prepare one session.

        Args:
            items: This side's set: distinct byte strings.
            parameters: What both sides must choose alike, without `multiplicities`.
            max_peer_items: The most items that the other side may be able to test.
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: Items repeat, or the settings ask for multiplicities.
        """
        if parameters is not None and parameters.multiplicities:
            raise ConfigError("multiplicities go with the intersection only: leave them out")
        super().__init__(items, parameters, max_peer_items=max_peer_items, progress=progress)

    @property
    def matches(self) -> Never:
        """Always raises: nobody learns which items match.

        Raises:
            StateError: Always.
        """
        raise StateError("this session tells how many items match, not which: read cardinality")

    @property
    def cardinality(self) -> int:
        """How many items both sides have.

        Raises:
            StateError: The session is not done, or the settings give this side no result.
        """
        self._require_done()
        if self._cardinality is None:
            raise StateError("the settings give the result to the receiver only")
        return self._cardinality

    @property
    def _announced(self) -> int:
        return (self._cardinality or 0) if self._both else 0

    def _tags_for_peer(self) -> bytes:
        confirmation, *tags = self._peer_tags
        return b"".join([confirmation, *sorted(tags)])

    def _common(self, data: memoryview) -> set[bytes]:
        """Return the tags that points of both sides have."""
        _, *own_tags = self._own_tags(data)
        if own_tags != sorted(own_tags):
            raise DecodeError("the other side's tags are in an order that may say which match")
        return set(own_tags).intersection(self._peer_tags[1:])

    def _match(self, data: memoryview) -> None:
        self._cardinality = self._told(len(self._common(data)))

    def _told(self, matches: int) -> int:
        """Return what the other side is told of the number of matches."""
        return matches

    def _estimate(self, told: int) -> int:
        """Return the number of matches, given what is told of it."""
        return told

    def _most_matches(self) -> int:
        return min(len(self._items), self._peer_items())

    def _most_told(self) -> int:
        return self._most_matches()


class CardinalityReceiver(Counting, CommutativeReceiver):
    """The side that speaks first and always learns how many items match."""


class CardinalitySender(Counting, CommutativeSender):
    """The side that answers; it learns the number too if the output is "both"."""
