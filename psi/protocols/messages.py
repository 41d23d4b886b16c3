"""Our own framing: a header of fixed length, a body of announced length, a seal.

    magic 4 | version 1 | type 1 | zero 2 | session 16 | count 8 | body length 8 | body | seal 32

Integers are big-endian. The seal is SHA-256 over the message's digest and the first 32 bytes of the
body, where a MAC stands; the digest is SHA-256 over the seal of the message before, the header and
the rest of the body. So the seal covers everything that both sides sent so far: a message that is
changed, cut, repeated, or of another session does not verify. It is no signature, as a hostile peer
can compute it. The transport says who the peer is; the MACs, of the digest under the session's key,
prove that it holds that. What is long is hashed once.
"""

import enum
import hashlib
import hmac
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psi.errors import DecodeError, StateError, TranscriptError, VersionError

__all__ = [
    "FRAME_BYTES",
    "HEADER_BYTES",
    "MAC_BYTES",
    "VERSION",
    "Message",
    "MessageType",
    "Transcript",
    "announced_count",
    "announced_length",
]

VERSION = 4
_SESSION_BYTES = 16
_MAGIC = b"PSI\x00"
_NOT_OURS = "the bytes are not a psi message: is the other side psi?"
_HEADER = struct.Struct(f">4sBBH{_SESSION_BYTES}sQQ")
_SEAL_BYTES = MAC_BYTES = 32
HEADER_BYTES = _HEADER.size
FRAME_BYTES = HEADER_BYTES + _SEAL_BYTES  # length of a message without its body


class MessageType(enum.IntEnum):
    """What a message is."""

    RECEIVER_HELLO = 1
    SENDER_HELLO = 2
    POINTS = 3
    ANSWER = 4
    FINISH = 5
    CLOSE = 6
    # Before the hellos, where the protocol is chosen by both sizes.
    OFFER = 8
    CHOSEN = 9
    SUM_REQUEST = 20
    SUM_OPENED = 21
    MULTI_HELLO = 24
    MULTI_STORE = 25
    MULTI_CONFIRM = 26
    MULTI_TABLE = 27
    MULTI_FINISH = 28
    # Messages of `vole` between the hellos and FINISH.
    VOLE_BASE = 32
    VOLE_NOISE = 33
    VOLE_CHECK = 34
    VOLE_TABLE = 35
    VOLE_TAGS = 36
    VOLE_PART = 37
    VOLE_MORE = 38


@dataclass(frozen=True)
class Message:
    """A message whose seal is right and whose body has the announced length.

    Attributes:
        count: What the header says.
        body: The body.
        digest: 32 bytes that name the message without the first 32 of its body, and all before it.
    """

    count: int
    body: memoryview
    digest: bytes


def announced_count(start: bytes | memoryview) -> int:
    """Return the count of a message, from its first HEADER_BYTES bytes."""
    return int(_HEADER.unpack_from(start)[5])


def announced_length(start: bytes | bytearray | memoryview) -> int:
    """Return the length of a whole message, from its first HEADER_BYTES bytes.

    Raises:
        DecodeError: They are not the beginning of a message.
    """
    magic, *_, length = _HEADER.unpack_from(start)
    if magic != _MAGIC:
        raise DecodeError(_NOT_OURS)
    return FRAME_BYTES + int(length)


class Transcript:
    """The running hash of one session; seals what is sent and opens what is received."""

    def __init__(self, protocol: str) -> None:
        """Start a session of the named protocol."""
        self._session = bytes(_SESSION_BYTES)
        self._chain = hashlib.sha256(b"psi transcript, " + protocol.encode()).digest()

    @property
    def digest(self) -> bytes:
        """32 bytes that name everything sent and received so far."""
        return self._chain

    def bind(self, receiver: str, sender: str) -> None:
        """Let all that follows depend on who the two are, before anything is sent or received."""
        parties = f"psi parties, {receiver}, {sender}".encode()
        self._chain = hashlib.sha256(self._chain + parties).digest()

    def begin_session(self) -> bytes:
        """Fix the session once both hellos are in, and return its 32-byte identity."""
        identity = hashlib.sha256(b"psi session, " + self._chain).digest()
        self._session = identity[:_SESSION_BYTES]
        return identity

    def seal(self, kind: enum.IntEnum, count: int, *body: bytes | memoryview) -> bytes:
        """Frame a body, given in parts, and add it to the transcript."""
        header = self._header(kind, count, sum(map(len, body)))
        digest, head = self._digest(header, body)
        self._chain = hashlib.sha256(digest + head).digest()
        return b"".join((header, *body, self._chain))

    def confirm(
        self,
        kind: enum.IntEnum,
        count: int,
        mac: Callable[[bytes], bytes],
        *content: bytes | memoryview,
    ) -> bytes:
        """Frame a MAC and content, given in parts, and add it to the transcript.

        Args:
            kind: What the message is.
            count: What its header says.
            mac: Called with the message's digest, for the 32 bytes before the content.
            content: The rest of the body.

        Returns:
            The whole message.
        """
        header = self._header(kind, count, MAC_BYTES + sum(map(len, content)))
        digest, _ = self._digest(header, (bytes(MAC_BYTES), *content))
        head = mac(digest)
        self._chain = hashlib.sha256(digest + head).digest()
        return b"".join((header, head, *content, self._chain))

    def open(self, kind: enum.IntEnum, data: bytes) -> Message:
        """Return a received message, after checking it, and add it to the transcript.

        Raises:
            DecodeError: It is cut or extended, or not in our format.
            VersionError: It is of another version.
            StateError: It is of a type that is not due.
            TranscriptError: It is of another session, or was changed.
        """
        if len(data) < FRAME_BYTES:
            raise DecodeError(f"a message of {len(data)} bytes is shorter than an empty one")
        view = memoryview(data)
        magic, version, found, zero, session, count, length = _HEADER.unpack_from(view)
        if magic != _MAGIC:
            raise DecodeError(_NOT_OURS)
        if version != VERSION:
            raise VersionError(
                f"the other side speaks version {version}, this side {VERSION}: "
                "install the same psi on both sides"
            )
        if length != len(data) - FRAME_BYTES or zero:
            raise DecodeError("the message does not have the announced length: cut or extended")
        if found != kind:
            raise StateError(f"expected message {kind.name}, got type {found}")
        if session != self._session:
            raise TranscriptError("the message belongs to another session")
        header = view[: _HEADER.size]
        body = view[_HEADER.size : _HEADER.size + length]
        digest, head = self._digest(header, (body,))
        chain = hashlib.sha256(digest + head).digest()
        if not hmac.compare_digest(chain, view[-_SEAL_BYTES:]):
            raise TranscriptError("the message was changed, or belongs to another session")
        self._chain = chain
        return Message(count, body, digest)

    def _header(self, kind: enum.IntEnum, count: int, length: int) -> bytes:
        return _HEADER.pack(_MAGIC, VERSION, kind, 0, self._session, count, length)

    def _digest(
        self, header: bytes | memoryview, body: Sequence[bytes | memoryview]
    ) -> tuple[bytes, bytes]:
        """Return a message's digest, and the first bytes of its body, which that leaves out."""
        digest, head = hashlib.sha256(self._chain + header), b""
        for part in body:
            view, missing = memoryview(part), MAC_BYTES - len(head)
            head += view[:missing]
            digest.update(view[missing:])
        return digest.digest(), head
