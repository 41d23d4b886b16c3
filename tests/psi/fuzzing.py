"""Cheap attacks: an honest session kept at each of its messages, and copies that go on from there.

A session refuses to be copied; these tests reach into it. So an attack costs what its message
costs, not what the session before it did.
"""

import copy
import functools
import hashlib
import hmac
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from psi import (
    DecodeError,
    KeyConfirmationError,
    Leader,
    Member,
    ProtocolError,
    SessionParameters,
    StateError,
    TranscriptError,
    VersionError,
)
from psi.group.ristretto255 import hash_to_group
from psi.protocols.messages import Transcript
from psi.protocols.party import Party
from psi.protocols.vole.buckets import Buckets
from psi.vole import VoleReceiver, VoleSender
from tests.psi.peers import (
    BAD_POINTS,
    HEADER_BYTES,
    MAC_BYTES,
    PAIRS,
    SEAL_BYTES,
    Pair,
    digest_of,
    seal_of,
)

POOL = [
    *BAD_POINTS.values(),
    *(point.tobytes() for point in hash_to_group([b"x", b"y"], b"fuzz")),
]


def clone(party: Any) -> Any:
    """A second party in the same state."""
    twin = object.__new__(type(party))

    def copied(value: Any) -> Any:
        if getattr(value, "__self__", None) is party:
            return getattr(twin, value.__name__)
        if isinstance(value, Party):
            return clone(value)
        if isinstance(value, Mapping):
            return {key: copied(one) for key, one in value.items()}
        if isinstance(value, VoleReceiver | VoleSender | Buckets):
            other = copy.copy(value)
            other.__dict__.update({name: copied(one) for name, one in vars(value).items()})
            return other
        if isinstance(value, Transcript | np.ndarray) or type(value) in (list, set):
            return copy.copy(value)
        return value

    for name, value in vars(party).items():
        twin.__dict__[name] = copied(value)
    return twin


@dataclass
class Stage:
    """The moment at which one side takes a message: both sides, the message, and the key."""

    victim: Any
    peer: Any
    before: bytes
    message: bytes
    mac_key: bytes = b""

    def seal(self, message: bytes) -> bytes:
        """Give a changed message the seal that its sender would give it."""
        content = message[:-SEAL_BYTES]
        return content + seal_of(self.before, content)

    def sealed(self, body: bytes, *, count: bytes | None = None) -> bytes:
        """The message with another body, or another count, and its seal."""
        header = self.message[:24] + (count or self.message[24:32])
        return self.seal(header + len(body).to_bytes(8, "big") + body + bytes(SEAL_BYTES))

    def confirm(self, message: bytes) -> bytes:
        """Give it the MAC that its sender would give it."""
        role = bytes([self.peer._own_hello])
        digest = digest_of(self.before, message[:-SEAL_BYTES])
        mac = hmac.digest(self.mac_key, role + digest, "sha256")
        return message[:HEADER_BYTES] + mac + message[HEADER_BYTES + MAC_BYTES :]

    @property
    def confirmed(self) -> bool:
        """Whether this message begins with a MAC."""
        return self.confirm(self.message) == self.message

    def finish(self, message: bytes) -> Any:
        """Send a message and go on; returns the victim if its session ended well."""
        victim, peer = clone(self.victim), clone(self.peer)
        # A hostile peer takes what it really sent for its own view of the session.
        peer._transcript._chain = message[-SEAL_BYTES:]
        try:
            answer = victim.receive(message)
            while answer is not None:
                reply = peer.receive(answer)
                answer = None if reply is None else victim.receive(reply)
        except ProtocolError:
            pass
        return victim if victim.done else None


@functools.cache
def stages(name: str) -> list[Stage]:
    """One honest session of a protocol, kept at each of its messages."""
    return stages_of(PAIRS[name])


def stages_of(pair: Pair) -> list[Stage]:
    """One honest session between any two, kept at each of its messages."""
    receiver, sender = pair()
    result: list[Stage] = []
    message: bytes | None = receiver.start()
    before = hashlib.sha256(b"psi transcript, " + receiver.protocol.encode()).digest()
    mac_key = b""
    while message is not None:
        peer, victim = ((receiver, sender), (sender, receiver))[len(result) % 2]
        result.append(Stage(clone(victim), clone(peer), before, message))
        before = message[-SEAL_BYTES:]
        message = victim.receive(message)
        mac_key = mac_key or victim._mac_key
    for stage in result:
        stage.mac_key = mac_key
    return result


SETS = [[b"a", b"b", b"c"], [b"c", b"b", b"x", b"y"], [b"b", b"z", b"c"]]
Arriving = dict[int, dict[int, bytes]]


@dataclass
class Round:
    """The moment at which one party of three takes another's message."""

    parties: list[Any]
    arriving: Arriving
    sender: int
    recipient: int

    @property
    def message(self) -> bytes:
        return self.arriving[self.recipient][self.sender]

    @property
    def _chain(self) -> bytes:
        chain: bytes = self.parties[self.recipient]._receiving[self.sender].digest
        return chain

    def seal(self, message: bytes) -> bytes:
        """Give a changed message the seal that its sender would give it."""
        content = message[:-SEAL_BYTES]
        return content + seal_of(self._chain, content)

    def confirm(self, message: bytes) -> bytes:
        """Give it the MAC that its sender would give it."""
        digest = digest_of(self._chain, message[:-SEAL_BYTES])
        mac: bytes = self.parties[self.recipient]._mac(self.sender, self.sender, digest)
        return message[:HEADER_BYTES] + mac + message[HEADER_BYTES + MAC_BYTES :]

    @property
    def confirmed(self) -> bool:
        """Whether this message begins with a MAC."""
        return bool(self.parties[self.recipient]._keys)

    def finish(self, message: bytes) -> list[Any] | None:
        """Send a message and go on; returns the parties if the session ended well."""
        parties = [clone(party) for party in self.parties]
        parties[self.sender]._sending[self.recipient]._chain = message[-SEAL_BYTES:]
        arriving = {to: dict(by) for to, by in self.arriving.items()}
        arriving[self.recipient][self.sender] = message
        try:
            while arriving:
                arriving = _delivered(parties, arriving)
        except ProtocolError:
            return None
        return parties


