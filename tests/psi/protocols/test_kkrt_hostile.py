"""Hostile and mistaken peers of kkrt: a named error for whatever they send, no wrong result."""

import numpy as np
import pytest

import psi.protocols.ecdh
import psi.protocols.kkrt.layout
from psi import (
    DecodeError,
    InvalidPointError,
    KeyConfirmationError,
    ParameterMismatchError,
    RepeatedElementError,
    SessionParameters,
    SizeLimitError,
    TranscriptError,
)
from psi.group.ristretto255 import hash_to_group
from psi.protocols.kkrt import Receiver, Sender
from psi.protocols.kkrt.layout import MOST_ITEMS
from tests.psi.peers import (
    BAD_POINTS,
    MAC_BYTES,
    POINT_BYTES,
    Attack,
    copy_within,
    forge,
    patch,
    sent,
)

LEFT, RIGHT = [b"a", b"b", b"c"], [b"c", b"d", b"a", b"e"]
OT_KEY, OT_CHOICES, MATRIX, TAGS, FINISH, CLOSE = range(2, 8)
CONFIRMED = (MATRIX, TAGS, FINISH, CLOSE)
OTHER_POINT = hash_to_group([b"another"], b"test").tobytes()


def pair() -> tuple[Receiver, Sender]:
    return Receiver(LEFT), Sender(RIGHT)


def pair_with_counts() -> tuple[Receiver, Sender]:
    parameters = SessionParameters(multiplicities=True)
    return (
        Receiver(LEFT, parameters, counts=np.array([1, 2, 3])),
        Sender(RIGHT, parameters, counts=np.array([1, 2, 3, 4])),
    )


@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize(("stop", "start"), [(OT_KEY, 0), (OT_CHOICES, 0), (OT_CHOICES, 32 * 700)])
def test_invalid_points(name: str, stop: int, start: int) -> None:
    with pytest.raises(InvalidPointError):
        forge(pair, stop, patch(start, BAD_POINTS[name]))


def test_repeated_points() -> None:
    with pytest.raises(RepeatedElementError):
        forge(pair, OT_CHOICES, copy_within(0, 32 * 900))


def test_our_own_key_sent_back() -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[64:96] = messages[OT_KEY][40:72]

    with pytest.raises(RepeatedElementError, match="ours"):
        forge(pair, OT_CHOICES, change)


@pytest.mark.parametrize(("stop", "start"), [(OT_KEY, 0), (OT_CHOICES, 0), (OT_CHOICES, 32 * 511)])
def test_transfers_that_do_not_fit_are_no_empty_result(stop: int, start: int) -> None:
    attack = Attack(pair, stop)
    body = bytearray(attack.message[40:-32])
    body[start : start + POINT_BYTES] = OTHER_POINT
    with pytest.raises(KeyConfirmationError):
        attack.finish(attack.sealed(bytes(body)))


@pytest.mark.parametrize("stop", CONFIRMED)
@pytest.mark.parametrize("place", [0, -1])
def test_unconfirmed_content(stop: int, place: int) -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[place] ^= 1

    with pytest.raises(KeyConfirmationError):
        forge(pair, stop, change)


def test_a_matrix_for_other_transfers() -> None:
    # All rows flipped at once: every confirmation row says so, not only the MAC.
    def change(body: bytearray, messages: list[bytes]) -> bytes:
        return bytes(byte ^ 0xFF for byte in body)

    with pytest.raises(KeyConfirmationError):
        forge(pair, MATRIX, change)


def test_repeated_tags() -> None:
    width = Attack(pair, TAGS).victim._layout.tag_bytes
    for source, target in ((0, 3), (1, 10)):  # the same hash index in two rows

        def change(
            body: bytearray,
            messages: list[bytes],
            source: int = MAC_BYTES + source * width,
            target: int = MAC_BYTES + target * width,
        ) -> None:
            body[target : target + width] = body[source : source + width]

        with pytest.raises(RepeatedElementError):
            forge(pair, TAGS, change, confirm=True)


