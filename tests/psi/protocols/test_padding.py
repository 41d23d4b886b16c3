"""Padding: sizes are hidden, results stay, and nobody has our dummies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psi import (
    CardinalityReceiver,
    CardinalitySender,
    ConfigError,
    DecodeError,
    Receiver,
    Sender,
    SessionParameters,
    SizeLimitError,
    SumParameters,
    SumReceiver,
    SumSender,
    padded,
)
from tests.psi.peers import run, sent

items = st.lists(st.binary(max_size=2), unique=True, max_size=8)


def pad(own: list[bytes], to: int, receiver: bool) -> list[bytes]:
    return padded(own, to, side="receiver" if receiver else "sender")


@given(items, items, st.integers(8, 20), st.integers(8, 20))
@settings(max_examples=40, deadline=None)
def test_results_stay(left: list[bytes], right: list[bytes], one: int, other: int) -> None:
    shared = set(left) & set(right)
    receiver, sender = Receiver(pad(left, one, True)), Sender(pad(right, other, False))
    run(receiver, sender)
    assert {left[index] for index in receiver.matches} == shared
    assert {right[index] for index in sender.matches} == shared
    counting = (
        CardinalityReceiver(pad(left, one, True)),
        CardinalitySender(pad(right, other, False)),
    )
    run(*counting)
    assert counting[0].cardinality == len(shared)


@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8), st.integers(0, 8))
@settings(max_examples=20, deadline=None)
def test_messages_measure_what_the_padded_sizes_say(a: int, b: int, c: int, d: int) -> None:
    # Without a match; the number of matches is a result, which both sides learn.
    def lengths(left: int, right: int) -> list[tuple[int, bytes]]:
        sets = [
            [prefix + bytes([i]) for i in range(n)] for prefix, n in ((b"l", left), (b"r", right))
        ]
        messages = run(Receiver(pad(sets[0], 8, True)), Sender(pad(sets[1], 9, False)))
        return [(len(message), message[24:32]) for message in messages]

    assert lengths(a, b) == lengths(c, d)


def test_sums_stay() -> None:
    parameters = SumParameters(minimum=1)
    receiver = SumReceiver(pad([b"a", b"b"], 10, True), parameters)
    sender = SumSender(pad([b"b"], 12, False), [7] + [0] * 11, parameters)
    run(receiver, sender)
    assert (receiver.sum, sender.sum) == (7, 7)


def test_dummies_are_fresh_and_of_disjoint_domains() -> None:
    mine, again, theirs = pad([b"a"], 100, True), pad([b"a"], 100, True), pad([b"a"], 100, False)
    assert set(mine) & set(again) == set(mine) & set(theirs) == {b"a"}
    assert len({dummy[:-32] for dummy in mine[1:] + again[1:]}) == 1
    assert {dummy[:-32] for dummy in mine[1:]} != {dummy[:-32] for dummy in theirs[1:]}
    assert mine[1].hex() not in repr(mine)


def test_padding_is_refused_where_it_cannot_be() -> None:
    with pytest.raises(ConfigError, match="3 items do not fit"):
        padded([b"a", b"b", b"c"], 2, side="sender")
    with pytest.raises(ConfigError, match="side"):
        padded([], 2, side="left")  # type: ignore[arg-type]


def test_the_padded_size_is_the_one_that_is_limited() -> None:
    sender = Sender([b"a"], max_peer_items=9)
    with pytest.raises(SizeLimitError):
        sender.receive(sent(Receiver(pad([], 10, True)).start()))


def test_a_peer_that_claims_our_dummies() -> None:
    items = pad([b"b"], 3, False)
    sender = Sender(items)
    with pytest.raises(DecodeError, match="dummies of this side"):
        run(Receiver(items[1:]), sender)  # which nobody else knows, unless by chance
    assert not sender.done


def test_multiplicities_of_padded_sets() -> None:
    parameters = SessionParameters(multiplicities=True)
    counts = np.array([2, 1, 1])
    receiver = Receiver(pad([b"a"], 3, True), parameters, counts=counts)
    sender = Sender([b"a"], parameters, counts=np.array([5]))
    run(receiver, sender)
    assert receiver.peer_counts is not None
    assert sender.peer_counts is not None
    assert receiver.peer_counts.tolist() == [5]
    assert sender.peer_counts.tolist() == [2]
