"""Hostile and mistaken peers of vole: a named error for whatever they send, no wrong result."""

import hashlib
from collections.abc import Callable

import numpy as np
import pytest

import psi.protocols.vole.layout
from psi import (
    DecodeError,
    InvalidPointError,
    KeyConfirmationError,
    ProtocolError,
    RepeatedElementError,
    SessionParameters,
    SizeLimitError,
)
from psi.group.ristretto255 import hash_to_group
from psi.protocols.vole import Receiver, Sender
from tests.psi.peers import (
    BAD_POINTS,
    HEADER_BYTES,
    LEFT,
    MAC_BYTES,
    PAIRS,
    POINT_BYTES,
    RIGHT,
    SEAL_BYTES,
    Attack,
    Change,
    ReceiverInParts,
    SenderInParts,
    copy_within,
    forge,
    patch,
    run,
)

KEY, CHOICES, BASE, NOISE, CHECK, PROOF, TABLE, TAGS, FINISH, CLOSE = range(10)
CONFIRMED = (PROOF, TABLE, TAGS, FINISH, CLOSE)
OTHER_POINT = hash_to_group([b"another"], b"test").tobytes()
ANNOUNCED_AT = 64  # after settings and nonce
COIN_BYTES = 32
pair = PAIRS["vole"]


@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize("start", [0, POINT_BYTES * 200])
def test_invalid_points_of_choices(name: str, start: int) -> None:
    with pytest.raises(InvalidPointError):
        forge(pair, CHOICES, patch(ANNOUNCED_AT + start, BAD_POINTS[name]))


@pytest.mark.parametrize("name", BAD_POINTS)
def test_an_invalid_key(name: str) -> None:
    attack = Attack(pair, KEY)
    body = bytearray(attack.message[HEADER_BYTES:-SEAL_BYTES])
    body[ANNOUNCED_AT:] = BAD_POINTS[name]
    with pytest.raises(InvalidPointError):
        attack.finish(attack.sealed(bytes(body)))


def test_repeated_points() -> None:
    with pytest.raises(RepeatedElementError):
        forge(pair, CHOICES, copy_within(ANNOUNCED_AT, ANNOUNCED_AT + POINT_BYTES * 255))


def test_our_own_key_sent_back() -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[ANNOUNCED_AT : ANNOUNCED_AT + POINT_BYTES] = messages[KEY][-SEAL_BYTES - 32 :][:32]

    with pytest.raises(RepeatedElementError, match="ours"):
        forge(pair, CHOICES, change)


class Misfit(Sender):
    """Says other choices than it made, in one transfer."""

    def _announcement(self) -> bytes:
        return super()._announcement()[:-POINT_BYTES] + OTHER_POINT


class Unkeyed(Receiver):
    """Says another key than it has."""

    def _announcement(self) -> bytes:
        super()._announcement()
        return OTHER_POINT


@pytest.mark.parametrize(
    ("receiver", "sender"), [(Receiver, Misfit), (Unkeyed, Sender)], ids=["choices", "key"]
)
def test_transfers_that_do_not_fit_are_no_empty_result(
    receiver: type[Receiver], sender: type[Sender]
) -> None:
    parties = receiver(LEFT), sender(RIGHT)
    with pytest.raises(KeyConfirmationError, match="does not fit this side's choices"):
        run(*parties)
    assert not any(party.done for party in parties)


def turned(place: int) -> Change:
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[place] ^= 1

    return change


def test_a_base_that_was_changed() -> None:
    # One sum is used with one secret in two; all that are changed, with none.
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[16:] = bytes(byte ^ 1 for byte in body[16:])

    with pytest.raises(KeyConfirmationError, match="does not fit"):
        forge(pair, BASE, change)


@pytest.mark.parametrize("stop", CONFIRMED)
@pytest.mark.parametrize("place", [0, -1])
def test_unconfirmed_content(stop: int, place: int) -> None:
    with pytest.raises(KeyConfirmationError):
        forge(pair, stop, turned(place))


