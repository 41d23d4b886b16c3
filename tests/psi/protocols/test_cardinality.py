"""Cardinality: right numbers, nothing that says which, and hostile peers refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psi import (
    CardinalityReceiver,
    CardinalitySender,
    ConfigError,
    DecodeError,
    InvalidPointError,
    KeyConfirmationError,
    RepeatedElementError,
    Sender,
    SessionParameters,
    StateError,
    TranscriptError,
)
from tests.psi.peers import (
    BAD_POINTS,
    HEADER_BYTES,
    KEY_PROOF_BYTES,
    MAC_BYTES,
    SEAL_BYTES,
    copy_within,
    forge,
    patch,
    run,
    sent,
)

LEFT, RIGHT = [b"a", b"b", b"c"], [b"c", b"d", b"a", b"e"]
CONFIRMED = (3, 4, 5)
MANY = [bytes([value]) for value in range(200)]


def pair() -> tuple[CardinalityReceiver, CardinalitySender]:
    return CardinalityReceiver(LEFT), CardinalitySender(RIGHT)


items = st.lists(st.binary(max_size=3), unique=True, max_size=12)


@given(items, items)
@settings(max_examples=40, deadline=None)
def test_the_number_is_that_of_python_sets(left: list[bytes], right: list[bytes]) -> None:
    receiver, sender = CardinalityReceiver(left), CardinalitySender(right)
    run(receiver, sender)
    assert receiver.cardinality == sender.cardinality == len(set(left) & set(right))


@pytest.mark.parametrize(
    ("left", "right"),
    [([], []), ([], MANY), (MANY, []), (MANY, MANY), (MANY[:100], MANY[100:]), (MANY, MANY[:1])],
)
def test_adversarial_sizes(left: list[bytes], right: list[bytes]) -> None:
    receiver, sender = CardinalityReceiver(left), CardinalitySender(right)
    run(receiver, sender)
    assert receiver.cardinality == sender.cardinality == len(set(left) & set(right))


def test_only_the_receiver_learns_if_so_agreed() -> None:
    parameters = SessionParameters(output="receiver")
    receiver, sender = CardinalityReceiver(LEFT, parameters), CardinalitySender(RIGHT, parameters)
    messages = run(receiver, sender)
    assert receiver.cardinality == 2
    with pytest.raises(StateError, match="receiver only"):
        _ = sender.cardinality
    assert [len(message) - HEADER_BYTES - SEAL_BYTES for message in messages[4:]] == [32, 32]


def test_nobody_learns_which() -> None:
    receiver, sender = CardinalityReceiver(MANY), CardinalitySender(MANY)
    messages = run(receiver, sender)
    for party in (receiver, sender):
        with pytest.raises(StateError, match="not which"):
            _ = party.matches
    # The tags come back sorted, whatever the order of the points that they answer.
    width = receiver._tag_bytes  # noqa: SLF001  (where the body is cut)
    for message, start in (
        (messages[3], MAC_BYTES + 32 * 201 + KEY_PROOF_BYTES),
        (messages[4], MAC_BYTES),
    ):
        tags = message[HEADER_BYTES + start : -SEAL_BYTES]
        cut = [tags[i : i + width] for i in range(width, len(tags), width)]
        assert len(cut) == 200
        assert cut == sorted(cut)


def test_settings_without_a_meaning_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiplicities"):
        CardinalityReceiver(LEFT, SessionParameters(multiplicities=True))


def test_another_protocol_is_another_session() -> None:
    with pytest.raises(TranscriptError):
        Sender(RIGHT).receive(sent(CardinalityReceiver(LEFT).start()))


# -- hostile peers ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize(("stop", "start"), [(2, 0), (2, 64), (3, 32), (3, 96)])
def test_invalid_points(name: str, stop: int, start: int) -> None:
    with pytest.raises(InvalidPointError):
        forge(pair, stop, patch(start, BAD_POINTS[name]))


@pytest.mark.parametrize(("stop", "start"), [(2, 0), (3, 32)])
def test_repeated_points(stop: int, start: int) -> None:
    # They would count one item several times.
    with pytest.raises(RepeatedElementError):
        forge(pair, stop, copy_within(start + 32, start + 64))


def test_our_own_points_sent_back() -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[64:96] = messages[2][HEADER_BYTES + 32 :][:32]

    with pytest.raises(RepeatedElementError, match="our own"):
        forge(pair, 3, change)


TAGS = MAC_BYTES + 32 * 5 + KEY_PROOF_BYTES
WIDTH = 6


@pytest.mark.parametrize(("stop", "start"), [(3, TAGS), (4, MAC_BYTES)])
def test_repeated_unsorted_and_wrongly_keyed_tags(stop: int, start: int) -> None:
    first = start + WIDTH
    with pytest.raises(RepeatedElementError, match="tag"):
        forge(pair, stop, copy_within(first, first + WIDTH, WIDTH), confirm=True)

    def swap(body: bytearray, messages: list[bytes]) -> None:
        second = first + WIDTH
        body[first:second], body[second : second + WIDTH] = (
            body[second : second + WIDTH],
            body[first:second],
        )

    with pytest.raises(DecodeError, match="order"):
        forge(pair, stop, swap, confirm=True)
    with pytest.raises(KeyConfirmationError, match="another key"):
        forge(pair, stop, patch(start, bytes(WIDTH)), confirm=True)


def test_another_number_than_our_own() -> None:
    class Miscounting(CardinalityReceiver):
        @property
        def _announced(self) -> int:
            return super()._announced + 1

    with pytest.raises(DecodeError, match="different matches"):
        run(Miscounting(LEFT), CardinalitySender(RIGHT))
