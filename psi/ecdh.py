"""PSI by Diffie-Hellman over ristretto255: two state machines, bytes in, bytes out, no I/O.

Each side hashes its items to the group, blinds them with a fresh scalar and sends them shuffled;
the other side blinds them once more and answers with tags of the result. An item of both has
the same doubly blinded point a·b·H(item), in whichever order it was blinded (Meadows 1986;
Huberman, Franklin and Hogg 1999). Semi-honest security under the decisional Diffie-Hellman
assumption with H a random oracle.

    Receiver                                Sender
    RECEIVER_HELLO  nonce, settings, n  →
                                        ←   SENDER_HELLO  nonce, settings, n
    POINTS   a·C, a·H(items) shuffled   →
                                        ←   ANSWER  MAC, b·C, b·H(items) shuffled, tags
    FINISH   MAC [, tags]               →
                                        ←   CLOSE  MAC

Both hellos (protocol, version, roles, sizes, nonces, settings) are hashed into the session's
identity, which is part of H's domain separation tag: nothing of one session means anything in
another. C is an element of the session known to both. It is blinded and tagged in the same
batches as the items, and a·b·C keys the tags and the MACs. So a peer with another key, setting
or view of the session is an error, never an empty intersection.
"""

import functools
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Never

import numpy as np
from numpy.typing import NDArray

from psi.errors import (
    ConfigError,
    DecodeError,
    KeyConfirmationError,
    ParameterMismatchError,
    RepeatedElementError,
    SizeLimitError,
    StateError,
)
from psi.groups import POINT_BYTES, Points, Scalar, hash_to_group, multiply, points_from_bytes
from psi.messages import Message, MessageType, Transcript

__all__ = ["PROTOCOL", "Parameters", "Receiver", "Sender", "tag_bytes"]

PROTOCOL = "ecdh"
_NONCE_BYTES = 32
_MAC_BYTES = 32
_HELLO_BYTES = 32 + _NONCE_BYTES
_FALSE_MATCH_BITS = 40


