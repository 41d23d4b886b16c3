"""Parsers of what others send: whatever the bytes, only errors that have a name here."""

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord

from privfed.errors import ConfigError, DecodeError, PrivFedError
from privfed.integrations import messages
from privfed.integrations.flower.records import array_bytes, arrays_of, bytes_array
from privfed.integrations.hello import MOST_BYTES, read_hello
from privfed.integrations.kept import digest_of_model
from privfed.integrations.messages import Done, Greet, PastRound, Present, Refused, encode
from privfed.integrations.server import EmbeddedServer
from privfed.integrations.spool import read_checkpoint, write_checkpoint
from tests.integrations.jobs import START
from tests.integrations.server_in_hand import Hand
from tests.mutations import KINDS, mutations

EXAMPLES = {
    "ask": encode(Greet(bytes(32), 3, bytes(32), (PastRound(2, (0, 1)),))),
    "answer": encode(Present(b"hello" * 40, b"{}")),
    "done": encode(Done(4)),
    "refused": encode(Refused("ConfigError")),
    "checkpoint": write_checkpoint(PastRound(3), bytes(100)),
}
READERS: dict[str, Callable[[bytes], Any]] = {
    "ask": messages.read_ask,
    "answer": messages.read_answer,
    "done": messages.read_answer,
    "refused": messages.read_answer,
    "checkpoint": read_checkpoint,
}
"""Which parser reads which."""


@pytest.mark.parametrize("kind", READERS)
def test_readers_of_messages_raise_named_errors_alone(kind: str) -> None:
    read, good = READERS[kind], EXAMPLES[kind]
    assert read(good)
    refused = 0
    for data in (*_extremes(), *_mutated(good, 2_000)):
        try:
            read(data)
        except DecodeError:
            refused += 1
    assert refused > 1_000


def _mutated(good: bytes, count: int) -> list[bytes]:
    rng = random.Random(good)  # noqa: S311  (mutations are to be the same in every run)
    each = -(-count // len(KINDS))
    return [data for kind in KINDS for data in mutations(rng, good, kind, each)]


def _extremes() -> list[bytes]:
    return [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",  # arrays, texts and bytes that announce 4 GB
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xa4gree\xff",
        b"\x96\xa5greet" + b"\xc4\x20" + bytes(32) + b"\xcf" + b"\xff" * 8 + b"\xc4\x00\x90",
        bytes(messages.MOST_BYTES + 1),
    ]


def test_what_is_too_long_is_not_even_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(*args: Any, **more: Any) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr("msgspec.msgpack.decode", parsed)
    for read in (messages.read_ask, messages.read_answer):
        with pytest.raises(DecodeError):
            read(bytes(messages.MOST_BYTES + 1))


def test_hellos_raise_named_errors_alone_and_are_verified_before_they_are_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = Hand(tmp_path / "keys", 2)
    good = hand.greet(0, digest_of_model(START))
    assert len(good) <= MOST_BYTES
    assert read_hello(good, hand.params)[0] == 0

    def parsed(*args: Any, **more: Any) -> None:
        raise AssertionError("parsed before it was verified")

    monkeypatch.setattr("msgspec.msgpack.decode", parsed)
    for data in (*_extremes(), *_mutated(good, 300)):
        if data == good:
            continue
        with pytest.raises(PrivFedError):
            read_hello(data, hand.params)


def test_a_signed_hello_of_another_form_is_refused(tmp_path: Path) -> None:
    """A party that signs what it likes."""
    hand = Hand(tmp_path / "keys", 2)
    place, good = read_hello(hand.greet(0, digest_of_model(START)), hand.params)
    with hand.party(0) as party:
        identity = vars(party)["_ring"].identity
    whole = good.signed(place, identity)
    body = whole[: -len(identity.sign(b""))]
    for data in (body[2:-1], body[2:] + b"\x00", b"\x90", b"", b"\xc1", b"\x91" * 900):
        signed = body[:2] + data
        with pytest.raises(DecodeError):
            read_hello(
                signed + identity.sign(b"privfed/1/embedded hello\x00" + signed), hand.params
            )


def test_an_array_of_flower_that_is_none_raises_named_errors_alone() -> None:
    good = bytes_array(bytes(range(200))).data
    plain = Array(np.ones((2, 3), np.float32)).data
    huge = good.replace(b"(200,)", b"(9999999999999,)")
    zipped, pickled = b"PK\x03\x04" + bytes(40), b"\x80\x04K\x01."
    extremes = [b"", zipped, pickled, b"\x93NUMPY\x09\x09", huge, plain]
    for data in (*extremes, *_mutated(good, 500), *_mutated(plain, 500)):
        array = Array(dtype="uint8", shape=(200,), stype="numpy.ndarray", data=data)
        with contextlib.suppress(DecodeError):
            assert isinstance(array_bytes(array), bytes)
        with contextlib.suppress(ConfigError):
            assert isinstance(arrays_of(ArrayRecord({"a": array}))["a"], np.ndarray)
    other = Array(dtype="uint8", shape=(3,), stype="torch", data=b"abc")
    with pytest.raises(DecodeError):
        array_bytes(other)


def test_a_server_takes_no_answer_that_it_cannot_read(tmp_path: Path) -> None:
    """Whatever a node says: an error with a name, and no party is in the run for it."""
    hand = Hand(tmp_path / "keys", 2)
    start = digest_of_model(START)
    hello = hand.greet(0, start)
    good = encode(Present(hello, hand.params.to_bytes()))
    server: EmbeddedServer[int] = EmbeddedServer(START)
    server.hear(1, good)
    server.close()
    for data in (*_extremes(), *_mutated(good, 200), encode(Done(1)), encode(Refused("x" * 60))):
        fresh: EmbeddedServer[int] = EmbeddedServer(START)
        with contextlib.suppress(PrivFedError):
            fresh.hear(1, data)
            fresh.settle()
        with pytest.raises(PrivFedError):
            fresh.took(9, data)
        with pytest.raises(PrivFedError):
            fresh.add(9, data, data)
        fresh.close()