@pytest.mark.parametrize("stop", [NOISE, CHECK])
def test_what_comes_before_a_mac_is_confirmed_by_the_next(stop: int) -> None:
    # The coin's commitment, and the check: whoever changes them holds no session.
    attack = Attack(pair, stop)
    body = bytearray(attack.message[HEADER_BYTES:-SEAL_BYTES])
    body[-1] ^= 1
    with pytest.raises((KeyConfirmationError, DecodeError)):
        attack.finish(attack.sealed(bytes(body)))
    assert not attack.receiver.done
    assert not attack.sender.done


def test_repeated_tags() -> None:
    start = MAC_BYTES + COIN_BYTES
    attack = Attack(pair, TAGS)
    body = bytearray(attack.message[HEADER_BYTES:-SEAL_BYTES])
    body[start : start + 16] = body[start + 48 : start + 64]
    with pytest.raises(RepeatedElementError):
        attack.victim.receive(attack.sealed(bytes(body), confirm=True))


def test_a_coin_that_was_chosen_late() -> None:
    with pytest.raises(DecodeError, match="committed"):
        forge(pair, TAGS, turned(MAC_BYTES), confirm=True)


@pytest.mark.parametrize("bits", [0b0000, 0b0001, 0b1111, 0b10011, 0b10000011])
def test_marks_that_are_no_matches(bits: int) -> None:
    # Two of four items match: other numbers, or marks beyond the last item.
    with pytest.raises(DecodeError, match="marks"):
        forge(pair, FINISH, patch(MAC_BYTES, bytes([bits])), confirm=True)


@pytest.mark.parametrize(
    "claim",
    [
        lambda marks, one, other: (15 ^ marks, one + other),  # the receipts of others
        lambda marks, one, other: (marks, one + other[:-1] + bytes([other[-1] ^ 1])),
        lambda marks, one, other: (marks, other + one),
        lambda marks, one, other: (marks, one + one),
        lambda marks, one, other: (marks, bytes(len(one + other))),
    ],
)
def test_claims_that_are_none(claim: Callable[[int, bytes, bytes], tuple[int, bytes]]) -> None:
    # Two of four items match: a byte of marks, and two receipts.
    attack = Attack(pair, FINISH)
    body = attack.message[HEADER_BYTES:-SEAL_BYTES]
    middle = MAC_BYTES + 1 + attack.victim._tag_bytes
    marks, receipts = claim(body[MAC_BYTES], body[MAC_BYTES + 1 : middle], body[middle:])
    lie = body[:MAC_BYTES] + bytes([marks]) + receipts
    with pytest.raises(DecodeError, match="did not ask for"):
        attack.victim.receive(attack.sealed(lie, confirm=True))


@pytest.mark.parametrize("count", [0, 1, 3, 4, 2**63])
def test_another_number_of_matches(count: int) -> None:
    attack = Attack(pair, FINISH)
    body = attack.message[HEADER_BYTES:-SEAL_BYTES]
    with pytest.raises(DecodeError):
        attack.victim.receive(attack.sealed(body, confirm=True, count=count))


def test_hostile_multiplicities() -> None:
    counted = PAIRS["vole, counted"]
    for stop, start in ((FINISH, -8), (CLOSE, MAC_BYTES)):
        attack = Attack(counted, stop)
        at = start % (len(attack.message) - HEADER_BYTES - SEAL_BYTES)
        with pytest.raises(DecodeError, match="zero times"):
            forge(counted, stop, patch(at, bytes(4)), confirm=True)
        with pytest.raises(SizeLimitError):
            forge(counted, stop, patch(at, b"\xff" * 8), confirm=True)


# -- two buckets ----------------------------------------------------------------------------------

SECOND_TABLE, SECOND_TAGS, FINISH_OF_TWO = 8, 9, 10


@pytest.fixture
def two_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi.protocols.vole.layout, "_BUCKET_ITEMS", 2)


@pytest.mark.usefixtures("two_buckets")
@pytest.mark.parametrize("stop", [TABLE, TAGS, SECOND_TABLE, SECOND_TAGS, FINISH_OF_TWO])
@pytest.mark.parametrize("place", [MAC_BYTES, -1])
def test_messages_of_later_buckets_are_confirmed_too(stop: int, place: int) -> None:
    with pytest.raises(KeyConfirmationError):
        forge(pair, stop, turned(place))


