"""Our own framing: fixed fields, lengths that follow from the parameters, signatures first.

docs/wire-format.md describes the bytes. Nothing here interprets a payload; a receiver checks
length, fingerprint, key, round, sender and signature before any payload is looked at.
"""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from privfed.errors import AuthenticationError, ContextMismatchError, DecodeError
from privfed.keys import SIGNATURE_BYTES, Identity, PublicIdentity, is_secret

VERSION = 3
HASH_BYTES = 32
_MAGIC = b"PFSA"
_PREFIX = struct.Struct("<4sBBBB32s16sQI32s32s")
_KIND_PLACE = 5
_BODY = struct.Struct("<H24s32s32s32s")
PREFIX_BYTES = _PREFIX.size
ENTRY_BYTES = _BODY.size + SIGNATURE_BYTES  # and a linear hash, where there is one
MARK_BYTES, MARKS = 8, 3  # of totals that did not decrypt; zeros: none
COUNT = _SENDER = struct.Struct("<H")
PARTIAL_END_BYTES = SIGNED_BYTES = _SENDER.size + SIGNATURE_BYTES
_PARTIAL_DOMAIN = b"privfed/1/partial\x00"
_SCHEMES = ("reference", "packed", "slots", "ckks")


class Kind(IntEnum):
    """What a message is; nothing writes 5 and 6 yet, and every reader refuses them."""

    UPLOAD = 1
    PARTIAL = 2
    TOTAL = 3
    ANNOUNCEMENT = 4
    REQUEST = 5
    REPLY = 6
    RESULT = 7
    EPOCH = 8


OF_ONE_SENDER = (Kind.UPLOAD, Kind.ANNOUNCEMENT)


@dataclass(frozen=True)
class Prefix:
    """What all messages of one part of one round have in common.

    Attributes:
        kind: What the message is.
        scheme: Name of the scheme.
        fingerprint: Fingerprint of the parameters, 32 bytes.
        key_id: Id of the shared key, 16 bytes.
        round_id: 0 to 2^64 - 1.
        part: Which part of the update, from 0.
        previous: Transcript of the last round that was opened, 32 bytes (zeros: none).
        cohort: Hash of who takes part, 32 bytes (zeros: the round names nobody).
    """

    kind: Kind
    scheme: str
    fingerprint: bytes
    key_id: bytes
    round_id: int
    part: int
    previous: bytes
    cohort: bytes

    def to_bytes(self, kind: Kind | None = None) -> bytes:
        """Return 132 bytes, for another `kind` of message where one is given."""
        return _PREFIX.pack(
            _MAGIC,
            VERSION,
            kind or self.kind,
            _SCHEMES.index(self.scheme),
            0,
            self.fingerprint,
            self.key_id,
            self.round_id,
            self.part,
            self.previous,
            self.cohort,
        )

    @classmethod
    def read(cls, data: memoryview) -> "Prefix":
        """Return the prefix that begins a message.

        Raises:
            DecodeError: It is no message of this version.
        """
        if is_secret(bytes(data[:16])):
            raise DecodeError("a secret key was handed over as a message: keep it from the server")
        if len(data) < PREFIX_BYTES:
            raise DecodeError("the message is truncated")
        magic, version, kind, scheme, zero, *rest = _PREFIX.unpack_from(data)
        if magic != _MAGIC or zero:
            raise DecodeError("these bytes are no privfed message")
        if version != VERSION:
            raise DecodeError(f"message version {version}; this privfed reads {VERSION}")
        if kind not in Kind.__members__.values() or scheme >= len(_SCHEMES):
            raise DecodeError("these bytes are no privfed message")
        return cls(Kind(kind), _SCHEMES[scheme], *rest)