@dataclass(frozen=True)
class Parameters:
    """What both sides must choose alike; its fingerprint is compared before anything is sent.

    Attributes:
        output: Who gets the result: "both", or only the "receiver".
        key_format: How rows become items (columns, normalisation), in words of the caller's
            choosing; compared as text.
    """

    output: Literal["both", "receiver"] = "both"
    key_format: str = ""

    def fingerprint(self) -> bytes:
        """32 bytes that are equal exactly if all settings are."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).digest()


def tag_bytes(n_receiver: int, n_sender: int) -> int:
    """Length of a tag such that some pair of different items collides with at most 2^-40.

    There are n_receiver · n_sender pairs (each side has one element more, C), so a tag has at
    least 40 + log2 of their number bits.
    """
    pair_bits = ((n_receiver + 1) * (n_sender + 1)).bit_length()
    return -(-(_FALSE_MATCH_BITS + pair_bits) // 8)


class _Party:
    """What the two roles have in common: their items, their key, the order of messages."""

    _own_hello: MessageType
    _peer_hello: MessageType
    _own_label: bytes
    _peer_label: bytes

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: Parameters | None = None,
        *,
        max_peer_items: int = 1 << 24,
    ) -> None:
        """Prepare one session.

        Args:
            items: This side's set: distinct byte strings.
            parameters: What both sides must choose alike.
            max_peer_items: The largest set the other side may bring.

        Raises:
            ConfigError: Items repeat, or the output is not a known one.
        """
        if len(set(items)) != len(items):
            raise ConfigError("items repeat: pass each one once")
        self._parameters = parameters or Parameters()
        if self._parameters.output not in ("both", "receiver"):
            raise ConfigError('output is "both" or "receiver"')
        self._items = items
        self._max_peer_items = max_peer_items
        self._transcript = Transcript(PROTOCOL)
        self._identity = b""
        self._key: Scalar | None = None
        self._matches: NDArray[np.intp] | None = None
        self._expect: Callable[[bytes], bytes | None] | None = None
        self._started = False
        self._done = False

    @property
    def done(self) -> bool:
        """Whether the session ended well."""
        return self._done

    @property
    def matches(self) -> NDArray[np.intp] | None:
        """Indices into this side's items that the other side has too, or None.

        Both sides list them in the same order, which depends only on the session's key. None if
        the settings give this side no result.

        Raises:
            StateError: The session is not done.
        """
        if not self._done:
            raise StateError("the session is not done: there is no result")
        return self._matches

    def receive(self, message: bytes) -> bytes | None:
        """Take the other side's next message; returns the answer to send, or None at the end.

        Raises:
            ProtocolError: The message is not acceptable. The session is over: its key is gone
                and it answers nothing any more.
        """
        expect, self._expect = self._expect, None
        if expect is None:
            raise StateError("this session takes no message now: start a new one")
        try:
            return expect(message)
        except BaseException:
            self._key = None
            raise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._items)} items)"

    def __reduce__(self) -> Never:
        raise TypeError("a session holds secrets and is not pickled")

    # -- hellos ---------------------------------------------------------------------------

    def _hello(self) -> bytes:
        body = self._parameters.fingerprint() + secrets.token_bytes(_NONCE_BYTES)
        return self._transcript.seal(self._own_hello, len(self._items), body)

    def _take_hello(self, data: bytes) -> None:
        hello = self._transcript.open(self._peer_hello, data)
        _expect_length(hello, _HELLO_BYTES)
        if hello.body[:32] != self._parameters.fingerprint():
            raise ParameterMismatchError(
                f"the other side chose other settings than this side's {self._parameters}: "
                "agree on output, columns and normalisation and start again"
            )
        if hello.count > self._max_peer_items:
            raise SizeLimitError(
                f"the other side brings {hello.count} items, this side allows "
                f"{self._max_peer_items}: raise max_peer_items if that is expected"
            )
        self._n_peer = hello.count
        self._tag_bytes = tag_bytes(len(self._items), self._n_peer)

    def _blind(self) -> Points:
        """Draw the key and blind C and the items, the items in a fresh random order."""
        identity = self._identity
        confirmation = hash_to_group([b""], b"psi-ecdh-v1-confirmation-" + identity)
        # Ties among 64-bit sort keys are too rare to bias the order noticeably.
        drawn = np.frombuffer(secrets.token_bytes(8 * len(self._items)), np.uint64)
        self._order = np.argsort(drawn, kind="stable")
        shuffled = (self._items[index] for index in self._order)
        elements = hash_to_group(
            shuffled, b"psi-ecdh-v1-HashToGroup-" + identity + b"-ristretto255-SHA512"
        )
        self._key = Scalar.random()
        self._sent = multiply(self._key, np.vstack([confirmation, elements]))
        return self._sent

    # -- points and tags --------------------------------------------------------------------

    def _blind_again(self, data: memoryview) -> None:
        """Blind the peer's points, derive the session's keys from C's, tag the rest."""
        points = points_from_bytes(data)
        received = _rows(data, POINT_BYTES)
        distinct = set(received)
        if len(distinct) != len(received):
            raise RepeatedElementError("the other side sent the same point twice")
        if not distinct.isdisjoint(_rows(self._sent.data.cast("B"), POINT_BYTES)):
            raise RepeatedElementError("the other side sent one of our own points back")
        assert self._key is not None  # noqa: S101 - set by _blind, which every path ran
        doubly = _rows(multiply(self._key, points).data.cast("B"), POINT_BYTES)
        self._key = None
        secret = hashlib.sha512(b"psi keys, " + self._identity + doubly[0]).digest()
        self._mac_key = secret[:32]
        tag = functools.partial(hashlib.blake2b, digest_size=self._tag_bytes, key=secret[32:])
        self._peer_tags = [tag(point).digest() for point in doubly]

    def _match(self, data: memoryview) -> None:
        """Compare the peer's tags of our points, in the order we sent them, with our own."""
        own_tags = _rows(data, self._tag_bytes)
        if own_tags[0] != self._peer_tags[0]:
            raise KeyConfirmationError("the other side answered with another key")
        if len(set(own_tags)) != len(own_tags):
            raise RepeatedElementError("the other side sent the same tag twice")
        common = set(own_tags[1:]).intersection(self._peer_tags[1:])
        # Sorted by tag: an order that both sides know and that says nothing about the items.
        found = sorted((tag, place) for place, tag in enumerate(own_tags[1:]) if tag in common)
        places = np.fromiter((place for _, place in found), np.intp, len(found))
        self._matches = self._order[places]

    # -- confirmations ----------------------------------------------------------------------

    def _confirmed(self, kind: MessageType, count: int, content: bytes) -> bytes:
        mac = self._mac(self._own_label, self._transcript.digest, content)
        return self._transcript.seal(kind, count, mac + content)

    def _check(self, before: bytes, body: memoryview) -> None:
        expected = self._mac(self._peer_label, before, body[_MAC_BYTES:])
        if not hmac.compare_digest(expected, body[:_MAC_BYTES]):
            raise KeyConfirmationError("the other side does not hold this session's key")

    def _mac(self, label: bytes, before: bytes, content: bytes | memoryview) -> bytes:
        mac = hmac.new(self._mac_key, label + before, hashlib.sha256)
        mac.update(content)
        return mac.digest()

    def _end(self) -> None:
        self._done = True


