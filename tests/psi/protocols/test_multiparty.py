"""Three and more parties: the intersection of all, nothing between, and hostile peers refused."""

import pickle
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psi import (
    ConfigError,
    DecodeError,
    InvalidPointError,
    KeyConfirmationError,
    Leader,
    Member,
    ParameterMismatchError,
    ProtocolError,
    QueryLimitError,
    RepeatedElementError,
    SessionParameters,
    SizeLimitError,
    StateError,
    TranscriptError,
    VersionError,
    padded,
)
from psi.group.ristretto255 import Scalar, multiply_base
from psi.keyvalue import slots
from tests.psi.peers import BAD_POINTS, HEADER_BYTES, MAC_BYTES, SEAL_BYTES, digest_of, seal_of

SETS = [[b"a", b"b", b"c"], [b"c", b"b", b"x", b"y"], [b"b", b"z", b"c"]]
SHARED = {b"b", b"c"}
Tamper = Callable[[int, int, int, bytes], bytes | None]


def session(sets: Sequence[Sequence[bytes]], **options: Any) -> list[Any]:
    parties = len(sets)
    leader = Leader(sets[0], parties=parties, **options)
    members = [
        Member(own, number=number, parties=parties, **options)
        for number, own in enumerate(sets[1:], start=1)
    ]
    return [leader, *members]


def run(parties: list[Any], tamper: Tamper = lambda r, i, j, message: message) -> None:
    """Carry all rounds; `tamper` sees (round, sender, recipient, message); None drops one."""
    sent = {number: party.start() for number, party in enumerate(parties)}
    for number_of_round in range(4):
        arriving: dict[int, dict[int, bytes]] = {number: {} for number in range(len(parties))}
        for sender, messages in sent.items():
            for recipient, message in messages.items():
                changed = tamper(number_of_round, sender, recipient, message)
                if changed is not None and recipient < len(parties):
                    assert sender in parties[recipient].expects
                    longest = parties[recipient].longest_message(sender)
                    assert len(message) <= longest
                    arriving[recipient][sender] = changed
        sent = {
            number: party.receive(arriving[number])
            for number, party in enumerate(parties)
            if arriving[number]
        }
    assert not any(sent.values())


def found(leader: Leader, items: Sequence[bytes]) -> set[bytes]:
    return {items[index] for index in leader.matches}


@given(st.lists(st.sets(st.binary(max_size=1), max_size=12), min_size=3, max_size=5))
@settings(max_examples=30, deadline=None)
def test_the_intersection_is_that_of_python_sets(sets: list[set[bytes]]) -> None:
    ordered = [sorted(one) for one in sets]
    parties = session(ordered)
    run(parties)
    assert found(parties[0], ordered[0]) == set.intersection(*sets)
    assert all(party.done for party in parties)


@given(st.lists(st.sets(st.binary(max_size=1), max_size=12), min_size=3, max_size=4))
@settings(max_examples=30, deadline=None)
def test_all_learn_the_intersection_in_one_order_if_so_agreed(sets: list[set[bytes]]) -> None:
    ordered = [sorted(one) for one in sets]
    parties = session(ordered, parameters=SessionParameters())
    run(parties)
    rows = [[own[i] for i in party.matches] for party, own in zip(parties, ordered, strict=True)]
    assert rows.count(rows[0]) == len(sets)
    assert len(rows[0]) == len(set(rows[0]))
    assert set(rows[0]) == set.intersection(*sets)


def test_the_common_order_says_nothing() -> None:
    parties = session([MANY[:64]] * 3, parameters=SessionParameters())
    run(parties)
    assert sorted(parties[1].matches) == list(range(64)) != list(parties[1].matches)


def test_members_learn_nothing_unless_so_agreed() -> None:
    parties = session(SETS)
    run(parties)
    for member in parties[1:]:
        with pytest.raises(StateError, match="leader only"):
            _ = member.matches


MANY = [struct.pack(">H", value) for value in range(300)]


@pytest.mark.parametrize(
    "sets",
    [
        [[], [], []],
        [MANY, [], MANY],
        [[], MANY, MANY],
        [MANY, MANY, MANY],
        [MANY[:100], MANY[100:200], MANY[200:]],
        [MANY, MANY[:1], MANY[:150]],
        [MANY[:1], MANY, MANY],
        # What two share and the third lacks is in no result.
        [MANY[:200], MANY[:200], MANY[100:]],
    ],
    ids=range(8),
)
def test_adversarial_sizes(sets: list[list[bytes]]) -> None:
    parties = session(sets)
    run(parties)
    assert found(parties[0], sets[0]) == set.intersection(*map(set, sets))


