"""What leader and members have in common: hellos, a key per pair, confirmations, shares of zero.

Nothing here is about the intersection: `psi.protocols.kmprt.parties` says what the rounds are.
"""

import functools
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError, KeyConfirmationError, RepeatedElementError
from psi.group.ristretto255 import (
    POINT_BYTES,
    Points,
    Scalar,
    hash_to_group,
    multiply,
    multiply_base,
    points_from_bytes,
)
from psi.protocols.conversation import Assembly, Progress, Round, SetConversation
from psi.protocols.elements import rows_of
from psi.protocols.kmprt.programmable import SALT_BYTES, entries
from psi.protocols.messages import FRAME_BYTES, Message, MessageType, Transcript
from psi.protocols.parameters import FINGERPRINT_BYTES, MAX_PEER_ITEMS, SessionParameters
from psi.protocols.party import MAC_BYTES, expect_shape, tag_bytes

__all__ = ["LEADER", "PROTOCOL", "MultiParty", "Values"]

PROTOCOL = "kmprt"
Values: TypeAlias = NDArray[np.uint8]

_NONCE_BYTES = 32
_HELLO_BYTES = FINGERPRINT_BYTES + _NONCE_BYTES + POINT_BYTES
LEADER = 0
_MOST_PARTIES = 256


