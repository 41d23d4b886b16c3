"""Our own framing: fixed fields, lengths that follow from the parameters, signatures first.

docs/wire-format.md describes the bytes. Nothing here interprets a payload; a receiver checks
length, fingerprint, key, round, sender and signature before any payload is looked at.
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum

from privfed.errors import ContextMismatchError, DecodeError
from privfed.keys import SIGNATURE_BYTES, Identity, PublicIdentity, is_secret

VERSION = 1
HASH_BYTES = 32
_MAGIC = b"PFSA"
_PREFIX = struct.Struct("<4sBBBB32s16sQI32s32s")
_ENTRY = struct.Struct("<H32s32s64s")
PREFIX_BYTES, ENTRY_BYTES = _PREFIX.size, _ENTRY.size
COUNT = struct.Struct("<H")
_SCHEMES = ("reference", "packed", "slots", "ckks")


class Kind(IntEnum):
    """What a message is."""

    UPLOAD = 1
    PARTIAL = 2
    TOTAL = 3
    ANNOUNCEMENT = 4


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
        previous: Transcript of the previous round, 32 bytes (zeros: not chained).
        cohort: Hash of who takes part, 32 bytes (zeros: anybody on the roster).
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
    """What one sender signs of one part: its seeds and its payload, by their hashes."""

    sender: int
    seeds_hash: bytes
    payload_hash: bytes
    signature: bytes

    @classmethod
    def sign(
        cls, identity: Identity, sender: int, prefix: Prefix, seeds: bytes, payload: bytes
    ) -> "Entry":
        """Return the signed entry of roster place `sender`."""
        unsigned = cls(sender, digest(seeds), digest(payload), bytes(SIGNATURE_BYTES))
        signature = identity.sign(unsigned._message(prefix))
        return cls(sender, unsigned.seeds_hash, unsigned.payload_hash, signature)

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
        """Return 130 bytes."""
        return _ENTRY.pack(self.sender, self.seeds_hash, self.payload_hash, self.signature)

    @classmethod
    def read(cls, data: memoryview) -> "Entry":
        """Read 130 bytes."""
        return cls(*_ENTRY.unpack_from(data))


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