def test_the_leader_sees_noise_where_any_party_lacks_an_item() -> None:
    # No intermediate intersection: a value is no share, and no two members' values cancel.
    values: list[np.ndarray[Any, Any]] = []

    class Watching(Leader):
        def _programmed(self, other: int, data: bytes) -> Any:
            programmed = super()._programmed(other, data)
            values.append(programmed)
            return programmed

    sets = [MANY[:200], MANY[:200], MANY[100:]]
    parties = [Watching(sets[0], parties=3), *session(sets)[1:]]
    run(parties)
    assert found(parties[0], sets[0]) == set(MANY[100:200])
    assert all(len(np.unique(programmed, axis=0)) == len(programmed) for programmed in values)


def test_shares_of_one_item_make_zero() -> None:
    parties = session([MANY[:20]] * 4)
    sent = [party.start() for party in parties]
    for number, party in enumerate(parties):
        party.receive({other: sent[other][number] for other in range(4) if other != number})
    digests = parties[0]._hashes.digests(MANY[:20])
    shares = [party._shares(digests) for party in parties]
    assert not np.bitwise_xor.reduce(shares).any()
    for left_out in range(4):
        rest = np.bitwise_xor.reduce([one for i, one in enumerate(shares) if i != left_out])
        assert rest.any(axis=1).all()


def test_padding() -> None:
    sets = [padded(SETS[0], 10, side="receiver"), padded(SETS[1], 9, side="sender"), SETS[2]]
    parties = session(sets)
    run(parties)
    assert found(parties[0], SETS[0]) == SHARED


def test_settings_out_of_range() -> None:
    for options, words in (
        ({"parties": 2}, "3 to 256"),
        ({"parties": 257}, "3 to 256"),
        ({"parties": 3, "parameters": SessionParameters(multiplicities=True)}, "multiplicities"),
    ):
        with pytest.raises(ConfigError, match=words):
            Leader([b"a"], **options)
    for number in (0, 3, -1):
        with pytest.raises(ConfigError, match="numbered"):
            Member([b"a"], number=number, parties=3)
    with pytest.raises(ConfigError, match="repeat"):
        Member([b"a", b"a"], number=1, parties=3)


def test_states_and_secrets() -> None:
    parties = session(SETS)
    with pytest.raises(StateError):
        parties[0].receive({})
    with pytest.raises(StateError):
        _ = parties[0].matches
    run(parties)
    assert (parties[1].expects, parties[0].expects) == ([0, 2], [1, 2])
    for party in parties:
        assert (party._secret, party._keys) == (None, {})
        with pytest.raises(StateError):
            party.start()
        with pytest.raises(TypeError):
            pickle.dumps(party)
    assert parties[0]._scalars is None
    assert repr(parties[1]) == "Member(4 items, party 1)"


# -- hostile peers ------------------------------------------------------------------------------


def only(
    number: int, sender: int, recipient: int, change: Callable[[bytes], bytes | None]
) -> Tamper:
    """Change one message on its way."""

    def tamper(r: int, i: int, j: int, message: bytes) -> bytes | None:
        return change(message) if (r, i, j) == (number, sender, recipient) else message

    return tamper


# Each message of a session: round, sender, recipient.
MESSAGES = [(0, 1, 0), (0, 0, 1), (0, 2, 1), (1, 0, 1), (1, 2, 1), (2, 1, 0), (3, 0, 2)]


@pytest.mark.parametrize("place", MESSAGES)
@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda m: m[:-1], DecodeError),
        (lambda m: m + b"\0", DecodeError),
        (lambda m: b"", DecodeError),
        (lambda m: b"GET / HTTP/1.1\r\n" + bytes(100), DecodeError),
        (lambda m: m[:4] + b"\1" + m[5:], VersionError),
        (lambda m: m[:5] + b"\1" + m[6:], StateError),
        (lambda m: m[:-40] + bytes([m[-40] ^ 1]) + m[-39:], TranscriptError),
    ],
)
def test_what_every_message_is_refused_for(
    place: tuple[int, int, int], change: Callable[[bytes], bytes | None], error: type[Exception]
) -> None:
    parties = session(SETS)
    with pytest.raises(error):
        run(parties, only(*place, change))
    assert not parties[place[2]].done


