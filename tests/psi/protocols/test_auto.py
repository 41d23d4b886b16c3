"""The protocol chosen by both sizes: the cheaper one, the same at both sides, whatever is sent."""

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from psi import (
    ConfigError,
    DecodeError,
    ProtocolError,
    QueryLimitError,
    SessionParameters,
    SizeLimitError,
    StateError,
    TranscriptError,
)
from psi.protocols.auto import MEGABITS, OFFERED, AutoReceiver, AutoSender, cheapest
from psi.protocols.intersection import Effort
from psi.protocols.messages import MessageType, Transcript
from tests.psi.peers import COUNTED, HEADER_BYTES, LEFT, RIGHT, SEAL_BYTES, run, sent

FEW, MANY = 20, 800
NOT_A_NUMBER = struct.pack(">d", math.nan)
NAMES = [one.name for one in OFFERED]


def items(count: int, first: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


def pair(count: int, other: int, **options: Any) -> tuple[AutoReceiver, AutoSender]:
    return AutoReceiver(items(count), **options), AutoSender(items(other, count // 2), **options)


@pytest.mark.parametrize(("count", "other"), [(FEW, FEW), (MANY, MANY), (0, 0), (FEW, 4 * MANY)])
def test_both_run_the_cheaper_one_and_say_why(count: int, other: int) -> None:
    receiver, sender = pair(count, other)
    run(receiver, sender)
    number, words = cheapest(count, other, source="assumed")
    assert receiver.protocol == sender.protocol == NAMES[number]
    assert receiver.reason == sender.reason == words
    assert receiver.counted_as == sender.counted_as or number == 1
    shared = [items(count)[row] for row in receiver.matches]
    assert sorted(shared) == sorted(set(items(count)) & set(items(other, count // 2)))
    assert [items(other, count // 2)[row] for row in sender.matches] == shared


def test_few_are_for_ecdh_and_many_for_vole() -> None:
    assert NAMES == ["ecdh", "vole"]
    assert [cheapest(n, n)[0] for n in (1, 100, 1_000, 10**5, 10**7)] == [0, 0, 1, 1, 1]
    assert cheapest(1_000, 1_000, 1)[0] == 0  # on a slow line bytes count, which are few in ecdh
    assert cheapest(MANY, MANY, None)[0] == 1


def test_it_is_the_least_of_what_is_computed_and_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    efforts = {"ecdh": Effort(3, 0), "vole": Effort(1, 1e6)}
    for one in OFFERED:
        monkeypatch.setitem(one.__dict__, "effort", lambda n, m, name=one.name: efforts[name])
    assert [cheapest(1, 1, megabits)[0] for megabits in (3.9, 4.1, None)] == [0, 1, 1]
    assert cheapest(1_000, 20, 4.1)[1] == (
        "1,000 and 20 IDs over 4.1 Mbit/s take ecdh about 3 s, vole about 3 s"
    )


@pytest.mark.parametrize(
    ("mine", "yours", "used"), [(None, None, MEGABITS), (1, None, 1), (None, 2, 2), (900, 2, 2)]
)
def test_the_slower_line_counts(mine: float | None, yours: float | None, used: float) -> None:
    receiver = AutoReceiver(items(MANY), megabits=mine)
    sender = AutoSender(items(MANY), megabits=yours)
    run(receiver, sender)
    assert f" over {used:g} Mbit/s " in receiver.reason == sender.reason
    assert receiver.protocol == NAMES[cheapest(MANY, MANY, used)[0]]


@pytest.mark.parametrize("megabits", [0, -1, math.inf, math.nan])
def test_no_such_speed(megabits: float) -> None:
    with pytest.raises(ConfigError, match="positive number of Mbit/s"):
        AutoReceiver(LEFT, megabits=megabits)


@pytest.mark.parametrize("size", [FEW, MANY])
def test_settings_and_counts_go_along(size: int) -> None:
    counts = np.arange(1, size + 1)
    receiver = AutoReceiver(items(size), COUNTED, counts=counts)
    sender = AutoSender(items(size), COUNTED, counts=counts[::-1])
    run(receiver, sender)
    assert receiver.peer_counts is not None
    assert np.array_equal(receiver.peer_counts, size - receiver.matches)
    alone = SessionParameters(output="receiver")
    receiver, sender = AutoReceiver(items(size), alone), AutoSender(items(size), alone)
    run(receiver, sender)
    assert len(receiver.matches) == size
    with pytest.raises(StateError, match="to the receiver only"):
        _ = sender.matches


@pytest.mark.parametrize("size", [FEW, MANY])
def test_limits_are_those_of_the_protocol_that_is_chosen(size: int) -> None:
    receiver, sender = pair(size, size, max_peer_items=size - 1)
    with pytest.raises(SizeLimitError):
        run(receiver, sender)
    number, _ = cheapest(size, size)
    asked = [
        party.most_asked(0, size)
        for party in (OFFERED[number].parties[1], OFFERED[number].parties[0])
    ]
    counted: list[list[int]] = [[], []]
    receiver, sender = pair(size, size)
    sender.charge_with(lambda peer, items: counted[0].append(items))
    receiver.charge_with(lambda peer, items: counted[1].append(items))
    run(receiver, sender)
    assert counted == [[asked[0]], [asked[1]]]

    def refuse(peer: int, items: int) -> None:
        raise QueryLimitError("enough")

    receiver, sender = pair(size, size)
    sender.charge_with(refuse)
    with pytest.raises(QueryLimitError):
        run(receiver, sender)


def test_one_within_the_limit_is_taken_where_the_cheaper_one_counts_more() -> None:
    assert cheapest(MANY, MANY)[0] == 1
    sender = AutoSender(items(MANY))
    receiver = AutoReceiver(items(MANY), max_peer_items=MANY)  # a sender counts for no more
    run(receiver, sender)
    assert receiver.protocol == sender.protocol == "vole"
    sender = AutoSender(items(MANY), max_peer_items=MANY)
    receiver = AutoReceiver(items(MANY))
    run(receiver, sender)
    assert receiver.protocol == sender.protocol == "ecdh"
    asked = OFFERED[1].parties[1].most_asked(0, MANY)
    words = f"vole would count {asked:,} IDs for {MANY:,}, which is over this side's limit"
    assert (sender.reason, receiver.reason) == (words, "the other side chose it")


@pytest.mark.parametrize("size", [FEW, MANY])
def test_a_session_is_bound_to_both_certificates(size: int) -> None:
    receiver, sender = pair(size, size)
    receiver.between(0, "bob", "alice")
    sender.between(0, "alice", "bob")
    run(receiver, sender)
    receiver, sender = pair(size, size)
    receiver.between(0, "bob", "mallory")
    sender.between(0, "alice", "mallory")
    with pytest.raises(TranscriptError):
        run(receiver, sender)


@pytest.mark.parametrize("size", [FEW, MANY])
def test_work_ahead_changes_nothing(size: int) -> None:
    receiver, sender = pair(size, size)
    message, to_sender = receiver.start(), True
    while message is not None:
        receiver.idle()
        sender.idle()
        message = (sender if to_sender else receiver).receive(message)
        to_sender = not to_sender
    assert receiver.done
    assert sender.done
    assert len(receiver.matches) == len(sender.matches) == size - size // 2


def offer(change: Callable[[bytes, list[bytes]], bytes]) -> bytes:
    """An offer with another body, as a receiver that cheats may send it."""
    receiver = AutoReceiver(LEFT)
    body = sent(receiver.start())[HEADER_BYTES:-SEAL_BYTES]
    hellos, rest = [], body[8:]
    for _ in OFFERED:
        length = HEADER_BYTES + SEAL_BYTES + int.from_bytes(rest[32:40], "big")
        hellos.append(rest[:length])
        rest = rest[length:]
    assert rest == bytes(12 << 10)
    return Transcript("auto").seal(MessageType.OFFER, 3, change(body[:8], hellos))


def test_an_offer_that_is_not_changed_is_taken() -> None:
    message = offer(lambda speed, hellos: speed + b"".join(hellos))
    assert AutoSender(RIGHT).receive(message) is not None


def test_only_an_offer_whose_size_leaves_the_choice_open_is_padded() -> None:
    lengths = [len(sent(AutoReceiver(items(n)).start())) for n in (20, MANY, 10_000)]
    assert lengths[0] == lengths[1] == lengths[2] + (12 << 10)
    assert len(sent(AutoReceiver(items(MANY), megabits=100).start())) == lengths[2]


@pytest.mark.parametrize(("measured", "number"), [(1.04, 0), (9_000, 1)])
def test_a_speed_that_is_measured_decides(measured: float, number: int) -> None:
    receiver, sender = pair(MANY, MANY)
    sender.take_speed(0, measured)
    run(receiver, sender)
    assert receiver.protocol == sender.protocol == NAMES[number]
    told = f" over {float(f'{measured:.2g}'):,g} Mbit/s (measured) take "
    assert told in receiver.reason == sender.reason


@pytest.mark.parametrize(("yours", "used"), [(200, 200), (None, 300)])
def test_what_is_given_goes_before_what_is_measured(yours: float | None, used: float) -> None:
    receiver = AutoReceiver(items(MANY), megabits=300)
    sender = AutoSender(items(MANY), megabits=yours)
    sender.take_speed(0, 1)
    run(receiver, sender)
    assert f" over {used} Mbit/s (given) " in receiver.reason == sender.reason


def test_no_speed_is_used_where_none_decides() -> None:
    receiver, sender = pair(20_000, 20_000)
    sender.take_speed(0, 1)
    run(receiver, sender)
    assert receiver.reason == cheapest(20_000, 20_000, source="assumed")[1]


BAD_OFFERS: dict[str, Callable[[bytes, list[bytes]], bytes]] = {
    "nothing": lambda speed, hellos: b"",
    "no hello": lambda speed, hellos: speed,
    "one hello": lambda speed, hellos: speed + hellos[0],
    "three hellos": lambda speed, hellos: speed + hellos[0] + hellos[1] + hellos[1],
    "in another order": lambda speed, hellos: speed + hellos[1] + hellos[0],
    "a hello that is cut": lambda speed, hellos: speed + hellos[0] + hellos[1][:-1],
    "a hello that ends in its header": lambda speed, hellos: speed + hellos[0] + hellos[1][:20],
    "half a padding": lambda speed, hellos: speed + b"".join(hellos) + bytes(6 << 10),
    "no psi message": lambda speed, hellos: speed + hellos[0] + bytes(len(hellos[1])),
    "a speed of NaN": lambda speed, hellos: NOT_A_NUMBER + b"".join(hellos),
    "a negative speed": lambda speed, hellos: struct.pack(">d", -1) + b"".join(hellos),
    "no end of speed": lambda speed, hellos: struct.pack(">d", math.inf) + b"".join(hellos),
}


@pytest.mark.parametrize("name", BAD_OFFERS)
def test_bad_offers(name: str) -> None:
    sender = AutoSender(RIGHT)
    with pytest.raises(ProtocolError):
        sender.receive(offer(BAD_OFFERS[name]))
    with pytest.raises(StateError):
        sender.receive(offer(lambda speed, hellos: speed + b"".join(hellos)))


BAD_CHOICES: dict[str, Callable[[int, bytes, bytes], tuple[int, bytes]]] = {
    "of what was not offered": lambda number, speed, hello: (len(OFFERED), speed + hello),
    "of the other one": lambda number, speed, hello: (1 - number, speed + hello),
    "nothing": lambda number, speed, hello: (number, b""),
    "without a hello": lambda number, speed, hello: (number, speed),
    "with half a hello": lambda number, speed, hello: (number, speed + hello[: len(hello) // 2]),
    "for no speed": lambda number, speed, hello: (number, bytes(9) + hello),
    "for a speed of NaN": lambda number, speed, hello: (number, NOT_A_NUMBER + bytes(1) + hello),
    "for a speed from nowhere": lambda number, speed, hello: (number, speed[:8] + b"\3" + hello),
}


@pytest.mark.parametrize("name", BAD_CHOICES)
def test_bad_choices(name: str) -> None:
    receiver, sender = AutoReceiver(LEFT), AutoSender(RIGHT)
    transcript = Transcript("auto")
    message = sent(receiver.start())
    transcript.open(MessageType.OFFER, message)
    answer = sent(sender.receive(message))
    body = answer[HEADER_BYTES:-SEAL_BYTES]
    number, changed = BAD_CHOICES[name](int.from_bytes(answer[24:32], "big"), body[:9], body[9:])
    with pytest.raises(ProtocolError) as error:
        receiver.receive(transcript.seal(MessageType.CHOSEN, number, changed))
    assert name == "of the other one" or isinstance(error.value, DecodeError)
    assert not receiver.done


def test_a_sender_that_chooses_otherwise_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, sender = pair(FEW, FEW)
    message = sent(receiver.start())
    with monkeypatch.context() as patch:
        patch.setattr("psi.protocols.auto.cheapest", lambda *sizes: (1, "as I like it"))
        answer = sender.receive(message)
    receiver.receive(sent(answer))
    assert (receiver.protocol, receiver.reason) == ("vole", "the other side chose it")
