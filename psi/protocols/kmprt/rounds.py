"""What leader and members have in common: hellos, a key per pair, confirmations, shares of zero.

Nothing here is about the intersection: `psi.protocols.kmprt.parties` says what the rounds are.
"""

import functools
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError, KeyConfirmationError, RepeatedElementError
from psi.group.agreement import MESSAGE_BYTES
from psi.group.ristretto255 import (
    POINT_BYTES,
    Scalar,
    multiply,
    multiply_base,
    points_from_bytes,
)
from psi.keyvalue import slots
from psi.keyvalue.hashing import aes_blocks
from psi.protocols.conversation import Assembly, Progress, Round, SetConversation
from psi.protocols.kmprt.oblivious import ObliviousHashes
from psi.protocols.messages import FRAME_BYTES, Message, MessageType, Transcript
from psi.protocols.parameters import FINGERPRINT_BYTES, MAX_PEER_ITEMS, SessionParameters
from psi.protocols.party import MAC_BYTES, expect_shape, tag_bytes

__all__ = ["LEADER", "PROTOCOL", "MultiParty", "PairKeys", "Values"]

PROTOCOL = "kmprt"
Values: TypeAlias = NDArray[np.uint8]

_NONCE_BYTES = 32
_HELLO_BYTES = FINGERPRINT_BYTES + _NONCE_BYTES + POINT_BYTES
LEADER = 0
_MOST_PARTIES = 256
_FURTHER_RELATIONS = 40  # log2 of the list's length less 4; 36 for 2^40 candidates


class PairKeys(NamedTuple):
    """What two parties have in common: keys of their MACs, of their shares, and of match tags."""

    mac: bytes
    share: bytes
    match: bytes

    @classmethod
    def derive(cls, identity: bytes, pair: bytes, shared: bytes) -> Self:
        """Return the keys of two parties in a session, given the secret that they share."""
        hashed = hashlib.shake_256(b"psi kmprt keys, " + identity + pair + shared).digest(80)
        return cls(hashed[:32], hashed[32:48], hashed[48:])


class MultiParty(SetConversation[Mapping[int, bytes], Round], Assembly):
    """What leader and members do: exchange hellos, agree on keys, share zero."""

    protocol = PROTOCOL
    counted_as = "as many as known attacks let it test"
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
        self._keys: dict[int, PairKeys] = {}
        self._width = 0

    def longest_message(self, sender: int) -> int:
        """Return what the next message of a party can measure at most, in bytes."""
        if not self._sizes.keys() >= {sender}:
            return FRAME_BYTES + _HELLO_BYTES
        if self._number == LEADER:
            longest = POINT_BYTES + self._width * (1 + slots(self._sizes[sender]))
        elif sender == LEADER:  # tags have fewer bytes than strings
            longest = MESSAGE_BYTES * slots(self._sizes[LEADER] + 1)
        else:
            longest = 0
        return FRAME_BYTES + MAC_BYTES + longest

    @staticmethod
    def most_asked(peer: int, announced: int) -> int:
        """Return what known attacks reach: the slots of a party's store, and some more.

        Each slot is an unknown that its maker may choose. No proof bounds what beyond them a side
        that cheats finds in a long list of items (docs/psi-kmprt.md): for a member, four items of
        which three slots suffice, once the dense entries are fixed, and a relation for each bit of
        the list's length. The leader's store is for one key more than items, and it may choose
        between two strings for an item: a bit each.
        """
        if peer != LEADER:
            return slots(announced) + slots(announced) // 3 + _FURTHER_RELATIONS
        chosen = slots(announced + 1)
        return chosen + -(-chosen // 127)

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
            self._keys[other] = PairKeys.derive(self._identity, pair, shared)
            self._sending[other].begin_session()
            self._receiving[other].begin_session()
        self._secret = None
        self._hashes = ObliviousHashes(self._identity)
        # The chance that any of the leader's items has a value of zero by luck is at most 2^-40.
        self._width = -(-(40 + self._sizes[LEADER].bit_length()) // 8)
        return self._after_hellos()

    def _after_hellos(self) -> Round:
        raise NotImplementedError

    def _confirmed(self, other: int, kind: MessageType, content: bytes = b"") -> bytes:
        return self._sending[other].confirm(
            kind,
            len(self._items),
            lambda digest: self._mac(other, self._number, digest),
            content,
        )

    def _take(
        self, other: int, kind: MessageType, data: bytes, length: int, *, width: int = 0
    ) -> memoryview:
        """Open and check a message: `length` bytes after the MAC, or up to that in whole rows."""
        message: Message = self._receiving[other].open(kind, data)
        if width:
            length = min(length, (len(message.body) - MAC_BYTES) // width * width)
        expect_shape(message, self._sizes[other], MAC_BYTES + length)
        content = message.body[MAC_BYTES:]
        expected = self._mac(other, other, message.digest)
        if not hmac.compare_digest(expected, message.body[:MAC_BYTES]):
            raise KeyConfirmationError(f"party {other} does not hold the key or saw other hellos")
        return content

    def _mac(self, other: int, sender: int, digest: bytes) -> bytes:
        return hmac.digest(self._keys[other].mac, bytes([sender]) + digest, "sha256")

    def _shares(self, digests: Values) -> Values:
        """Return this party's share of each of its items, given their digests: shape (n, width).

        AES under a key of the pair is their pseudorandom function. Digests of different items are
        equal with probability below n^2 · 2^-129.
        """
        total = np.zeros((len(digests), self._width), np.uint8)
        for key in self._keys.values():
            total ^= aes_blocks([key.share], digests)[:, : self._width]
        return total

    def _match_tags(self, other: int, items: Iterable[bytes]) -> list[bytes]:
        """Return the tag of each item, which only the other party of the pair can recognise."""
        width = tag_bytes(len(self._items), self._sizes[other])
        tag = functools.partial(
            hashlib.blake2b,
            digest_size=width,
            key=self._keys[other].match,
            person=b"psi kmprt match",
        )
        return [tag(item).digest() for item in items]
