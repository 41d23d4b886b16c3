"""Diffie-Hellman that commutes: what counts, sums and private IDs between two sides build on.

Each side hashes its items to the group, blinds them with a fresh scalar and sends them shuffled;
the other side blinds them once more. An item of both has the same doubly blinded point a·b·H(item),
in whichever order it was blinded (Meadows 1986; Huberman, Franklin and Hogg 1999). Semi-honest
security under the decisional Diffie-Hellman assumption with H a random oracle.

    Receiver                                Sender
    RECEIVER_HELLO  settings, nonce, n  →
                                        ←   SENDER_HELLO  settings, nonce, n
    POINTS   a·C, a·H(items) shuffled,  →
       proof of a
                                        ←   ANSWER  MAC, b·C, b·H(items) shuffled, proof of b, tags
    FINISH   MAC [, tags]               →
                                        ←   CLOSE  MAC

H's domain separation tag contains the session's identity. C is an element of the session that both
sides know. It is blinded and tagged in the same batches as the items, and a·b·C keys the tags and
the MACs: so a side that blinds or answers with another key is noticed. The proof is a·G and that of
RFC 9497 section 2.2 that a·G and a·C have one logarithm (Chaum and Pedersen 1992). It shows that
the side knows a: nobody gets an item more blinded in place of C. So a side can have as many points
blinded as it announces. A point may be the sum of several items' points: of one question the limit
does not bound how many items it is about.
"""

import functools
import hashlib

import numpy as np

from psi.errors import DecodeError, KeyConfirmationError, RepeatedElementError
from psi.group.oprf import PROOF_BYTES, prove, public_key, verify
from psi.group.ristretto255 import (
    POINT_BYTES,
    Points,
    Scalar,
    hash_to_group,
    multiply,
    points_from_bytes,
)
from psi.protocols.elements import pieces, rows_of
from psi.protocols.messages import MessageType
from psi.protocols.party import MAC_BYTES, Party, expect_shape, random_order

__all__ = ["CommutativeParty", "CommutativeReceiver", "CommutativeSender"]

_KNOWN_BYTES = POINT_BYTES + PROOF_BYTES  # a·G and the proof


