"""Leader and members of KMPRT: two state machines in rounds, bytes in, bytes out, no I/O.

Kolesnikov, Matania, Pinkas, Rosulek and Trieu 2017 (Practical multi-party private set
intersection from symmetric-key techniques, ePrint 2017/799), the augmented semi-honest protocol
with unconditional zero sharing. Each pair of parties shares a key; party i's share of x is the
XOR of the pseudorandom functions of x under its keys; so the XOR of all shares of one x is zero.
Each member sends the leader an oblivious function, programmed to give its share on its own items
and noise elsewhere (`psi.protocols.kmprt.oblivious`). The leader, party 0, evaluates all of them on
its items: an item is in every set if the values and the leader's own share add up to zero.

    all to all              MULTI_HELLO  settings, nonce, public key, n
    leader to members       MULTI_STORE  MAC, store of strings for a known element and items
    members to members      MULTI_CONFIRM  MAC
    members to leader       MULTI_TABLE  MAC, B, value of the known element, store of shares
    leader to members       MULTI_FINISH  MAC [, tags of the matches]

With the output "both" the leader tells every member the matches, each by a tag under the key of
the pair, all in one random order. A member has to believe it, and drops tags that it does not know,
those of its dummies and repeated ones: so nothing that it answers depends on which tags it knows.

What colluders learn beyond a result that they may have. Members alone, any number of them: only
the sizes of the sets. The leader with any members: which of the leader's items *all* parties
outside the collusion have, as if all colluders had put in the leader's set; never which items only
some of those outside have. So if all parties but one collude with the leader, they learn about it
what a two-party intersection reveals. It is assumed that all parties follow the protocol, the
decisional Diffie-Hellman assumption, random oracles, and AES a pseudorandom function. A party that
cheats can put in as many items as its store has slots, and some more (`most_asked`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from psi.errors import ConfigError, KeyConfirmationError
from psi.group.agreement import MESSAGE_BYTES, draw_messages, elements_of
from psi.group.ristretto255 import (
    POINT_BYTES,
    Scalar,
    multiply,
    multiply_base,
    multiply_each,
    points_from_bytes,
)
from psi.keyvalue import slots
from psi.protocols.conversation import Progress, Round
from psi.protocols.elements import rows_of
from psi.protocols.kmprt.rounds import LEADER, MultiParty, Values
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
        self._scalars: Values | None = None

    def _forget(self) -> None:
        super()._forget()
        self._scalars = None

    def _after_hellos(self) -> Round:
        count = len(self._items) + 1
        self._progress("hiding own IDs", 0, len(self._items))
        self._digests = self._hashes.digests(self._items)
        self._scalars, messages = draw_messages(count)
        store = self._hashes.store(LEADER, count, self._digests)
        table = store.encode(messages ^ self._hashes.pads(self._digests)).tobytes()
        self._expect = self._on_tables
        return {
            other: self._confirmed(other, MessageType.MULTI_STORE, table) for other in self._others
        }

    def _on_tables(self, messages: Mapping[int, bytes]) -> Round:
        self._expect_from(messages, self._others)
        total = self._shares(self._digests[1:])
        for done, (other, data) in enumerate(messages.items()):
            self._progress("looking up own IDs", done, len(messages))
            total ^= self._programmed(other, data)
        found = np.flatnonzero(~total.any(axis=1))
        self._found = found[random_order(len(found))] if self._both else found
        self._refuse_dummies()
        answer = {other: self._finish(other) for other in self._others}
        self._end()
        return answer

    def _programmed(self, other: int, data: bytes) -> Values:
        """Return what a member programmed for each item, or noise."""
        size = slots(self._sizes[other])
        known_end = POINT_BYTES + self._width
        content = self._take(other, MessageType.MULTI_TABLE, data, known_end + self._width * size)
        public = points_from_bytes(content[:POINT_BYTES])
        assert self._scalars is not None  # noqa: S101 - _after_hellos drew them
        elements = multiply_each(self._scalars, np.broadcast_to(public, self._scalars.shape))
        masks = self._hashes.masks(other, self._digests, elements, self._width)
        if masks[0].tobytes() != content[POINT_BYTES:known_end]:
            raise KeyConfirmationError(f"party {other} answered with another key")
        table = np.frombuffer(content[known_end:], np.uint8).reshape(size, self._width)
        store = self._hashes.store(other, self._sizes[other], self._digests[1:])
        return masks[1:] ^ store.decode(table)

    def _finish(self, other: int) -> bytes:
        told = self._found if self._both and self._found is not None else ()
        tags = self._match_tags(other, (self._items[index] for index in told))
        return self._confirmed(other, MessageType.MULTI_FINISH, b"".join(tags))


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
        self._expect = self._on_store
        return {other: self._confirmed(other, MessageType.MULTI_CONFIRM) for other in self._members}

    def _on_store(self, messages: Mapping[int, bytes]) -> Round:
        self._expect_from(messages, self._others)
        # Shares under different keys or hellos would make the intersection empty.
        for other in self._members:
            self._take(other, MessageType.MULTI_CONFIRM, messages[other], 0)
        keys = self._sizes[LEADER] + 1
        length = MESSAGE_BYTES * slots(keys)
        content = self._take(LEADER, MessageType.MULTI_STORE, messages[LEADER], length)
        table = np.frombuffer(content, np.uint8).reshape(-1, MESSAGE_BYTES)
        self._progress("evaluating own IDs", 0, len(self._items))
        digests = self._hashes.digests(self._items)
        strings = self._hashes.store(LEADER, keys, digests).decode(table)
        secret = Scalar.random()
        elements = multiply(secret, elements_of(strings ^ self._hashes.pads(digests)))
        masks = self._hashes.masks(self._number, digests, elements, self._width)
        store = self._hashes.store(self._number, len(self._items), digests[1:])
        shares = store.encode(masks[1:] ^ self._shares(digests[1:]))
        answer = [multiply_base([secret]).tobytes(), masks[0].tobytes(), shares.tobytes()]
        self._expect = self._on_finish
        return {LEADER: self._confirmed(LEADER, MessageType.MULTI_TABLE, b"".join(answer))}

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
        places = {tag: place for place, tag in enumerate(own[: self._own_items])}
        # Others are left out: a refusal would tell a leader that guesses what this side has.
        self._found = np.array([places.pop(tag) for tag in tags if tag in places], np.intp)
