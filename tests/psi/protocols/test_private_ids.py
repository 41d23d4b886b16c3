"""Private IDs: one ID an item on both sides, all of the union's, and hostile peers refused."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psi import (
    ConfigError,
    DecodeError,
    InvalidPointError,
    KeyConfirmationError,
    PrivateIDReceiver,
    PrivateIDSender,
    RepeatedElementError,
    SessionParameters,
    StateError,
    padded,
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
)

LEFT, RIGHT = [b"a", b"b", b"c"], [b"c", b"d", b"a", b"e"]
CONFIRMED = (3, 4, 5)
MANY = [bytes([value]) for value in range(100)]


def pair() -> tuple[PrivateIDReceiver, PrivateIDSender]:
    return PrivateIDReceiver(LEFT), PrivateIDSender(RIGHT)


def check_union(left: list[bytes], right: list[bytes]) -> None:
    receiver, sender = PrivateIDReceiver(left), PrivateIDSender(right)
    run(receiver, sender)
    at_left = dict(zip(left, receiver.own_ids, strict=True))
    at_right = dict(zip(right, sender.own_ids, strict=True))
    assert all(at_left[item] == at_right[item] for item in set(left) & set(right))
    names = at_left | at_right
    assert len(set(names.values())) == len(names) == len(set(left) | set(right))
    assert receiver.union_ids == sender.union_ids == sorted(names.values())


items = st.lists(st.binary(max_size=2), unique=True, max_size=10)


@given(items, items)
@settings(max_examples=30, deadline=None)
def test_the_union_is_that_of_python_sets(left: list[bytes], right: list[bytes]) -> None:
    check_union(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [([], []), ([], MANY), (MANY, []), (MANY, MANY), (MANY[:50], MANY[50:]), (MANY, MANY[:1])],
)
def test_adversarial_sizes(left: list[bytes], right: list[bytes]) -> None:
    check_union(left, right)


def test_ids_are_of_one_session() -> None:
    first, second = pair(), pair()
    run(*first)
    run(*second)
    assert set(first[0].union_ids).isdisjoint(second[0].union_ids)


def test_dummies_swell_the_union_for_both_alike() -> None:
    receiver = PrivateIDReceiver(padded(LEFT, 10, side="receiver"))
    sender = PrivateIDSender(padded(RIGHT, 20, side="sender"))
    run(receiver, sender)
    assert (len(receiver.own_ids), len(sender.own_ids)) == (3, 4)
    assert receiver.union_ids == sender.union_ids
    assert len(receiver.union_ids) == 28
    assert receiver.own_ids[0] == sender.own_ids[2]


def test_what_can_be_compared_is_in_no_order() -> None:
    receiver, sender = PrivateIDReceiver(MANY), PrivateIDSender(MANY[50:])
    messages = run(receiver, sender)
    for message, starts in (
        (messages[3], [MAC_BYTES + 32 * 51 + KEY_PROOF_BYTES + 32 * 100]),
        (messages[4], [MAC_BYTES + 32 * 50, MAC_BYTES + 32 * 100]),
        (messages[5], [MAC_BYTES]),
    ):
        body = message[HEADER_BYTES:-SEAL_BYTES]
        for start in starts:
            count = {3: 100, 4: 50, 5: 0}[messages.index(message)]
            rows = [body[start + 32 * i :][:32] for i in range(count)]
            assert rows == sorted(rows)


def test_settings_without_a_meaning_are_refused() -> None:
    for parameters in (
        SessionParameters(output="receiver"),
        SessionParameters(multiplicities=True),
    ):
        with pytest.raises(ConfigError):
            PrivateIDReceiver(LEFT, parameters)


def test_no_ids_before_the_end_and_no_matches_ever() -> None:
    receiver, sender = pair()
    for name in ("own_ids", "union_ids"):
        with pytest.raises(StateError):
            getattr(receiver, name)
    run(receiver, sender)
    with pytest.raises(StateError):
        _ = receiver.matches


def test_secrets_are_forgotten_and_not_pickled() -> None:
    receiver, sender = pair()
    run(receiver, sender)
    for party in (receiver, sender):
        assert (party._key, party._second_key, party._id_key) == (None, None, b"")
        assert (party._peers, party._own) == ([], [])
        with pytest.raises(TypeError):
            pickle.dumps(party)


# -- hostile peers ------------------------------------------------------------------------------


# In ANSWER: the sender's points, then the receiver's, thrice and twice blinded. In FINISH: the
# sender's, thrice and twice, then what the sender lacks. In CLOSE: what the receiver lacks.
THRICE = MAC_BYTES + 32 * 5 + KEY_PROOF_BYTES
TWICE = THRICE + 32 * 3
LACKED = MAC_BYTES + 32 * 8


@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize(
    ("stop", "start"),
    [(2, 0), (2, 64), (3, 32), (3, 96), (3, THRICE), (4, MAC_BYTES), (4, LACKED), (5, MAC_BYTES)],
)
def test_invalid_points(name: str, stop: int, start: int) -> None:
    # The last item of a sorted list may be out of order as well: either is refused.
    errors = (
        (InvalidPointError, DecodeError) if (stop, start) == (5, MAC_BYTES) else (InvalidPointError)
    )
    with pytest.raises(errors):
        forge(pair, stop, patch(start, BAD_POINTS[name]), confirm=True)


@pytest.mark.parametrize("name", BAD_POINTS)
def test_invalid_points_to_compare(name: str) -> None:
    bad = BAD_POINTS[name]

    def change(body: bytearray, messages: list[bytes]) -> None:
        rows = [bytes(body[TWICE + 32 * i :][:32]) for i in range(3)]
        body[TWICE:] = b"".join(sorted([bad, *rows[1:]]))

    with pytest.raises(InvalidPointError):
        forge(pair, 3, change, confirm=True)


@pytest.mark.parametrize(("stop", "start"), [(2, 32), (3, 64), (3, THRICE), (4, MAC_BYTES)])
def test_repeated_points(stop: int, start: int) -> None:
    with pytest.raises(RepeatedElementError):
        forge(pair, stop, copy_within(start, start + 32), confirm=True)


@pytest.mark.parametrize(("stop", "start"), [(3, TWICE), (4, MAC_BYTES + 32 * 4), (5, MAC_BYTES)])
def test_points_to_compare_ascend(stop: int, start: int) -> None:
    def swap(body: bytearray, messages: list[bytes]) -> None:
        body[start : start + 64] = body[start + 32 : start + 64] + body[start : start + 32]

    for change in (swap, copy_within(start, start + 32)):
        with pytest.raises(DecodeError, match="do not ascend"):
            forge(pair, stop, change, confirm=True)


def test_our_own_points_sent_back() -> None:
    def change(body: bytearray, messages: list[bytes]) -> None:
        body[64:96] = messages[2][HEADER_BYTES + 32 :][:32]

    with pytest.raises(RepeatedElementError, match="our own"):
        forge(pair, 3, change)


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_unconfirmed_content(stop: int) -> None:
    with pytest.raises(KeyConfirmationError):
        forge(pair, stop, patch(0, bytes(MAC_BYTES)))


def test_another_number_of_missing_items() -> None:
    class Hiding(PrivateIDReceiver):
        def _missing_at_peer(self) -> bytes:
            return b""

    with pytest.raises(DecodeError, match="count different items"):
        run(Hiding(LEFT), PrivateIDSender(RIGHT))

    class Inventing(PrivateIDSender):
        def _missing_at_peer(self) -> bytes:
            return super()._missing_at_peer() * 3

    with pytest.raises(DecodeError, match="more items of its own"):
        run(PrivateIDReceiver(LEFT), Inventing(RIGHT))


def test_an_id_given_to_two_items() -> None:
    class Doubling(PrivateIDSender):
        def _missing_at_peer(self) -> bytes:
            shared = sorted(self._peers)[:2]
            again = self._blind_with_second(shared)
            return b"".join(sorted(again[i].tobytes() for i in range(2)))

    with pytest.raises(RepeatedElementError, match="to another"):
        run(PrivateIDReceiver(LEFT), Doubling(RIGHT))
