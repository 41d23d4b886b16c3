"""Mutated messages, by outsiders, by a peer that seals them, and by one that holds the key.

Whatever arrives, a side raises a ProtocolError or goes on; and if the session ends well, its
result is right. Only what a peer may do to its own input is left: a peer that seals a changed
point drops an item, and one that confirms changed tags says which of *our* items match.
"""

import copy
import functools
import hashlib
import hmac
import random
from dataclasses import dataclass

import numpy as np
import pytest

from psi import Parameters, ProtocolError, Receiver, Sender
from psi.groups import hash_to_group
from psi.session import Party

HEADER_BYTES, SEAL_BYTES, MAC_BYTES = 40, 32, 32
ITEMS = {Receiver: [b"a", b"b", b"c"], Sender: [b"c", b"d", b"a", b"e"]}
SHARED = {b"a", b"c"}
POINTS, ANSWER = 2, 3
PARAMETERS = (
    Parameters(),
    Parameters(output="receiver"),
    Parameters(multiplicities=True),
)


def clone(party: Party) -> Party:
    """A second party in the same state: what a session itself refuses to be turned into."""
    twin = object.__new__(type(party))
    twin.__dict__.update(party.__dict__)
    twin._transcript = copy.copy(party._transcript)
    if party._expect is not None:
        twin._expect = getattr(twin, party._expect.__name__)
    return twin


@dataclass
class Stage:
    """The moment at which one side takes a message: both sides, the message, and the key."""

    victim: Party
    peer: Party
    before: bytes
    message: bytes
    mac_key: bytes = b""

    def seal(self, message: bytes) -> bytes:
        content = message[:-SEAL_BYTES]
        return content + hashlib.sha256(self.before + content).digest()

    def confirm(self, message: bytes) -> bytes:
        """Give a changed ANSWER, FINISH or CLOSE the MAC that its sender would give it."""
        count, content = message[24:32], message[HEADER_BYTES + MAC_BYTES : -SEAL_BYTES]
        role = bytes([self.peer._own_hello])
        mac = hmac.digest(self.mac_key, role + self.before + count + content, "sha256")
        return message[:HEADER_BYTES] + mac + message[HEADER_BYTES + MAC_BYTES :]


@functools.cache
def stages(parameters: Parameters) -> list[Stage]:
    """One honest session, kept at each of its six messages."""
    receiver, sender = (
        role(items, parameters, counts=counts)
        for role, items in ITEMS.items()
        for counts in [np.arange(1, len(items) + 1) if parameters.multiplicities else None]
    )
    result, turn = [], 0
    message: bytes | None = receiver.start()
    before = hashlib.sha256(b"psi transcript, ecdh").digest()
    mac_key = b""
    while message is not None:
        peer, victim = (receiver, sender) if turn % 2 == 0 else (sender, receiver)
        result.append(Stage(clone(victim), clone(peer), before, message))
        before = message[-SEAL_BYTES:]
        message = victim.receive(message)
        mac_key = mac_key or victim._mac_key
        turn += 1
    for stage in result:
        stage.mac_key = mac_key
    assert len(result) == 6
    return result


def mutated(draw: random.Random, content: bytes, pool: list[bytes]) -> bytes:
    """One to three small changes of the kinds that break parsers and protocols."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.randrange(len(data) + 1)
        block = draw.randrange(0, max(len(data) - 32, 0) + 1, 32)
        other = draw.randrange(0, max(len(data) - 32, 0) + 1, 32)
        match draw.randrange(9):
            case 0 if data:
                data[at % len(data)] ^= 1 << draw.randrange(8)
            case 1 if data:
                data[at % len(data)] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                del data[at : at + draw.choice((1, 8, 32, 1000))]
            case 3:
                data[at:at] = draw.randbytes(draw.choice((1, 8, 32)))
            case 4:
                data[block : block + 32], data[other : other + 32] = (
                    data[other : other + 32],
                    data[block : block + 32],
                )
            case 5:
                data[block : block + 32] = draw.choice(pool)
            case 6:
                data[block : block + 32] = data[other : other + 32]
            case 7:
                data += data[at:]
            case _:
                data[at : at + 8] = draw.choice((bytes(8), b"\xff" * 8, b"\x7f" + b"\xff" * 7))
    return bytes(data)


def finish(stage: Stage, message: bytes) -> Party | None:
    """Send a message and go on; returns the victim if its session ended well."""
    victim, peer = clone(stage.victim), clone(stage.peer)
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


def attack(draw: random.Random, parameters: Parameters) -> None:
    number = draw.randrange(6)
    stage = stages(parameters)[number]
    earlier = [one.message for one in stages(PARAMETERS[0])]
    pool = [bytes(32), *(point.tobytes() for point in hash_to_group([b"x", b"y"], b"fuzz"))]
    pool += [earlier[2][HEADER_BYTES + 32 :][:32], stages(parameters)[2].message[-64:-32]]
    kind = draw.choice(("outsider", "outsider", "sealing", "confirming"))
    if kind == "outsider":
        replay = draw.random() < 0.05
        message = draw.choice(earlier) if replay else mutated(draw, stage.message, pool)
    else:
        keeps = draw.random() < 0.8  # the length in the header, so that more of it is parsed
        body = mutated(draw, stage.message[HEADER_BYTES:-SEAL_BYTES], pool)
        header = stage.message[: HEADER_BYTES - 8] + len(body).to_bytes(8, "big")
        if not keeps:
            header = mutated(draw, header, pool)[:HEADER_BYTES]
        message = header + body + bytes(SEAL_BYTES)
        if kind == "confirming" and number >= ANSWER:
            message = stage.confirm(message)
        message = stage.seal(message)
    victim = finish(stage, message)
    if victim is None or (victim._found is None and parameters.output == "receiver"):
        return
    own = ITEMS[type(victim)]  # type: ignore[index]
    found = [own[index] for index in victim.matches]
    assert len(set(found)) == len(found)
    if kind == "outsider" or message == stage.message:
        assert set(found) == SHARED
    elif kind == "sealing" or number != ANSWER:
        assert set(found) <= SHARED
    if victim.peer_counts is not None:
        assert len(victim.peer_counts) == len(found)
        assert np.all(victim.peer_counts > 0)


def test_the_harness_lets_unchanged_messages_through() -> None:
    # Otherwise everything below could pass because everything is refused.
    for parameters in PARAMETERS:
        for number, stage in enumerate(stages(parameters)):
            message = stage.message
            if number >= ANSWER:
                message = stage.confirm(message)
            assert stage.seal(message) == stage.message
            victim = finish(stage, message)
            assert victim is not None


@pytest.mark.parametrize("seed", range(3))
def test_a_thousand_mutated_messages(seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311 - reproducible attacks
    for _ in range(1000):
        attack(draw, draw.choice(PARAMETERS))


@pytest.mark.slow
def test_a_hundred_thousand_mutated_messages() -> None:
    draw = random.Random(100_000)  # noqa: S311
    for _ in range(100_000):
        attack(draw, draw.choice(PARAMETERS))