@pytest.mark.parametrize("place", MESSAGES[:-1])
def test_missing_messages(place: tuple[int, int, int]) -> None:
    parties = session(SETS)
    with pytest.raises(StateError, match="one message each"):
        run(parties, only(*place, lambda message: None))
    assert not parties[place[2]].done


def test_a_member_waits_for_the_end() -> None:
    parties = session(SETS)
    run(parties, only(*MESSAGES[-1], lambda message: None))
    assert [party.done for party in parties] == [True, True, False]


@pytest.mark.parametrize("place", MESSAGES)
def test_replays(place: tuple[int, int, int]) -> None:
    kept: list[bytes] = []

    def keep(message: bytes) -> bytes:
        kept.append(message)
        return message

    run(session(SETS), only(*place, keep))
    # An old hello is a new session's for its recipient, but not for the others.
    with pytest.raises(ProtocolError) as error:
        run(session(SETS), only(*place, lambda m: kept[0]))
    assert isinstance(error.value, TranscriptError | KeyConfirmationError)


def forge(place: tuple[int, int, int], change: Callable[[bytearray], None]) -> list[Any]:
    """A hostile peer changes its message and confirms and seals it as its own."""
    number, sender, recipient = place
    parties = session(SETS)

    def tamper(message: bytes) -> bytes:
        body = bytearray(message[HEADER_BYTES:-SEAL_BYTES])
        change(body)
        header = message[: HEADER_BYTES - 8] + struct.pack(">Q", len(body))
        chain = parties[recipient]._receiving[sender].digest
        if number and (key := parties[recipient])._keys:
            body[:MAC_BYTES] = key._mac(sender, sender, digest_of(chain, header + body))
        return header + body + seal_of(chain, header + body)

    run(parties, only(*place, tamper))
    return parties


def patch(start: int, content: bytes) -> Callable[[bytearray], None]:
    def change(body: bytearray) -> None:
        body[start : start + len(content)] = content

    return change


def test_the_harness_lets_unchanged_messages_through() -> None:
    for place in MESSAGES:
        assert all(party.done for party in forge(place, lambda body: None))


@pytest.mark.parametrize("name", BAD_POINTS)
@pytest.mark.parametrize(
    ("place", "start"),
    [((0, 1, 0), 64), ((0, 2, 1), 64), ((2, 1, 0), MAC_BYTES)],
)
def test_invalid_points(name: str, place: tuple[int, int, int], start: int) -> None:
    with pytest.raises(InvalidPointError):
        forge(place, patch(start, BAD_POINTS[name]))


@pytest.mark.parametrize("field", [32, 64])
def test_repeated_nonces_and_keys(field: int) -> None:
    parties = session(SETS)
    body = parties[1]._body
    parties[2]._body = (
        parties[2]._body[:field] + body[field : field + 32] + (parties[2]._body[field + 32 :])
    )
    with pytest.raises(RepeatedElementError, match="nonce" if field == 32 else "public key"):
        run(parties)


@pytest.mark.parametrize("place", [(1, 0, 1), (1, 2, 1), (2, 1, 0), (3, 0, 2)])
def test_unconfirmed_messages(place: tuple[int, int, int]) -> None:
    parties = session(SETS)

    def tamper(message: bytes) -> bytes:
        body = bytearray(message[HEADER_BYTES:-SEAL_BYTES])
        body[0] ^= 1
        chain = parties[place[2]]._receiving[place[1]].digest
        content = message[:HEADER_BYTES] + body
        return content + seal_of(chain, content)

    with pytest.raises(KeyConfirmationError):
        run(parties, only(*place, tamper))


def test_a_hello_that_differs_between_recipients_is_no_empty_result() -> None:
    # Party 2 tells the leader another nonce than party 1: they would share other zeros.
    with pytest.raises(KeyConfirmationError, match="other hellos"):
        forge((0, 2, 0), patch(32, bytes(32)))


def test_another_key_is_no_empty_result() -> None:
    other = multiply_base([Scalar.random()]).tobytes()
    for start, content in ((MAC_BYTES, other), (MAC_BYTES + 32, bytes(4))):
        with pytest.raises(KeyConfirmationError, match="another key"):
            forge((2, 1, 0), patch(start, content))


@given(st.binary(min_size=32, max_size=32))
@settings(max_examples=20, deadline=None)
def test_no_string_of_the_leader_is_refused(string: bytes) -> None:
    # Else a member that stops would tell that it has the item of the string.
    for entry in (string, bytes(32)):
        store = entry * slots(len(SETS[0]) + 1)
        with pytest.raises(KeyConfirmationError, match="another key"):  # by the leader, at the end
            forge((1, 0, 1), patch(MAC_BYTES, store))