@pytest.mark.usefixtures("two_buckets")
def test_wrong_trees_of_a_later_bucket_do_not_pass() -> None:
    """All sums of the second chunk, sent and confirmed with the first bucket's proof."""
    attack = Attack(pair, PROOF)
    body = bytearray(attack.message[HEADER_BYTES:-SEAL_BYTES])
    body[MAC_BYTES:-COIN_BYTES] = bytes(byte ^ 1 for byte in body[MAC_BYTES:-COIN_BYTES])
    # The receiver derives the key of the next MAC from what it computes of them.
    with pytest.raises(KeyConfirmationError):
        attack.finish(attack.sealed(bytes(body), confirm=True))
    assert attack.receiver._mac_key == b""
    assert not attack.sender.done


@pytest.mark.usefixtures("two_buckets")
def test_each_bucket_has_a_key_of_its_own() -> None:
    receiver, sender = pair()
    message, parties = receiver.start(), [sender, receiver]
    keys: list[bytes] = []
    while message is not None:
        message = parties[0].receive(message)
        parties.reverse()
        if sender._mac_key not in (b"", *keys):
            keys.append(sender._mac_key)
    assert len(keys) == 2


@pytest.mark.usefixtures("two_buckets")
def test_marks_on_dummies_of_this_side() -> None:
    attack = Attack(pair, FINISH_OF_TWO)
    rows = attack.victim._order
    marked = np.zeros(len(rows), np.uint8)
    marked[np.flatnonzero(rows < 0)[:2]] = 1
    body = bytes(MAC_BYTES) + np.packbits(marked, bitorder="little").tobytes()
    body += bytes(2 * attack.victim._tag_bytes)
    with pytest.raises(DecodeError, match="dummies"):
        attack.victim.receive(attack.sealed(body, confirm=True, count=2))


@pytest.mark.usefixtures("two_buckets")
@pytest.mark.parametrize("stop", range(11))
def test_no_honest_message_is_longer_than_announced(stop: int) -> None:
    for name in ("vole", "vole, counted"):
        attack = Attack(PAIRS[name], stop)
        assert len(attack.message) <= attack.victim.longest_message


@pytest.mark.parametrize("settings", [{"output": "receiver"}, {"key_format": "x"}])
def test_no_message_of_a_session_fits_another_of_the_same_sets(settings: dict[str, str]) -> None:
    other = SessionParameters(**settings)  # type: ignore[arg-type]
    played = run(Receiver(LEFT, other), Sender(RIGHT, other))
    for stop in range(10):
        attack = Attack(pair, stop)
        resealed = attack.before() + played[stop][:-SEAL_BYTES]
        message = played[stop][:-SEAL_BYTES] + hashlib.sha256(resealed).digest()
        with pytest.raises(ProtocolError):
            attack.victim.receive(message)


# -- in parts -------------------------------------------------------------------------------------

FIRST_PART, MORE, LAST_PART = 7, 8, 9


@pytest.mark.parametrize("stop", [FIRST_PART, MORE, LAST_PART])
@pytest.mark.parametrize("place", [0, -1])
def test_parts_are_confirmed(stop: int, place: int) -> None:
    with pytest.raises(KeyConfirmationError):
        forge(PAIRS["vole, in parts"], stop, patch(place % MAC_BYTES, b"x"))


@pytest.mark.parametrize("stop", [FIRST_PART, MORE, LAST_PART])
@pytest.mark.parametrize("count", [2, 3, 2**64 - 1])
def test_parts_come_in_order(stop: int, count: int) -> None:
    attack = Attack(PAIRS["vole, in parts"], stop)
    body = attack.message[HEADER_BYTES:-SEAL_BYTES]
    with pytest.raises(DecodeError):
        attack.victim.receive(attack.sealed(body, confirm=True, count=count))


def test_one_match_in_two_parts_is_refused() -> None:
    class Repeating(SenderInParts):
        def _tags(self, bucket: int, part: int) -> tuple[bytes, memoryview]:
            coin, made = super()._tags(bucket, part)
            self.kept: memoryview
            if part == 0:
                self.kept = made
            return coin, self.kept

    with pytest.raises(RepeatedElementError):
        run(ReceiverInParts(RIGHT), Repeating(RIGHT))
