"""A common random ID for every item of the union; honest sides do not learn which are shared.

Private-ID of Buddhavarapu, Knox, Mohassel, Sengupta, Taubeneck and Vlaskin 2020 (Private matching
for compute, ePrint 2020/599). The ID of x is a hash of r·s·a·b·H(x), of which the receiver knows
a and r, the sender b and s. Each side gets the IDs of its own items with the other's help. Blinded
by a·b alone, and sorted, items can be compared, but nobody can tell which is which. For the items
that it lacks, each side gets the IDs without learning whose they are. Semi-honest security under
the decisional Diffie-Hellman assumption with H a random oracle; a side that blinds with several
scalars learns the same as in `psi.protocols.cardinality`. A and B are the receiver's and the
sender's items.

    Receiver                                Sender
    RECEIVER_HELLO                      →
                                        ←   SENDER_HELLO
    POINTS   a·C, a·H(A) shuffled       →
                                        ←   ANSWER  MAC, b·C, b·H(B) shuffled,
                                                s·b·a·H(A) in the order of POINTS, b·a·H(A) sorted
    FINISH   MAC, r·a·b·H(B) in the     →
       order of ANSWER, a·b·H(B) sorted,
       r·a·b·H(A without B) sorted
                                        ←   CLOSE  MAC, s·a·b·H(B without A) sorted

Both sides learn the size of the union, and so of the intersection.
"""

import hashlib
import itertools
from collections.abc import Sequence

from psi.errors import ConfigError, DecodeError, RepeatedElementError
from psi.group.ristretto255 import POINT_BYTES, Points, Scalar, multiply, points_from_bytes
from psi.protocols.commutative import CommutativeParty, CommutativeReceiver, CommutativeSender
from psi.protocols.conversation import Progress
from psi.protocols.elements import rows_of
from psi.protocols.messages import Message, MessageType
from psi.protocols.parameters import MAX_PEER_ITEMS, SessionParameters
from psi.protocols.party import MAC_BYTES, expect_shape

__all__ = ["PrivateIDReceiver", "PrivateIDSender"]

_ID_BYTES = 16  # two of 2^26 items share one with probability 2^-77


class _Identifying(CommutativeParty):
    """What both roles do: blind twice, compare sorted points, and turn points into IDs."""

    protocol = "ecdh-private-ids"
    _second_key: Scalar | None = None
    _peers: list[bytes]
    _own: list[bytes]

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
            items: This side's set: distinct byte strings, padded or not.
            parameters: What both sides must choose alike; the output is "both".
            max_peer_items: The most items that the other side may be able to test.
            progress: Called with a stage, the items done and their number while it works.

        Raises:
            ConfigError: Items repeat, or the settings are for an intersection.
        """
        super().__init__(items, parameters, max_peer_items=max_peer_items, progress=progress)
        if self._parameters != SessionParameters(key_format=self._parameters.key_format):
            raise ConfigError("private IDs go to both sides, and without multiplicities")

    @property
    def own_ids(self) -> list[str]:
        """The ID of each of this side's items, in hexadecimal.

        Raises:
            StateError: The session is not done.
        """
        self._require_done()
        return self._ids[: self._own_items]

    @property
    def union_ids(self) -> list[str]:
        """The IDs of the union, sorted, the same on both sides, with the IDs of dummies.

        Raises:
            StateError: The session is not done.
        """
        self._require_done()
        return sorted(self._ids + self._other_ids)

    @property
    def longest_message(self) -> int:
        """As of every party, with two more points per item."""
        both = len(self._items) + (self._n_peer or 0)
        return super().longest_message + (0 if self._n_peer is None else 2 * POINT_BYTES * both)

    def _forget(self) -> None:
        super()._forget()
        self._second_key = None
        self._id_key = b""
        self._peers, self._own = [], []

    def _take_points(self, data: memoryview) -> bytes:
        """Blind the peer's points; return what it gets back of them, blinded twice and once."""
        (_, *self._peers), self._id_key = self._doubly_blinded(data)
        self._second_key = Scalar.random()
        again = self._blind_with_second(self._peers)
        return again.tobytes() + b"".join(sorted(self._peers))

    def _take_own(self, data: memoryview) -> None:
        """Finish our own items: fully blinded in our order, and blinded by both keys, sorted."""
        middle = POINT_BYTES * len(self._items)
        named = self._named(data[:middle])
        self._own = _ascending(rows_of(data[middle:], POINT_BYTES))
        self._ids = [""] * len(self._items)
        for place, name in zip(self._order.tolist(), named, strict=True):
            self._ids[place] = name

    def _missing_at_peer(self) -> bytes:
        """Return our items that the peer lacks, blinded once more: it can make their IDs."""
        missing = sorted(set(self._own).difference(self._peers))
        again = self._blind_with_second(missing)
        return b"".join(sorted(rows_of(again.data, POINT_BYTES)))

    def _take_missing(self, data: memoryview) -> None:
        """Make the IDs of the items that the peer has and this side lacks.

        Both sides know how many these are: another number means other points.

        Raises:
            DecodeError: They are not as many, or not in ascending order.
            RepeatedElementError: One is the ID of an item of this side.
        """
        _ascending(rows_of(data, POINT_BYTES))
        self._other_ids = self._named(data)
        if len(self._other_ids) != len(set(self._peers).difference(self._own)):
            raise DecodeError("the two sides count different items that only one of them has")
        if not set(self._other_ids).isdisjoint(self._ids):
            raise RepeatedElementError("the other side gives one item's ID to another")

    def _named(self, data: memoryview) -> list[str]:
        points = rows_of(data, POINT_BYTES)
        if len(set(points)) != len(points):
            raise RepeatedElementError("the other side sent the same point twice")
        final = self._blind_with_second(points)
        return [
            hashlib.blake2b(point, digest_size=_ID_BYTES, key=self._id_key).hexdigest()
            for point in rows_of(final.data, POINT_BYTES)
        ]

    def _blind_with_second(self, points: Sequence[bytes]) -> Points:
        assert self._second_key is not None  # noqa: S101 - _take_points drew it
        return multiply(self._second_key, points_from_bytes(b"".join(points)))

    def _missing_length(self, message: Message, most: int) -> int:
        if message.count > most:
            raise DecodeError("the other side has more items of its own than items")
        return POINT_BYTES * message.count