@dataclass(frozen=True)
class Entry:
    """What one sender signs of one part.

    Attributes:
        sender: Its place on the roster.
        failed: Marks of totals under this key that, as it knows, did not decrypt; at most 3.
        epoch: Digest of the mask keys that it masked under, 32 bytes (zeros: not masked).
        seeds_hash: SHA-256 of its seeds.
        payload_hash: SHA-256 of its payload.
        linear_hash: 16 bytes that hide the linear hash of its ciphertext; or none.
        signature: The signature of all this and of where it belongs.
    """

    sender: int
    failed: tuple[bytes, ...]
    epoch: bytes = bytes(HASH_BYTES)
    seeds_hash: bytes = bytes(HASH_BYTES)
    payload_hash: bytes = bytes(HASH_BYTES)
    linear_hash: bytes = b""
    signature: bytes = bytes(SIGNATURE_BYTES)

    def over(self, seeds: bytes | memoryview, payload: bytes | memoryview) -> "Entry":
        """Return the entry of these seeds and this payload, to be signed."""
        return replace(self, seeds_hash=digest(seeds), payload_hash=digest(payload))

    @property
    def ciphertext(self) -> bytes:
        """What stands for this one ciphertext of this sender's."""
        return _SENDER.pack(self.sender) + self.seeds_hash + self.payload_hash

    def signed(self, identity: Identity, prefix: Prefix) -> "Entry":
        """Return the entry with its sender's signature."""
        return replace(self, signature=identity.sign(self._message(prefix)))

    def verify(self, party: PublicIdentity, prefix: Prefix) -> None:
        """Check the signature.

        Raises:
            AuthenticationError: It is not this party's.
        """
        party.verify(self.signature, self._message(prefix))

    def _message(self, prefix: Prefix) -> bytes:
        kind = Kind.ANNOUNCEMENT if prefix.kind == Kind.ANNOUNCEMENT else Kind.UPLOAD
        body = self.to_bytes()[:-SIGNATURE_BYTES]
        return b"privfed/1/message\x00" + prefix.to_bytes(kind) + body

    def to_bytes(self) -> bytes:
        """Return 186 bytes, and 16 more where there is a linear hash."""
        marks = b"".join(self.failed)
        body = _BODY.pack(self.sender, marks, self.epoch, self.seeds_hash, self.payload_hash)
        return body + self.linear_hash + self.signature

    @classmethod
    def read(cls, data: bytes | memoryview) -> "Entry":
        """Read what `to_bytes` wrote, all of `data`."""
        sender, marks, epoch, seeds, payload = _BODY.unpack_from(data)
        each = (marks[at : at + MARK_BYTES] for at in range(0, len(marks), MARK_BYTES))
        failed = tuple(mark for mark in each if any(mark))
        hidden, signature = data[_BODY.size : -SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
        return cls(sender, failed, epoch, seeds, payload, bytes(hidden), bytes(signature))


def signed_partial(message: bytes, place: int, identity: Identity) -> bytes:
    """Return the 66 bytes that end a partial sum: who of the aggregators made it, and signed it."""
    by = _SENDER.pack(place)
    return by + identity.sign(_PARTIAL_DOMAIN + message + by)


def verify_partial(message: memoryview, aggregators: Sequence[PublicIdentity]) -> memoryview:
    """Return a partial sum without its end, after checking who signed it.

    Raises:
        AuthenticationError: None of the aggregators did.
    """
    signed = message[:-SIGNATURE_BYTES]
    (place,) = _SENDER.unpack(signed[-_SENDER.size :])
    if place >= len(aggregators):
        raise AuthenticationError("the partial sum is of no aggregator that the parameters name")
    aggregators[place].verify(bytes(message[-SIGNATURE_BYTES:]), _PARTIAL_DOMAIN + bytes(signed))
    return signed[: -_SENDER.size]


def is_result(data: object) -> bool:
    """Return whether these bytes begin as a result does; whether they are one is not checked."""
    if not isinstance(data, bytes | bytearray | memoryview):
        return False
    head = bytes(data[: _KIND_PLACE + 1])
    return head.startswith(_MAGIC) and head[_KIND_PLACE:] == bytes([Kind.RESULT])


def digest(data: bytes | memoryview) -> bytes:
    """Return SHA-256 of `data`."""
    return hashlib.sha256(data).digest()


def expect(prefix: Prefix, wanted: Prefix) -> None:
    """Check that a message belongs where it was sent.

    Raises:
        ContextMismatchError: It belongs to other parameters, another key, job or round.
    """
    for name, what in (
        ("scheme", "another scheme"),
        ("fingerprint", "other parameters or another job"),
        ("key_id", "another key"),
        ("round_id", "another round"),
        ("cohort", "another cohort"),
        ("previous", "another history of rounds"),
    ):
        if getattr(prefix, name) != getattr(wanted, name):
            raise ContextMismatchError(f"the message belongs to {what}")