class MultiParty(SetConversation[Mapping[int, bytes], Round], Assembly):
    """What leader and members do: exchange hellos, agree on keys, share zero."""

    protocol = PROTOCOL
    _no_result = "the settings give the result to the leader only"

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
        """Prepare one session; `Leader` and `Member` describe the arguments."""
        parameters = parameters or SessionParameters(output="receiver")
        if parameters.multiplicities:
            raise ConfigError("multiplicities are told between two: leave them out")
        if not 3 <= parties <= _MOST_PARTIES:
            raise ConfigError(f"3 to {_MOST_PARTIES} parties; for two take Receiver and Sender")
        if not 0 <= number < parties:
            raise ConfigError(f"parties are numbered from 0 (the leader) to {parties - 1}")
        super().__init__(items, parameters, max_peer_items=max_peer_items, progress=progress)
        self._number = number
        self._others = [other for other in range(parties) if other != number]
        self._sending = {
            other: Transcript(f"kmprt, {parties} parties, {number} to {other}")
            for other in self._others
        }
        self._receiving = {
            other: Transcript(f"kmprt, {parties} parties, {other} to {number}")
            for other in self._others
        }
        self._sizes = {number: len(items)}
        self._secret: Scalar | None = Scalar.random()
        self._body = parameters.fingerprint() + secrets.token_bytes(_NONCE_BYTES)
        self._body += multiply_base([self._secret]).tobytes()
        self._keys: dict[int, bytes] = {}
        self._width = 0

    def longest_message(self, sender: int) -> int:
        """Return what the next message of a party can measure at most, in bytes."""
        if not self._sizes.keys() >= {sender}:
            return FRAME_BYTES + _HELLO_BYTES
        points = POINT_BYTES * (self._sizes[LEADER] + 3)
        table = self._width * (entries(self._sizes[sender]) + 1) + SALT_BYTES
        return FRAME_BYTES + MAC_BYTES + points + (table if self._number == LEADER else 0)

    @staticmethod
    def most_asked(peer: int, announced: int) -> int:
        """Return as many as a table has entries: each is an unknown that its maker may choose.

        The leader makes no table, but sends one point more than items.
        """
        return announced + 1 if peer == LEADER else entries(announced)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self._items)} items, party {self._number})"

    def _forget(self) -> None:
        self._secret = None
        self._keys = {}

    def _begin(self) -> Round:
        self._expect = self._on_hellos
        return {
            other: self._sending[other].seal(MessageType.MULTI_HELLO, len(self._items), self._body)
            for other in self._others
        }

    def _on_hellos(self, messages: Mapping[int, bytes]) -> Round:
        self._expect_from(messages, self._others)
        bodies = {self._number: self._body}
        for other, data in messages.items():
            hello = self._receiving[other].open(MessageType.MULTI_HELLO, data)
            expect_shape(hello, hello.count, _HELLO_BYTES)
            bodies[other] = bytes(hello.body)
            settings = hello.body[:FINGERPRINT_BYTES]
            self._check_hello(f"party {other}", settings, hello.count, other)
            self._sizes[other] = hello.count
        for other in self._others:
            self._charge(other, self.most_asked(other, self._sizes[other]))
        if len({body[32:64] for body in bodies.values()}) != len(bodies):
            raise RepeatedElementError("two parties sent the same nonce")
        if len({body[64:] for body in bodies.values()}) != len(bodies):
            raise RepeatedElementError("two parties sent the same public key")
        content = b"".join(
            bodies[party] + self._sizes[party].to_bytes(8, "big") for party in sorted(bodies)
        )
        self._identity = hashlib.sha256(b"psi kmprt session, " + content).digest()
        assert self._secret is not None  # noqa: S101 - drawn by __init__
        for other in self._others:
            shared = multiply(self._secret, points_from_bytes(bodies[other][64:])).tobytes()
            pair = bytes([min(other, self._number), max(other, self._number)])
            self._keys[other] = hashlib.sha512(
                b"psi kmprt keys, " + self._identity + pair + shared
            ).digest()
            self._sending[other].begin_session()
            self._receiving[other].begin_session()
        self._secret = None
        # The chance that any of the leader's items has a value of zero by luck is at most 2^-40.
        self._width = -(-(40 + self._sizes[LEADER].bit_length()) // 8)
        return self._after_hellos()

    def _after_hellos(self) -> Round:
        raise NotImplementedError

    def _confirmed(self, other: int, kind: MessageType, content: bytes = b"") -> bytes:
        transcript = self._sending[other]
        mac = self._mac(other, self._number, transcript.digest, content)
        return transcript.seal(kind, len(self._items), mac, content)

    def _take(
        self, other: int, kind: MessageType, data: bytes, length: int, *, width: int = 0
    ) -> memoryview:
        """Open and check a message: `length` bytes after the MAC, or up to that in whole rows."""
        before = self._receiving[other].digest
        message: Message = self._receiving[other].open(kind, data)
        if width:
            length = min(length, (len(message.body) - MAC_BYTES) // width * width)
        expect_shape(message, self._sizes[other], MAC_BYTES + length)
        content = message.body[MAC_BYTES:]
        expected = self._mac(other, other, before, content)
        if not hmac.compare_digest(expected, message.body[:MAC_BYTES]):
            raise KeyConfirmationError(f"party {other} does not hold the key or saw other hellos")
        return content

    def _mac(self, other: int, sender: int, before: bytes, content: bytes | memoryview) -> bytes:
        mac = hmac.new(self._keys[other][:32], bytes([sender]) + before, hashlib.sha256)
        mac.update(content)
        return mac.digest()

    def _shares(self) -> Values:
        """Return this party's share of each of its items: shape (n, width)."""
        shares = np.zeros((len(self._items), self._width), np.uint8)
        for key in self._keys.values():
            share = functools.partial(hashlib.blake2b, digest_size=self._width, key=key[32:])
            drawn = b"".join(share(item).digest() for item in self._items)
            shares ^= np.frombuffer(drawn, np.uint8).reshape(shares.shape)
        return shares

    def _match_tags(self, other: int, items: Iterable[bytes]) -> list[bytes]:
        """Return the tag of each item, which only the other party of the pair can recognise."""
        width = tag_bytes(len(self._items), self._sizes[other])
        tag = functools.partial(
            hashlib.blake2b,
            digest_size=width,
            key=self._keys[other][32:],
            person=b"psi kmprt match",
        )
        return [tag(item).digest() for item in items]

    def _hashed(self, items: Sequence[bytes]) -> Points:
        """C, then the items, as group elements of this session."""
        confirmation = hash_to_group([b""], b"psi-kmprt-v1-confirmation-" + self._identity)
        own = hash_to_group(items, b"psi-kmprt-v1-HashToGroup-" + self._identity)
        return np.vstack([confirmation, own])

    def _masks(self, member: int, elements: Points) -> Values:
        """Return the oblivious function's results from k·C and k·H(item): shape (n + 1, width)."""
        name = b"psi kmprt mask, " + bytes([member]) + self._identity
        mask = functools.partial(
            hashlib.blake2b, digest_size=self._width, key=hashlib.sha256(name).digest()
        )
        drawn = b"".join(mask(row).digest() for row in rows_of(elements.data, POINT_BYTES))
        return np.frombuffer(drawn, np.uint8).reshape(-1, self._width)
