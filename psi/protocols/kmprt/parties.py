"""Leader and members of KMPRT: two state machines in rounds, bytes in, bytes out, no I/O.

Kolesnikov, Matania, Pinkas, Rosulek and Trieu 2017 (Practical multi-party private set
intersection from symmetric-key techniques, ePrint 2017/799), the augmented semi-honest protocol
with unconditional zero sharing. Each pair of parties shares a key; party i's share of x is the
XOR of the pseudorandom functions of x under its keys; so the XOR of all shares of one x is zero.
Each member sends the leader an oblivious function, programmed to give its share on its own items
and noise elsewhere. The leader, party 0, evaluates all of them on its items: an item is in every
set if the values and the leader's own share add up to zero. The oblivious function is
Diffie-Hellman in ristretto255, the programming a garbled Bloom filter.

    all to all              MULTI_HELLO  settings, nonce, public key, n
    leader to members       MULTI_POINTS  MAC, a·C, a·H(items) shuffled
    members to members      MULTI_CONFIRM  MAC
    members to leader       MULTI_TABLE  MAC, k·a·C, k·a·H(items), tag of k·C, salt, table
    leader to members       MULTI_FINISH  MAC [, tags of the matches]

With the output "both" the leader tells every member the matches, each by a tag under the key of
the pair, all in one random order.

What colluders learn beyond a result that they may have. Members alone, any number of them: only
the sizes of the sets. The leader with any members: which of the leader's items *all* parties
outside the collusion have, as if all colluders had put in the leader's set; never which items only
some of those outside have. So if all parties but one collude with the leader, they learn about it
what a two-party intersection reveals. It is assumed that all parties follow the protocol, the
decisional Diffie-Hellman assumption, and that H is a random oracle. A member that cheats can put
in as many items as its table has entries, some 60 to 90 for each that it announces.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from psi.errors import ConfigError, DecodeError, KeyConfirmationError, RepeatedElementError
from psi.group.ristretto255 import POINT_BYTES, Points, Scalar, multiply, points_from_bytes
from psi.protocols.conversation import Progress, Round
from psi.protocols.elements import rows_of
from psi.protocols.kmprt.programmable import SALT_BYTES, entries, look_up, program
from psi.protocols.kmprt.rounds import LEADER, MultiParty
from psi.protocols.messages import MessageType
from psi.protocols.parameters import MAX_PEER_ITEMS, SessionParameters
from psi.protocols.party import random_order, tag_bytes

__all__ = ["Leader", "Member"]


class Leader(MultiParty):
    """Party 0: learns which of its items every party has."""

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: SessionParameters | None = None,
        *,
        parties: int,
        max_peer_items: int = MAX_PEER_ITEMS,
        progress: Progress | None = None,
    ) -> None:
        """Prepare one session.

        Args:
            items: The leader's set: distinct byte strings, padded or not.
            parameters: What all parties must choose alike, without `multiplicities`; the output
                "receiver", the default, gives the result to the leader only.
            parties: How many take part, the leader included: 3 to 256.
            max_peer_items: The most items that a member may be able to test (`most_asked`).
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: Items repeat, or a setting is out of range.
        """
        super().__init__(
            items,
            parameters,
            number=LEADER,
            parties=parties,
            max_peer_items=max_peer_items,
            progress=progress,
        )
        self._blind: Scalar | None = None

    def _forget(self) -> None:
        super()._forget()
        self._blind = None

    def _after_hellos(self) -> Round:
        self._blind = Scalar.random()
        self._order = random_order(len(self._items))
        shuffled = [self._items[index] for index in self._order]
        self._progress("blinding own IDs", 0, len(shuffled))
        self._sent = multiply(self._blind, self._hashed(shuffled))
        self._expect = self._on_tables
        return {
            other: self._confirmed(other, MessageType.MULTI_POINTS, self._sent.tobytes())
            for other in self._others
        }

    def _on_tables(self, messages: Mapping[int, bytes]) -> Round:
        self._expect_from(messages, self._others)
        total = self._shares()[self._order]
        shuffled = [self._items[index] for index in self._order]
        for done, (other, data) in enumerate(messages.items()):
            self._progress("looking up own IDs", done, len(messages))
            size = entries(self._sizes[other])
            points_end = POINT_BYTES * len(self._sent)
            length = points_end + self._width + SALT_BYTES + self._width * size
            content = self._take(other, MessageType.MULTI_TABLE, data, length)
            masks = self._masks(other, self._unblinded(content[:points_end]))
            salt_start = points_end + self._width
            if masks[0].tobytes() != content[points_end:salt_start]:
                raise KeyConfirmationError(f"party {other} answered with another key")
            salt = bytes(content[salt_start : salt_start + SALT_BYTES])
            table = np.frombuffer(content[salt_start + SALT_BYTES :], np.uint8)
            table = table.reshape(size, self._width)
            total ^= masks[1:] ^ look_up(salt, table, shuffled, self._sizes[other])
        # In the points' order, which is random.
        found = self._order[~total.any(axis=1)]
        self._found = found if self._both else np.sort(found)
        self._refuse_dummies()
        answer = {other: self._finish(other) for other in self._others}
        self._end()
        return answer

    def _finish(self, other: int) -> bytes:
        told = self._found if self._both and self._found is not None else ()
        tags = self._match_tags(other, (self._items[index] for index in told))
        return self._confirmed(other, MessageType.MULTI_FINISH, b"".join(tags))

    def _unblinded(self, data: memoryview) -> Points:
        received = set(rows_of(data, POINT_BYTES))
        if len(received) != len(self._sent):
            raise RepeatedElementError("a party sent the same point twice")
        if not received.isdisjoint(rows_of(self._sent.data, POINT_BYTES)):
            raise RepeatedElementError("a party sent one of our own points back")
        assert self._blind is not None  # noqa: S101 - _after_hellos set it
        return multiply(self._blind.inverse(), points_from_bytes(data))


class Member(MultiParty):
    """Any other party: learns the sizes of the sets, and the result if all parties do."""

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: SessionParameters | None = None,
        *,
        number: int,
        parties: int,
        max_peer_items: int = MAX_PEER_ITEMS,
        progress: Progress | None = None,
    ) -> None:
        """Prepare one session; errors are those of `Leader`.

        Args:
            items: The member's set.
            parameters: What all parties must choose alike.
            number: The member's number, from 1.
            parties: How many take part.
            max_peer_items: The most items that another may be able to test (`most_asked`).
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: Items repeat, or a setting is out of range.
        """
        if number == LEADER:
            raise ConfigError("party 0 is the leader; members are numbered from 1")
        super().__init__(
            items,
            parameters,
            number=number,
            parties=parties,
            max_peer_items=max_peer_items,
            progress=progress,
        )
        self._members = [other for other in self._others if other != LEADER]

    @property
    def expects(self) -> list[int]:
        """The numbers of those whose messages make the next round."""
        return [LEADER] if self._expect == self._on_finish else list(self._others)

    def _after_hellos(self) -> Round:
        self._expect = self._on_points
        return {other: self._confirmed(other, MessageType.MULTI_CONFIRM) for other in self._members}

    def _on_points(self, messages: Mapping[int, bytes]) -> Round:
        self._expect_from(messages, self._others)
        # Shares under different keys or hellos would make the intersection empty.
        for other in self._members:
            self._take(other, MessageType.MULTI_CONFIRM, messages[other], 0)
        length = POINT_BYTES * (self._sizes[LEADER] + 1)
        points = self._take(LEADER, MessageType.MULTI_POINTS, messages[LEADER], length)
        if len(set(rows_of(points, POINT_BYTES))) != self._sizes[LEADER] + 1:
            raise RepeatedElementError("the leader sent the same point twice")
        self._progress("evaluating the leader's", 0, self._sizes[LEADER])
        key = Scalar.random()
        evaluated = multiply(key, points_from_bytes(points))
        masks = self._masks(self._number, multiply(key, self._hashed(self._items)))
        self._progress("programming own IDs", 0, len(self._items))
        salt, table = program(self._items, masks[1:] ^ self._shares())
        content = b"".join([evaluated.tobytes(), masks[0].tobytes(), salt, table.tobytes()])
        self._expect = self._on_finish
        return {LEADER: self._confirmed(LEADER, MessageType.MULTI_TABLE, content)}

    def _on_finish(self, messages: Mapping[int, bytes]) -> Round:
        self._expect_from(messages, [LEADER])
        width = tag_bytes(len(self._items), self._sizes[LEADER])
        most = width * min(len(self._items), self._sizes[LEADER]) if self._both else 0
        finish = messages[LEADER]
        tags = self._take(LEADER, MessageType.MULTI_FINISH, finish, most, width=width)
        if self._both:
            self._find(rows_of(tags, width))
        self._end()
        return {}

    def _find(self, tags: list[bytes]) -> None:
        own = self._match_tags(LEADER, self._items)
        places = {tag: place for place, tag in enumerate(own)}
        if len(set(tags)) != len(tags):
            raise RepeatedElementError("the leader sent the same tag twice")
        found = [places.get(tag, len(own)) for tag in tags]
        if any(place >= self._own_items for place in found):
            raise DecodeError("the leader tells matches that are no items of this side")
        self._found = np.array(found, np.intp)
