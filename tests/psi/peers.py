"""Hostile peers for any two state machines: what they may send, and what must come of it."""

import atexit
import dataclasses
import functools
import hashlib
import hmac
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from psi import (
    CardinalityReceiver,
    CardinalitySender,
    NoisyCardinalityReceiver,
    NoisyCardinalitySender,
    NoisySumReceiver,
    NoisySumSender,
    OwnNoise,
    PrivateIDReceiver,
    PrivateIDSender,
    Receiver,
    Sender,
    SessionParameters,
    SumParameters,
    SumReceiver,
    SumSender,
    TagStore,
    UnbalancedReceiver,
)
from psi.group.ristretto255 import hash_to_group
from psi.protocols import vole
from psi.protocols.vole.rounds import VoleParty

HEADER_BYTES, SEAL_BYTES, MAC_BYTES, POINT_BYTES = 40, 32, 32, 32
KEY_PROOF_BYTES = 96  # where both sides blind: after the points
Pair = Callable[[], tuple[Any, Any]]
Change = Callable[[bytearray, list[bytes]], bytes | None]


def digest_of(before: bytes, content: bytes) -> bytes:
    """The digest of a message, header and body, after the seal of the one before."""
    rest = content[HEADER_BYTES + MAC_BYTES :]
    return hashlib.sha256(before + content[:HEADER_BYTES] + rest).digest()


def seal_of(before: bytes, content: bytes) -> bytes:
    """The seal of a message, header and body, after the seal of the one before."""
    head = content[HEADER_BYTES : HEADER_BYTES + MAC_BYTES]
    return hashlib.sha256(digest_of(before, content) + head).digest()


BAD_POINTS = {
    "identity": bytes(32),
    "negative": bytes([1]) + bytes(31),
    "non-canonical": b"\xed" + b"\xff" * 30 + b"\x7f",
    "top bit": hash_to_group([b"x"], b"top bit").tobytes()[:31] + b"\xff",
    # RFC 9496, appendix A.3: non-square x^2.
    "not on the curve": bytes.fromhex(
        "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371"
    ),
}


LEFT, RIGHT = [b"a", b"b", b"c"], [b"c", b"d", b"a", b"e"]
COUNTED = SessionParameters(multiplicities=True)
ONE, TWO = (SumParameters(minimum=least, max_value=1000) for least in (1, 2))
LITTLE = OwnNoise(20)  # four dummies