def test_one_row_that_matches_two_items() -> None:
    # Of two thousand items some lie in each third; a row with tags of three of them is a lie.
    many = [str(number).encode() for number in range(2000)]
    attack = Attack(lambda: (Receiver(many), Sender(RIGHT)), TAGS)
    receiver, body = attack.victim, bytearray(attack.message[40:-32])
    row = b"".join(own[0].tobytes() for own in receiver._own_tags)
    body[MAC_BYTES : MAC_BYTES + len(row)] = row
    with pytest.raises(RepeatedElementError, match="or of two as one"):
        receiver.receive(attack.sealed(bytes(body), confirm=True))


@pytest.mark.parametrize("bits", [0b0000, 0b0001, 0b1111, 0b10011, 0b10000011])
def test_marks_that_are_no_matches(bits: int) -> None:
    # Two of four items match: other numbers, or marks beyond the last item.
    with pytest.raises(DecodeError, match="marks"):
        forge(pair, FINISH, patch(MAC_BYTES, bytes([bits])), confirm=True)


@pytest.fixture
def two_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi.protocols.kkrt.layout, "_BUCKET_ITEMS", 2)


SECOND_MATRIX, SECOND_TAGS, FINISH_OF_TWO = 6, 7, 8


@pytest.mark.usefixtures("two_buckets")
@pytest.mark.parametrize("stop", [SECOND_MATRIX, SECOND_TAGS, FINISH_OF_TWO])
def test_messages_of_later_buckets_are_confirmed_too(stop: int) -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[-1] ^= 1

    with pytest.raises(KeyConfirmationError):
        forge(pair, stop, change)
    attack = Attack(pair, stop)
    assert len(attack.message) <= attack.victim.longest_message
    if stop < FINISH_OF_TWO:  # what was right for the bucket before
        with pytest.raises(KeyConfirmationError):
            attack.victim.receive(attack.sealed(attack.messages[stop - 2][40:-32]))


@pytest.mark.usefixtures("two_buckets")
def test_the_tags_of_another_bucket_match_nothing() -> None:
    attack = Attack(pair, SECOND_TAGS)
    before = [rows.tolist() for rows, _ in attack.victim._matched]
    attack.victim.receive(attack.sealed(attack.messages[5][40:-32], confirm=True))
    assert [rows.tolist() for rows, _ in attack.victim._matched] == [*before, []]


@pytest.mark.usefixtures("two_buckets")
def test_marks_on_dummies_of_this_side() -> None:
    attack = Attack(pair, FINISH_OF_TWO)
    rows = np.concatenate(attack.victim._orders)
    marked = np.zeros(len(rows), np.uint8)
    marked[np.flatnonzero(rows < 0)[:2]] = 1
    body = bytes(MAC_BYTES) + np.packbits(marked, bitorder="little").tobytes()
    with pytest.raises(DecodeError, match="dummies"):
        attack.victim.receive(attack.sealed(body, confirm=True))


def test_hostile_multiplicities() -> None:
    for stop, start in ((FINISH, MAC_BYTES + 1), (CLOSE, MAC_BYTES)):
        with pytest.raises(DecodeError, match="zero times"):
            forge(pair_with_counts, stop, patch(start, bytes(4)), confirm=True)
        with pytest.raises(SizeLimitError):
            forge(pair_with_counts, stop, patch(start, b"\xff" * 8), confirm=True)


def test_other_settings_sizes_and_protocols() -> None:
    with pytest.raises(ParameterMismatchError, match="settings"):
        Sender(RIGHT).receive(sent(Receiver(LEFT, SessionParameters(output="receiver")).start()))
    attack = Attack(pair, 0)
    hello = attack.sealed(attack.message[40:-32], count=MOST_ITEMS + 1)
    with pytest.raises(SizeLimitError, match=str(MOST_ITEMS + 1)):
        attack.victim.receive(hello)
    with pytest.raises(TranscriptError):
        psi.protocols.ecdh.Sender(RIGHT).receive(sent(Receiver(LEFT).start()))


@pytest.mark.parametrize("stop", range(1, 8))
def test_no_honest_message_is_longer_than_announced(stop: int) -> None:
    for both in (pair, pair_with_counts):
        attack = Attack(both, stop)
        assert len(attack.message) <= attack.victim.longest_message