class CommutativeParty(Party):
    """What both roles do: blind, blind again, compare."""

    counted_as = "as many as it announces: one that cheats can ask about several with each"
    _key: Scalar | None = None
    _peer_tags: list[bytes]

    @property
    def longest_message(self) -> int:
        """As of every party, with the proof of the key."""
        longest = super().longest_message
        return longest if self._n_peer is None else longest + _KNOWN_BYTES

    def _forget(self) -> None:
        super()._forget()
        self._key = None
        self._peer_tags = []

    def _confirmation(self) -> Points:
        return hash_to_group([b""], b"psi-ecdh-v1-confirmation-" + self._identity)

    def _blind(self) -> Points:
        """Draw the key; return C and the items blinded, these shuffled, and a proof of the key."""
        self._order = random_order(len(self._items))
        self._key = Scalar.random()
        confirmation = self._confirmation()
        domain = b"psi-ecdh-v1-HashToGroup-" + self._identity + b"-ristretto255-SHA512"
        blinded = [multiply(self._key, confirmation)]
        items = list(self._items)  # may be keys that are made only when they are read
        for piece in pieces(len(items)):
            self._progress("blinding own IDs", piece.start, len(items))
            batch = (items[index] for index in self._order[piece].tolist())
            blinded.append(multiply(self._key, hash_to_group(batch, domain)))
        self._sent = np.vstack(blinded)
        proof = points_from_bytes(prove(self._key, confirmation, blinded[0]))
        return np.vstack([self._sent, public_key(self._key), proof])

    def _blind_again(self, data: memoryview) -> None:
        """Blind the peer's points, take the session's keys from C's, tag them."""
        doubly, key = self._doubly_blinded(data)
        tag = functools.partial(hashlib.blake2b, digest_size=self._tag_bytes, key=key)
        self._peer_tags = [tag(point).digest() for point in doubly]

    def _doubly_blinded(self, data: memoryview) -> tuple[list[bytes], bytes]:
        """Return the peer's points blinded again, C first, and a key that only both sides know."""
        data, known = data[:-_KNOWN_BYTES], data[-_KNOWN_BYTES:]
        received = rows_of(data, POINT_BYTES)
        distinct = set(received)
        if len(distinct) != len(received):
            raise RepeatedElementError("the other side sent the same point twice")
        if not distinct.isdisjoint(rows_of(self._sent.data, POINT_BYTES)):
            raise RepeatedElementError("the other side sent one of our own points back")
        assert self._key is not None  # noqa: S101 - _blind was called before
        points = points_from_bytes(data)
        doubly: list[bytes] = []
        for piece in pieces(len(points)):
            self._progress("blinding the other side's", piece.start, len(points))
            product = multiply(self._key, points[piece])
            doubly += rows_of(product.data, POINT_BYTES)
        self._key = None
        public, proof = points_from_bytes(known[:POINT_BYTES]), bytes(known[POINT_BYTES:])
        verify(public, self._confirmation(), points[:1], proof)
        secret = hashlib.sha512(b"psi keys, " + self._identity + doubly[0]).digest()
        self._mac_key = secret[:32]
        return doubly, secret[32:]

    def _tags_for_peer(self) -> bytes:
        """Return our answer to the peer's points."""
        raise NotImplementedError

    def _own_tags(self, data: memoryview) -> list[bytes]:
        """Return the peer's tags of our points, C first, whose tag must equal our own."""
        own_tags = rows_of(data, self._tag_bytes)
        if own_tags[0] != self._peer_tags[0]:
            raise KeyConfirmationError("the other side answered with another key")
        if len(set(own_tags)) != len(own_tags):
            raise RepeatedElementError("the other side sent the same tag twice")
        return own_tags

    def _match(self, data: memoryview) -> None:
        """Compare the peer's tags of our points with our own of the peer's."""
        raise NotImplementedError

    def _points_length(self) -> int:
        """Length of the peer's blinded points, C and its items, and of its proof."""
        return POINT_BYTES * (self._peer_items() + 1) + _KNOWN_BYTES

    def _tags_length(self) -> int:
        """Length of the peer's tags: of C and of our items."""
        return self._tag_bytes * (len(self._items) + 1)


class CommutativeReceiver(CommutativeParty):
    """The side that speaks first and always gets the result."""

    speaks_first = True
    _own_hello, _peer_hello = MessageType.RECEIVER_HELLO, MessageType.SENDER_HELLO

    def _after_hellos(self) -> bytes:
        points = self._blind()
        self._expect = self._on_answer
        return self._transcript.seal(MessageType.POINTS, len(self._items), points.tobytes())

    def _on_answer(self, data: bytes) -> bytes:
        answer = self._transcript.open(MessageType.ANSWER, data)
        points_end = MAC_BYTES + self._points_length()
        expect_shape(answer, self._peer_items(), points_end + self._tags_length())
        self._blind_again(answer.body[MAC_BYTES:points_end])
        self._check(answer)
        self._match(answer.body[points_end:])
        self._expect = self._on_close
        content = self._tags_for_peer() if self._both else b""
        return self._confirmed(MessageType.FINISH, self._announced, content)


class CommutativeSender(CommutativeParty):
    """The side that answers; it gets the result, too, if the output is "both"."""

    speaks_first = False
    _own_hello, _peer_hello = MessageType.SENDER_HELLO, MessageType.RECEIVER_HELLO

    def _after_hellos(self) -> None:
        self._expect = self._on_points

    def _on_points(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.POINTS, data)
        expect_shape(message, self._peer_items(), self._points_length())
        own = self._blind()
        self._blind_again(message.body)
        self._expect = self._on_finish
        content = own.tobytes() + self._tags_for_peer()
        return self._confirmed(MessageType.ANSWER, self._own_size(), content)

    def _on_finish(self, data: bytes) -> bytes:
        finish = self._transcript.open(MessageType.FINISH, data)
        count = min(finish.count, len(self._items)) if self._both else 0
        expect_shape(finish, count, MAC_BYTES + (self._tags_length() if self._both else 0))
        self._check(finish)
        if self._both:
            self._match(finish.body[MAC_BYTES:])
            if self._announced != count:
                raise DecodeError("the two sides count different matches")
        close = self._confirmed(MessageType.CLOSE, self._announced, b"")
        self._end()
        return close