@functools.cache
def _store() -> TagStore:
    """RIGHT as a store without limits, for as long as the process lives."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return TagStore.create(Path(folder.name) / "store", RIGHT, items_a_peer=10**9)


class InParts(VoleParty):
    """A party whose session has two tags in each message of them."""

    def _lay_out(self) -> None:
        super()._lay_out()
        self._layout = dataclasses.replace(self._layout, part_tags=2)


class ReceiverInParts(InParts, vole.Receiver):
    """Takes tags in parts."""


class SenderInParts(InParts, vole.Sender):
    """Sends tags in parts."""


PAIRS: dict[str, Pair] = {
    "ecdh": lambda: (Receiver(LEFT), Sender(RIGHT)),
    "ecdh, receiver only": lambda: (
        Receiver(LEFT, SessionParameters(output="receiver")),
        Sender(RIGHT, SessionParameters(output="receiver")),
    ),
    "ecdh, counted": lambda: (
        Receiver(LEFT, COUNTED, counts=np.array([1, 2, 3])),
        Sender(RIGHT, COUNTED, counts=np.array([1, 2, 3, 4])),
    ),
    "vole": lambda: (vole.Receiver(LEFT), vole.Sender(RIGHT)),
    "vole, counted": lambda: (
        vole.Receiver(LEFT, COUNTED, counts=np.array([1, 2, 3])),
        vole.Sender(RIGHT, COUNTED, counts=np.array([1, 2, 3, 4])),
    ),
    "vole, in parts": lambda: (ReceiverInParts(LEFT), SenderInParts(RIGHT)),
    "cardinality": lambda: (CardinalityReceiver(LEFT), CardinalitySender(RIGHT)),
    "sum": lambda: (SumReceiver(LEFT, TWO), SumSender(RIGHT, [1000, 200, 30, 4], TWO)),
    "cardinality, noisy": lambda: (
        NoisyCardinalityReceiver(LEFT, noise=LITTLE),
        NoisyCardinalitySender(RIGHT, noise=LITTLE),
    ),
    "sum, noisy": lambda: (
        NoisySumReceiver(LEFT, ONE, noise=LITTLE),
        NoisySumSender(RIGHT, [1000, 200, 30, 4], ONE, noise=LITTLE),
    ),
    "ids": lambda: (PrivateIDReceiver(LEFT), PrivateIDSender(RIGHT)),
    "unbalanced": lambda: (UnbalancedReceiver(LEFT), _store().answering("bob")),
}


def sent(message: bytes | None) -> bytes:
    """The message that a side has to send by now."""
    assert message is not None
    return message


def run(receiver: Any, sender: Any, *, measured: bool = True) -> list[bytes]:
    """Carry all messages, if measured none longer than transports let pass; returns them."""
    messages, message, to_sender = [], receiver.start(), True
    while message is not None:
        messages.append(message)
        recipient = sender if to_sender else receiver
        assert len(message) <= recipient.longest_message or not measured
        message = recipient.receive(message)
        to_sender = not to_sender
    assert receiver.done
    assert sender.done
    return messages


class Attack:
    """One session, stopped before message `stop` arrives."""

    def __init__(self, pair: Pair, stop: int) -> None:
        self.receiver, self.sender = pair()
        self.stop = stop
        self.mac_key = b""
        self.messages: list[bytes] = [self.receiver.start()]
        while len(self.messages) <= stop:
            self.messages.append(self.side(len(self.messages) - 1).receive(self.messages[-1]))
            self._look()
        self.victim, self.peer = self.side(stop), self.side(stop + 1)
        self.message = self.messages[stop]

    def side(self, number: int) -> Any:
        """Who takes message `number`."""
        return (self.sender, self.receiver)[number % 2]

    def _look(self) -> None:
        self.mac_key = self.receiver._mac_key or self.sender._mac_key or self.mac_key

    def before(self) -> bytes:
        start = hashlib.sha256(b"psi transcript, " + self.victim.protocol.encode()).digest()
        return self.messages[self.stop - 1][-SEAL_BYTES:] if self.stop else start

    def sealed(self, body: bytes, *, confirm: bool = False, count: int | None = None) -> bytes:
        """The message with another body, sealed by a peer that may hold the session's key."""
        header = self.message[: HEADER_BYTES - 8] + struct.pack(">Q", len(body))
        if count is not None:
            header = header[:24] + struct.pack(">Q", count) + header[32:]
        if confirm and self.mac_key:  # the first messages carry no MAC to forge
            role = bytes([self.peer._own_hello])
            content = role + digest_of(self.before(), header + body)
            body = hmac.digest(self.mac_key, content, "sha256") + body[MAC_BYTES:]
        return header + body + seal_of(self.before(), header + body)

    def finish(self, message: bytes) -> None:
        """Send a message instead of the honest one and go on to the end."""
        self.peer._transcript._chain = message[-SEAL_BYTES:]
        answer, takes = self.victim.receive(message), 1
        while answer is not None:
            answer = self.side(self.stop + takes).receive(answer)
            takes += 1


def forge(pair: Pair, stop: int, change: Change, *, confirm: bool = False) -> Any:
    """Let a hostile peer change the body of message `stop`, seal it, and send it."""
    attack = Attack(pair, stop)
    body = bytearray(attack.message[HEADER_BYTES:-SEAL_BYTES])
    changed = change(body, attack.messages)
    attack.victim.receive(
        attack.sealed(bytes(body if changed is None else changed), confirm=confirm)
    )
    return attack.victim


def patch(offset: int, content: bytes) -> Change:
    """A change that overwrites part of a body."""

    def change(body: bytearray, messages: list[bytes]) -> None:
        body[offset : offset + len(content)] = content

    return change


def copy_within(source: int, target: int, length: int = POINT_BYTES) -> Change:
    """A change that repeats part of a body."""

    def change(body: bytearray, messages: list[bytes]) -> None:
        body[target : target + length] = body[source : source + length]

    return change


def swapped(start: int, length: int = 16) -> Change:
    """A change that swaps two neighbours in a body."""

    def change(body: bytearray, messages: list[bytes]) -> None:
        middle, end = start + length, start + 2 * length
        body[start:end] = body[middle:end] + body[start:middle]

    return change