class PrivateIDReceiver(_Identifying, CommutativeReceiver):
    """The side that speaks first."""

    def _on_answer(self, data: bytes) -> bytes:
        answer = self._transcript.open(MessageType.ANSWER, data)
        points_end = MAC_BYTES + self._points_length()
        expect_shape(answer, self._peer_items(), points_end + 2 * POINT_BYTES * len(self._items))
        theirs = self._take_points(answer.body[MAC_BYTES:points_end])
        self._check(answer)
        self._take_own(answer.body[points_end:])
        missing = self._missing_at_peer()
        self._expect = self._on_close
        return self._confirmed(MessageType.FINISH, len(missing) // POINT_BYTES, theirs + missing)

    def _on_close(self, data: bytes) -> None:
        close = self._transcript.open(MessageType.CLOSE, data)
        length = self._missing_length(close, self._peer_items())
        expect_shape(close, close.count, MAC_BYTES + length)
        self._check(close)
        self._take_missing(close.body[MAC_BYTES:])
        self._end()


class PrivateIDSender(_Identifying, CommutativeSender):
    """The side that answers."""

    def _on_points(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.POINTS, data)
        expect_shape(message, self._peer_items(), self._points_length())
        own = self._blind()
        content = own.tobytes() + self._take_points(message.body)
        self._expect = self._on_finish
        return self._confirmed(MessageType.ANSWER, len(self._items), content)

    def _on_finish(self, data: bytes) -> bytes:
        finish = self._transcript.open(MessageType.FINISH, data)
        own_end = MAC_BYTES + 2 * POINT_BYTES * len(self._items)
        length = self._missing_length(finish, self._peer_items())
        expect_shape(finish, finish.count, own_end + length)
        self._check(finish)
        self._take_own(finish.body[MAC_BYTES:own_end])
        self._take_missing(finish.body[own_end:])
        missing = self._missing_at_peer()
        close = self._confirmed(MessageType.CLOSE, len(missing) // POINT_BYTES, missing)
        self._end()
        return close


def _ascending(points: list[bytes]) -> list[bytes]:
    """Return the points, after checking that their order cannot say whose they are.

    Raises:
        DecodeError: They are not in strictly ascending order.
    """
    if any(one >= other for one, other in itertools.pairwise(points)):
        raise DecodeError("the other side's points do not ascend: some repeat, or have an order")
    return points