def _delivered(parties: list[Any], arriving: Arriving) -> Arriving:
    """Give each party what arrived; returns what arrives next."""
    sent = {number: parties[number].receive(by) for number, by in arriving.items()}
    return _sorted_by_recipient(sent)


def _sorted_by_recipient(sent: Arriving) -> Arriving:
    arriving: Arriving = {}
    for sender, messages in sent.items():
        for recipient, message in messages.items():
            arriving.setdefault(recipient, {})[sender] = message
    return arriving


@functools.cache
def rounds() -> list[Round]:
    """One honest session of three, kept before each round, for each of its messages."""
    members = [
        Member(SETS[number], SessionParameters(), number=number, parties=3) for number in (1, 2)
    ]
    parties: list[Any] = [Leader(SETS[0], SessionParameters(), parties=3), *members]
    arriving = _sorted_by_recipient({number: one.start() for number, one in enumerate(parties)})
    result = []
    while arriving:
        kept = [clone(party) for party in parties]
        result += [Round(kept, arriving, by, to) for to in arriving for by in arriving[to]]
        arriving = _delivered(parties, arriving)
    return result


def check_every_protocol_refuses(session: list[Stage], replay: list[Stage]) -> None:
    """What no session may accept at any of its messages, whatever its protocol.

    Args:
        session: Of `stages_of`.
        replay: Another session of the same protocol.
    """
    changes: list[tuple[Callable[[bytes], bytes], type[Exception]]] = [
        (lambda m: m[:-1], DecodeError),
        (lambda m: m + b"\0", DecodeError),
        (lambda m: m[:20], DecodeError),
        (lambda m: b"", DecodeError),
        (lambda m: b"GET / HTTP/1.1\r\n" + bytes(100), DecodeError),
        (lambda m: m[:4] + b"\xff" + m[5:], VersionError),
        (lambda m: m[:-40] + bytes([m[-40] ^ 1]) + m[-39:], TranscriptError),
        (lambda m: m[:5] + bytes([m[5] % 3 + 1]) + m[6:], StateError),
    ]
    for number, (stage, other) in enumerate(zip(session, replay, strict=True)):
        body = stage.message[HEADER_BYTES:-SEAL_BYTES]
        assert stage.sealed(body) == stage.message
        wrong = [(change(stage.message), error) for change, error in changes]
        if number:
            wrong.append((other.message, TranscriptError))
        if number > 1:
            wrong += [
                (stage.sealed(body[:-1]), DecodeError),
                (stage.sealed(body + b"\0"), DecodeError),
            ]
            wrong.append((stage.sealed(body, count=b"\0\0\1" + bytes(5)), ProtocolError))
        if stage.confirmed:
            turned = bytes([body[0] ^ 1]) + body[1:]
            wrong.append((stage.sealed(turned), KeyConfirmationError))
        for message, error in wrong:
            victim = clone(stage.victim)
            with pytest.raises(error):
                victim.receive(message)
            with pytest.raises(StateError):  # a failed session is over, its secrets gone
                victim.receive(stage.message)
            assert victim._mac_key == b""
            assert not victim.done


def mutated(draw: random.Random, content: bytes) -> bytes:
    """One to three small changes of the kinds that break parsers and protocols."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.randrange(len(data) + 1)
        step = draw.choice((6, 8, 16, 32))  # tags, counts, stored tags, points
        block, other = (draw.randrange(0, len(data) + 1, step) for _ in range(2))
        match draw.randrange(10):
            case 0 if data:
                data[at % len(data)] ^= 1 << draw.randrange(8)
            case 1 if data:
                data[at % len(data)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del data[at : at + draw.choice((1, 8, 32, 1000))]
            case 3:
                data[at:at] = draw.randbytes(draw.choice((1, 8, 32)))
            case 4:
                one, two = data[block : block + step], data[other : other + step]
                data[block : block + len(two)] = two
                data[other : other + len(one)] = one
            case 5:
                data[block : block + 32] = draw.choice(POOL)
            case 6:
                copied = data[other : other + step]
                data[block : block + len(copied)] = copied
            case 7:
                data += data[at:]
            case 8:
                data[block : block + 32] = draw.randbytes(min(32, len(data) - block))
            case _:
                data[at : at + 8] = draw.choice((bytes(8), b"\xff" * 8, b"\x7f" + b"\xff" * 7))
    return bytes(data)


def forged(draw: random.Random, stage: Stage | Round, kind: str) -> bytes:
    """A message as an outsider would change it, or one who seals it, or confirms it too."""
    if kind == "outsider":
        return mutated(draw, stage.message)
    body = mutated(draw, stage.message[HEADER_BYTES:-SEAL_BYTES])
    header = stage.message[: HEADER_BYTES - 8] + len(body).to_bytes(8, "big")
    if draw.random() < 0.2:
        header = mutated(draw, header)[:HEADER_BYTES].ljust(HEADER_BYTES, b"\0")
    message = header + body + bytes(SEAL_BYTES)
    if kind == "confirming" and stage.confirmed:
        message = stage.confirm(message)
    return stage.seal(message)