class Receiver(_Party):
    """The side that speaks first and always gets the result."""

    _own_hello, _peer_hello = MessageType.RECEIVER_HELLO, MessageType.SENDER_HELLO
    _own_label, _peer_label = b"receiver", b"sender"

    def start(self) -> bytes:
        """The session's first message.

        Raises:
            StateError: The session was started before.
        """
        if self._started:
            raise StateError("this session was started before: start a new one")
        self._started = True
        self._expect = self._on_hello
        return self._hello()

    def _on_hello(self, data: bytes) -> bytes:
        self._take_hello(data)
        self._identity = self._transcript.begin_session()
        points = self._blind()
        self._expect = self._on_answer
        return self._transcript.seal(MessageType.POINTS, len(self._items), points.tobytes())

    def _on_answer(self, data: bytes) -> bytes:
        before = self._transcript.digest
        answer = self._transcript.open(MessageType.ANSWER, data)
        points_end = _MAC_BYTES + POINT_BYTES * (self._n_peer + 1)
        _expect_length(answer, points_end + self._tag_bytes * (len(self._items) + 1))
        _expect_count(answer, self._n_peer)
        self._blind_again(answer.body[_MAC_BYTES:points_end])
        self._check(before, answer.body)
        self._match(answer.body[points_end:])
        self._expect = self._on_close
        both = self._parameters.output == "both"
        tags = b"".join(self._peer_tags) if both else b""
        return self._confirmed(MessageType.FINISH, self._n_peer if both else 0, tags)

    def _on_close(self, data: bytes) -> None:
        before = self._transcript.digest
        close = self._transcript.open(MessageType.CLOSE, data)
        _expect_length(close, _MAC_BYTES)
        _expect_count(close, 0)
        self._check(before, close.body)
        self._end()


class Sender(_Party):
    """The side that answers; it gets the result too if the output is "both"."""

    _own_hello, _peer_hello = MessageType.SENDER_HELLO, MessageType.RECEIVER_HELLO
    _own_label, _peer_label = b"sender", b"receiver"

    def __init__(
        self,
        items: Sequence[bytes],
        parameters: Parameters | None = None,
        *,
        max_peer_items: int = 1 << 24,
    ) -> None:
        """Prepare one session; arguments and errors as for `Receiver`."""
        super().__init__(items, parameters, max_peer_items=max_peer_items)
        self._expect = self._on_hello

    def _on_hello(self, data: bytes) -> bytes:
        self._take_hello(data)
        hello = self._hello()
        self._identity = self._transcript.begin_session()
        self._expect = self._on_points
        return hello

    def _on_points(self, data: bytes) -> bytes:
        message = self._transcript.open(MessageType.POINTS, data)
        _expect_length(message, POINT_BYTES * (self._n_peer + 1))
        _expect_count(message, self._n_peer)
        own = self._blind()
        self._blind_again(message.body)
        self._expect = self._on_finish
        content = own.tobytes() + b"".join(self._peer_tags)
        return self._confirmed(MessageType.ANSWER, len(self._items), content)

    def _on_finish(self, data: bytes) -> bytes:
        before = self._transcript.digest
        finish = self._transcript.open(MessageType.FINISH, data)
        both = self._parameters.output == "both"
        count = len(self._items) if both else 0
        _expect_length(finish, _MAC_BYTES + both * self._tag_bytes * (len(self._items) + 1))
        _expect_count(finish, count)
        self._check(before, finish.body)
        if both:
            self._match(finish.body[_MAC_BYTES:])
        close = self._confirmed(MessageType.CLOSE, 0, b"")
        self._end()
        return close


def _rows(data: memoryview, width: int) -> list[bytes]:
    whole = bytes(data)
    return [whole[start : start + width] for start in range(0, len(whole), width)]


def _expect_length(message: Message, length: int) -> None:
    if len(message.body) != length:
        raise DecodeError(f"the message's body has {len(message.body)} bytes instead of {length}")


def _expect_count(message: Message, count: int) -> None:
    if message.count != count:
        raise DecodeError(f"the message announces {message.count} elements instead of {count}")
