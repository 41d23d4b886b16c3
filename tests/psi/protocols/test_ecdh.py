"""The two state machines: right results, and a named error for whatever a peer may send."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psi import (
    ConfigError,
    ProtocolError,
    Receiver,
    Sender,
    SessionParameters,
    StateError,
)
from psi.protocols.party import tag_bytes
from tests.psi.peers import sent

HEADER_BYTES, SEAL_BYTES = 40, 32
LEFT, RIGHT = [b"a", b"b", b"c"], [b"c", b"d", b"a", b"e"]


def run(receiver: Receiver, sender: Sender) -> list[bytes]:
    """Carry all messages; returns them in order."""
    messages, message, to_sender = [], receiver.start(), True
    while message is not None:
        messages.append(message)
        message = (sender if to_sender else receiver).receive(message)
        to_sender = not to_sender
    return messages


items = st.lists(st.binary(max_size=4), unique=True, max_size=12)


@given(items, items)
@settings(max_examples=60, deadline=None)
def test_both_sides_find_the_intersection_in_one_order(
    left: list[bytes], right: list[bytes]
) -> None:
    receiver, sender = Receiver(left), Sender(right)
    run(receiver, sender)
    at_left = [left[index] for index in receiver.matches]
    assert at_left == [right[index] for index in sender.matches]
    assert len(at_left) == len(set(at_left))
    assert set(at_left) == set(left) & set(right)


def test_only_the_receiver_learns_if_so_agreed() -> None:
    parameters = SessionParameters(output="receiver")
    receiver, sender = Receiver(LEFT, parameters), Sender(RIGHT, parameters)
    messages = run(receiver, sender)
    assert {LEFT[index] for index in receiver.matches} == {b"a", b"c"}
    with pytest.raises(StateError, match="receiver only"):
        _ = sender.matches
    # The sender's view after the answer has the length of a confirmation, whatever matched.
    assert [len(message) - HEADER_BYTES - SEAL_BYTES for message in messages[4:]] == [32, 32]


def test_two_sessions_share_nothing() -> None:
    first, second = (run(Receiver(LEFT), Sender(RIGHT)) for _ in range(2))
    for one, other in zip(first[2:], second[2:], strict=True):
        blocks = [
            {body[i : i + 32] for i in range(0, len(body), 32)}
            for body in (one[HEADER_BYTES:], other[HEADER_BYTES:])
        ]
        assert blocks[0].isdisjoint(blocks[1])


def test_own_points_are_shuffled() -> None:
    many = [bytes([value]) for value in range(64)]
    receiver, sender = Receiver(many), Sender(many)
    run(receiver, sender)
    assert sorted(receiver._order) == list(range(64))
    assert list(receiver._order) != list(range(64))
    assert list(receiver._order) != list(sender._order)


@pytest.mark.parametrize(("n1", "n2"), [(0, 0), (1, 1), (500, 500), (2**20, 2**20), (2**27, 100)])
def test_tags_bound_false_matches_by_2_to_the_minus_40(n1: int, n2: int) -> None:
    assert (n1 + 1) * (n2 + 1) / 2 ** (8 * tag_bytes(n1, n2)) <= 2**-40


def test_repeated_own_items_are_refused() -> None:
    with pytest.raises(ConfigError, match="repeat"):
        Receiver([b"a", b"a"])


def test_unknown_output_is_refused() -> None:
    with pytest.raises(ConfigError, match="output"):
        Sender([b"a"], SessionParameters(output="everybody"))  # type: ignore[arg-type]


def test_no_result_before_the_end() -> None:
    receiver = Receiver(LEFT)
    receiver.start()
    with pytest.raises(StateError):
        _ = receiver.matches


def test_a_session_starts_and_ends_once() -> None:
    receiver, sender = Receiver(LEFT), Sender(RIGHT)
    messages = run(receiver, sender)
    assert receiver.done
    assert sender.done
    with pytest.raises(StateError):
        receiver.start()
    with pytest.raises(StateError):
        sender.receive(messages[0])


def test_secrets_are_neither_shown_nor_pickled() -> None:
    receiver = Receiver(LEFT)
    assert repr(receiver) == "Receiver(3 items)"
    with pytest.raises(TypeError):
        pickle.dumps(receiver)


def test_secrets_are_forgotten_after_use_and_after_a_failure() -> None:
    receiver, sender = Receiver(LEFT), Sender(RIGHT)
    run(receiver, sender)
    other, failing = Receiver(LEFT), Sender(RIGHT)
    points = other.receive(sent(failing.receive(sent(other.start()))))
    answer = failing.receive(sent(points))
    with pytest.raises(ProtocolError):
        failing.receive(sent(answer))
    for party in (sender, failing):
        assert (party._key, party._mac_key, party._own) == (None, b"", [])
    assert (receiver._exchange, receiver._mac_key, receiver._blinds) == (None, b"", [])


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_multiplicities_reach_the_other_side(data: st.DataObject) -> None:
    left, right = data.draw(items), data.draw(items)
    counts = []
    for own in (left, right):
        size = st.lists(st.integers(1, 1000), min_size=len(own), max_size=len(own))
        counts.append(np.array(data.draw(size), np.intp))
    counted = SessionParameters(multiplicities=True)
    receiver, sender = (
        Receiver(left, counted, counts=counts[0]),
        Sender(right, counted, counts=counts[1]),
    )
    run(receiver, sender)
    assert receiver.peer_counts is not None
    assert sender.peer_counts is not None
    assert np.array_equal(receiver.peer_counts, counts[1][sender.matches])
    assert np.array_equal(sender.peer_counts, counts[0][receiver.matches])


@pytest.mark.parametrize("counts", [None, [1, 2], [1, 2, 3, 4], [1, 0, 2], [[1, 2, 3]]])
def test_counts_that_are_none(counts: list[int] | None) -> None:
    given_counts = None if counts is None else np.array(counts, np.intp)
    with pytest.raises(ConfigError, match="counts"):
        Receiver(LEFT, SessionParameters(multiplicities=True), counts=given_counts)


def test_counts_need_both_results() -> None:
    with pytest.raises(ConfigError, match="both"):
        SessionParameters(output="receiver", multiplicities=True)
    with pytest.raises(ConfigError, match="counts"):
        Receiver(LEFT, counts=np.ones(3, np.intp))
