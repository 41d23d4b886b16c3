"""PSI by Diffie-Hellman over ristretto255: two state machines, bytes in, bytes out, no I/O.

The sender has a key b of this session. The receiver gets the function F(x) = H2(x, b·H1(x)) of its
items from it, by points that it blinds, and the sender sends the tags of its own, the first half of
F; the receiver compares. The second half of a match is the receipt that the receiver returns.

    Receiver                                Sender
    RECEIVER_HELLO  settings, nonce, n  →
                                        ←   SENDER_HELLO  settings, nonce, n
    POINTS   e·G, r·H1(item) shuffled   →
                                        ←   ANSWER  MAC, f·G, b times each point, sorted tags
    FINISH   MAC [, receipts [, counts]]→
                                        ←   CLOSE  MAC [, counts]

F is the oblivious function 2HashDH, every item blinded by an r of its own: Jarecki, Kiayias,
Krawczyk and Xu 2016 (ePrint 2016/144) prove it against sides that cheat, under one-more gap
Diffie-Hellman with H1 and H2 random oracles; the comparison is that of Jarecki and Liu 2010 (Fast
secure computation of set intersection). The receipts are ours. What is proved of the whole, and
what is not: docs/psi-ecdh.md.

H1 and H2 contain the session's identity, so that nobody can work ahead. e and f make the key of the
MACs and serve nothing else: a point that confirms a key could ask for an item more. With the
setting `multiplicities` each side tells how many rows each match has, once both know the matches.
"""

import hashlib
import itertools
from collections.abc import Iterable

import numpy as np

from psi.errors import DecodeError, RepeatedElementError
from psi.group.blinds import Blinds
from psi.group.ristretto255 import (
    FAST_FROM,
    POINT_BYTES,
    Points,
    Scalar,
    hash_to_group,
    multiply,
    multiply_base,
    points_from_bytes,
)
from psi.protocols.elements import TAG_BYTES, ascending, pieces, rows_of, shared
from psi.protocols.intersection import Effort, IntersectionProtocol
from psi.protocols.messages import MessageType
from psi.protocols.party import MAC_BYTES, Party, expect_shape, random_order

__all__ = ["PROTOCOL", "Receiver", "Sender"]


class _Evaluating(Party):
    """What both roles do: hash items to the group, and what comes of them to outputs."""

    protocol = "ecdh"

    def _hashed(self, items: Iterable[bytes]) -> Points:
        domain = b"psi-ecdh-v2-HashToGroup-" + self._identity + b"-ristretto255-SHA512"
        return hash_to_group(items, domain)

    def _outputs(self, items: Iterable[bytes], elements: Points) -> list[bytes]:
        """Return F of items, a tag and a receipt, given b·H1 of them."""
        base = hashlib.blake2b(
            digest_size=TAG_BYTES + self._tag_bytes, key=self._identity, person=b"psi ecdh output"
        )
        found = []
        for item, element in zip(items, rows_of(elements.data, POINT_BYTES), strict=True):
            state = base.copy()
            state.update(element + item)
            found.append(state.digest())
        return found

    def _key_from(self, own: Scalar, theirs: bytes | memoryview) -> None:
        common = multiply(own, points_from_bytes(theirs)).tobytes()
        self._mac_key = hashlib.sha256(b"psi ecdh MACs, " + self._identity + common).digest()


class Receiver(_Evaluating):
    """The side that speaks first and always gets the result."""

    speaks_first = True
    _own_hello, _peer_hello = MessageType.RECEIVER_HELLO, MessageType.SENDER_HELLO
    _exchange: Scalar | None = None
    _blinds: list[Blinds]

    def _forget(self) -> None:
        super()._forget()
        self._exchange = None
        self._blinds = []

    def _after_hellos(self) -> bytes:
        self._order = random_order(len(self._items))
        self._exchange = Scalar.random()
        self._expect = self._on_answer
        content = multiply_base([self._exchange]).tobytes() + self._blinded().tobytes()
        return self._transcript.seal(MessageType.POINTS, len(self._items), content)

    def _shuffled(self) -> list[bytes]:
        items = list(self._items)  # may be keys that are made only when they are read
        return [items[index] for index in self._order.tolist()]

    def _blinded(self) -> Points:
        """Blind each item by a fresh scalar of its own, in a fresh random order."""
        items, self._blinds = self._shuffled(), []
        points = [np.empty((0, POINT_BYTES), np.uint8)]
        for piece in pieces(len(items)):
            self._progress("blinding own IDs", piece.start, len(items))
            hashed = self._hashed(items[piece])
            self._blinds.append(Blinds(len(hashed)))
            points.append(self._blinds[-1].put_on(hashed))
        self._sent = np.vstack(points)
        return self._sent

    def _on_answer(self, data: bytes) -> bytes:
        answer = self._transcript.open(MessageType.ANSWER, data)
        points_start = MAC_BYTES + POINT_BYTES
        points_end = points_start + POINT_BYTES * len(self._items)
        expect_shape(answer, self._peer_items(), points_end + TAG_BYTES * self._peer_items())
        assert self._exchange is not None  # noqa: S101 - _after_hellos was called before
        self._key_from(self._exchange, answer.body[MAC_BYTES:points_start])
        self._check(answer)
        tags = ascending(answer.body[points_end:])
        own = self._unblinded(answer.body[points_start:points_end])
        # By the tags: both sides know this order, and it says nothing about the items.
        matching = shared(own, tags)
        self._found = self._order[matching]
        self._expect = self._on_close
        content = b""
        if self._both:
            content = b"".join(own[row][TAG_BYTES:] for row in matching.tolist())
            content += self._own_counts()
        return self._confirmed(MessageType.FINISH, self._announced, content)

    def _unblinded(self, data: memoryview) -> list[bytes]:
        """Return F of the items, in the order in which they were sent."""
        if not _distinct(data).isdisjoint(rows_of(self._sent.data, POINT_BYTES)):
            raise RepeatedElementError("the other side sent one of our own points back")
        points, items, own = points_from_bytes(data), self._shuffled(), list[bytes]()
        for piece, blinds in zip(pieces(len(items)), self._blinds, strict=True):
            self._progress("unblinding own IDs", piece.start, len(items))
            own += self._outputs(items[piece], blinds.take_off(points[piece]))
        self._blinds = []
        return own