def told(change: Callable[[list[bytes]], list[bytes]]) -> set[bytes]:
    """What party 1 takes for matches where the leader tells it others than it found."""

    class Lying(Leader):
        def _match_tags(self, other: int, items: Any) -> list[bytes]:
            tags = super()._match_tags(other, items)
            return change(tags) if other == 1 else tags

    sets = [SETS[0], padded(SETS[1], 5, side="sender"), SETS[2]]
    parties = session(sets, parameters=SessionParameters())
    parties[0] = Lying(sets[0], SessionParameters(), parties=3)
    run(parties)
    matches: list[int] = parties[1].matches.tolist()
    assert len(set(matches)) == len(matches)
    return {sets[1][place] for place in matches}


def test_matches_that_are_none_are_dropped() -> None:
    assert told(lambda tags: tags) == SHARED
    assert len(told(lambda tags: [tags[0], tags[0]])) == 1
    assert len(told(lambda tags: [tags[0], bytes(len(tags[0]))])) == 1
    for change in (lambda tags: tags * 3, lambda tags: [tags[0], tags[1][:-1]]):
        with pytest.raises(DecodeError):  # no such number of tags, and no whole ones
            told(change)


class RefusingMember(Member):
    """Refuses tags that it does not know: the fault."""

    def _find(self, tags: list[bytes]) -> None:
        if not set(tags) <= set(self._match_tags(0, self._items)):
            raise DecodeError("the leader tells matches that are no items of this side")
        super()._find(tags)


@pytest.mark.parametrize("guesses", [[b"x"], [b"x", b"y"], [b"x", b"guess"], [b"guess"]])
def test_a_refusal_does_not_tell_the_leader_whether_a_member_has_all_that_it_guesses(
    guesses: list[bytes],
) -> None:
    def goes_on(member: type[Member]) -> bool:
        """Whether the member goes on where the leader tells it guesses for matches."""

        class Guessing(Leader):
            def _match_tags(self, other: int, items: Any) -> list[bytes]:
                return super()._match_tags(other, guesses if other == 1 else items)

        parties = session(SETS, parameters=SessionParameters())
        parties[0] = Guessing(SETS[0], SessionParameters(), parties=3)
        parties[1] = member(SETS[1], SessionParameters(), number=1, parties=3)
        try:
            run(parties)
        except DecodeError:
            return False
        return bool(parties[1].done)

    assert goes_on(RefusingMember) == (set(guesses) <= set(SETS[1]))
    assert goes_on(Member)


def test_a_dummy_is_no_match() -> None:
    class Guessing(Leader):
        def _match_tags(self, other: int, items: Any) -> list[bytes]:
            return super()._match_tags(other, [dummy])

    own = padded(SETS[1], 5, side="sender")
    dummy = own[-1]  # nobody can know it; if it were known, it would be no match
    parties = session([SETS[0], own, SETS[2]], parameters=SessionParameters())
    parties[0] = Guessing(SETS[0], SessionParameters(), parties=3)
    run(parties)
    assert parties[1].matches.tolist() == []


def test_limits_hold_before_any_point_is_sent() -> None:
    parties = session(SETS)
    charged: list[tuple[int, int]] = []

    def charge(party: int, items: int) -> None:
        charged.append((party, items))
        if party == 2:
            raise QueryLimitError("enough")

    parties[0].charge_with(charge)
    with pytest.raises(QueryLimitError):
        run(parties)
    assert charged == [(1, Leader.most_asked(1, 4)), (2, Leader.most_asked(2, 3))]
    assert parties[0]._identity == b""


def test_other_settings_and_sizes() -> None:
    parties = session(SETS)
    settings_of_one = SessionParameters(output="receiver", key_format="x")
    parties[2] = Member(SETS[2], settings_of_one, number=2, parties=3)
    with pytest.raises(ParameterMismatchError, match="party 2"):
        run(parties)
    parties = session(SETS)
    parties[0] = Leader(SETS[0], parties=3, max_peer_items=3)
    with pytest.raises(SizeLimitError, match="party 1"):
        run(parties)
    parties = session(SETS)
    parties[1] = Member(SETS[1], number=1, parties=4)
    with pytest.raises(TranscriptError):  # another number of parties is another session
        run(parties)