class Sender(_Evaluating):
    """The side that answers; it gets the result, too, if the output is "both"."""

    speaks_first = False
    _own_hello, _peer_hello = MessageType.SENDER_HELLO, MessageType.RECEIVER_HELLO
    _key: Scalar | None = None
    _own: list[bytes]

    def _forget(self) -> None:
        super()._forget()
        self._key = None
        self._own = []

    def _after_hellos(self) -> None:
        self._expect = self._on_points

    def _on_points(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.POINTS, data)
        expect_shape(message, self._peer_items(), POINT_BYTES * (self._peer_items() + 1))
        _distinct(message.body)
        self._key, exchange = Scalar.random(), Scalar.random()
        self._key_from(exchange, message.body[:POINT_BYTES])
        evaluated = self._evaluated(points_from_bytes(message.body[POINT_BYTES:]))
        self._own = self._own_outputs()
        self._key = None
        self._order = np.asarray(sorted(range(len(self._own)), key=self._own.__getitem__), np.intp)
        self._own = [self._own[index] for index in self._order.tolist()]
        self._expect = self._on_finish
        content = [multiply_base([exchange]).tobytes(), evaluated]
        content += (one[:TAG_BYTES] for one in self._own)
        return self._confirmed(MessageType.ANSWER, len(self._items), b"".join(content))

    def _evaluated(self, points: Points) -> bytes:
        """Return b times each of the peer's points."""
        assert self._key is not None  # noqa: S101 - drawn before
        products = []
        for piece in pieces(len(points)):
            self._progress("blinding the other side's", piece.start, len(points))
            products.append(multiply(self._key, points[piece]).tobytes())
        return b"".join(products)

    def _own_outputs(self) -> list[bytes]:
        """Return F of our items."""
        assert self._key is not None  # noqa: S101 - drawn before
        items, own = list(self._items), list[bytes]()
        for piece in pieces(len(items)):
            self._progress("blinding own IDs", piece.start, len(items))
            elements = multiply(self._key, self._hashed(items[piece]))
            own += self._outputs(items[piece], elements)
        return own

    def _on_finish(self, data: bytes) -> bytes:
        finish = self._transcript.open(MessageType.FINISH, data)
        most = min(len(self._items), self._peer_items()) if self._both else 0
        count = min(finish.count, most)
        receipts_end = MAC_BYTES + self._tag_bytes * count
        expect_shape(finish, count, receipts_end + self._counts_length(count))
        self._check(finish)
        if self._both:
            self._found = self._order[self._claimed(finish.body[MAC_BYTES:receipts_end])]
            self._take_counts(finish.body[receipts_end:])
        close = self._confirmed(MessageType.CLOSE, self._announced, self._own_counts())
        self._end()
        return close

    def _claimed(self, data: memoryview) -> list[int]:
        """Return which of the sorted outputs the receipts are of, in ascending order.

        Raises:
            DecodeError: One is of no item of this side: the other side did not ask for it.
            RepeatedElementError: Some repeat, or are in an order that may say something.
        """
        places = {one[TAG_BYTES:]: place for place, one in enumerate(self._own)}
        try:
            claimed = [places[one] for one in rows_of(data, self._tag_bytes)]
        except KeyError:
            raise DecodeError("the other side claims a match that it did not ask for") from None
        if any(one >= other for one, other in itertools.pairwise(claimed)):
            raise RepeatedElementError("the other side claims a match twice, or in another order")
        return claimed


def _distinct(points: memoryview) -> set[bytes]:
    """Return the encodings of some points, no two of which may be the same."""
    found = set(rows_of(points, POINT_BYTES))
    if POINT_BYTES * len(found) != len(points):
        raise RepeatedElementError("the other side sent the same point twice")
    return found


def _effort(n_receiver: int, n_sender: int) -> Effort:
    items, compiled = n_receiver + n_sender, max(n_receiver, n_sender) >= FAST_FROM
    cpu_seconds = 1.1 + 12e-6 * items if compiled else 0.06 + 95e-6 * items
    return Effort(cpu_seconds, 64 * n_receiver + 20 * n_sender)


PROTOCOL = IntersectionProtocol(
    name="ecdh",
    help="keeps its limits if a side cheats, and assumes the least",
    parties=(Receiver, Sender),
    effort=_effort,
)
