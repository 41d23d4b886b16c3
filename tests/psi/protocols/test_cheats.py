"""What docs/psi.md says of sides that cheat: what it admits works, and what it denies does not.

Where a protocol was mended, the cheat works on the fault that is planted here, and fails on the
product. Whoever mends more sees a test fail, and changes the page. The cheats of vole are in
test_vole_cheats; messages that are refused are in test_refused.
"""

import functools
import hashlib
import hmac
import itertools
from pathlib import Path

import numpy as np
import pytest

from psi import (
    CardinalityReceiver,
    CardinalitySender,
    DecodeError,
    KeyConfirmationError,
    MinimumError,
    PrivateIDReceiver,
    PrivateIDSender,
    ProtocolError,
    Receiver,
    Sender,
    SessionParameters,
    SumParameters,
    SumReceiver,
    SumSender,
    TagStore,
    UnbalancedReceiver,
)
from psi.group.blinds import Blinds
from psi.group.elgamal import total
from psi.group.oprf import hash_inputs, outputs
from psi.group.ristretto255 import (
    POINT_BYTES,
    Points,
    Scalar,
    add,
    hash_to_group,
    multiply,
    multiply_base,
    points_from_bytes,
)
from psi.protocols import commutative, ecdh, elements, vole
from psi.protocols.commutative import CommutativeParty, CommutativeReceiver, CommutativeSender
from psi.protocols.elements import TAG_BYTES, rows_of
from psi.protocols.messages import MessageType, Transcript
from psi.protocols.party import Party
from tests.psi.peers import HEADER_BYTES, KEY_PROOF_BYTES, MAC_BYTES, PAIRS, run, sent

NUMBERS = [b"%d" % number for number in range(60)]
OTHERS = [b"x" + number for number in NUMBERS]
ONE_SIDE = SessionParameters(output="receiver")
COUNTED = SessionParameters(multiplicities=True)
COUNTS = np.arange(1, 61)


# -- ecdh: a sender that lies ----------------------------------------------------------------------
#
# The intersection as it was before: tags of doubly blinded points, which the sender may make up.


class _Before(CommutativeParty):
    protocol = "ecdh, as it was"

    def _tags_for_peer(self) -> bytes:
        return b"".join(self._peer_tags)

    def _match(self, data: memoryview) -> None:
        own_tags = self._own_tags(data)
        common = set(own_tags[1:]).intersection(self._peer_tags[1:])
        found = sorted((tag, place) for place, tag in enumerate(own_tags[1:]) if tag in common)
        self._found = self._order[[place for _, place in found]]


class ReceiverBefore(_Before, CommutativeReceiver):
    pass


class SenderBefore(_Before, CommutativeSender):
    pass


def tags_of(party: CommutativeParty, key: bytes, points: list[bytes]) -> list[bytes]:
    tag = functools.partial(hashlib.blake2b, digest_size=party._tag_bytes, key=key)
    return [tag(point).digest() for point in points]


class LiarBefore(SenderBefore):
    """Sends multiples of the element that both know, whose tags it can work out for itself."""

    def _blind(self) -> Points:
        own = super()._blind()
        self.factors = [Scalar.random() for _ in self._items]
        lies = [multiply(factor, self._confirmation()) for factor in self.factors]
        self._sent = np.vstack([own[:1], *lies])
        return np.vstack([self._sent, own[-KEY_PROOF_BYTES // POINT_BYTES :]])

    def _blind_again(self, data: memoryview) -> None:
        doubly, key = self._doubly_blinded(data)
        theirs = points_from_bytes(data)[:1]
        lies = [multiply(factor, theirs).tobytes() for factor in self.factors]
        self._peer_tags = tags_of(self, key, [doubly[0], *lies])


class Liar(Sender):
    """Answers with the receiver's own points, as it likes them, and tags of all it knows."""

    def _evaluated(self, points: Points) -> bytes:
        self.answer = multiply(Scalar.random(), points)
        return self.answer.tobytes()

    def _own_outputs(self) -> list[bytes]:
        return self._outputs(self._items, self.answer)


def test_a_sender_could_make_the_receiver_believe_that_everything_matched() -> None:
    receiver = ReceiverBefore(NUMBERS)
    run(receiver, LiarBefore(OTHERS))
    assert len(receiver.matches) == 60  # of none that both have


@pytest.mark.parametrize("items", [NUMBERS, OTHERS])
def test_a_match_is_an_id_that_the_sender_put_in(items: list[bytes]) -> None:
    # It lies with the receiver's IDs in hand, too: without b·H1 of one there is no tag of it.
    receiver = Receiver(NUMBERS, COUNTED, counts=COUNTS)
    liar = Liar(items, COUNTED, counts=COUNTS)
    run(receiver, liar)
    assert len(receiver.matches) == 0
    assert receiver.peer_counts is not None
    assert liar.peer_counts is not None
    assert len(liar.peer_counts) == 0  # it is told how often no ID occurs


class OneBlind(Blinds):
    """The fault: one scalar for all points."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._scalars[:] = self._scalars[:1]


class Pairing(Sender):
    """Announces one ID and tests two: adds two points, so that an output depends on both."""

    known: Scalar

    def _evaluated(self, points: Points) -> bytes:
        junk = hash_to_group([b"junk"], b"some tag")
        return multiply(self.known, np.vstack([add(points[:1], points[1:]), junk])).tobytes()

    def _own_outputs(self) -> list[bytes]:
        one, other = (self._hashed([item]) for item in NUMBERS[:2])
        return self._outputs(NUMBERS[:1], multiply(self.known, add(one, other)))


@pytest.mark.parametrize("fault", [True, False])
def test_a_tag_tests_one_id_and_not_two(fault: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault:
        monkeypatch.setattr(ecdh, "Blinds", OneBlind)
    found = 0
    for _ in range(40):  # one order of the two in two fits: none in 40 with probability 2^-40
        sender = Pairing(NUMBERS[:1])
        sender.known = Scalar.random()
        run(Receiver(NUMBERS[:2]), sender)
        found += len(sender.matches)
    assert (found > 0) is fault


class Colliding(Sender):
    """Announces one ID, with the tag that most of the IDs have which it would like to test."""

    def _own_outputs(self) -> list[bytes]:
        self._items = NUMBERS
        tried = super()._own_outputs()
        self._items = NUMBERS[:1]
        width = elements.TAG_BYTES
        tags = [one[:width] for one in tried]
        return [max(tried, key=lambda one: tags.count(one[:width]))]


@pytest.mark.parametrize("fault", [True, False])
def test_a_tag_fits_one_id(fault: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault:  # none of 60 IDs have the same byte with probability below 0.001
        for module in (ecdh, elements):
            monkeypatch.setattr(module, "TAG_BYTES", 1)
    receiver, sender = Receiver(NUMBERS, ONE_SIDE), Colliding(NUMBERS[:1], ONE_SIDE)
    run(receiver, sender)
    assert (len(receiver.matches) > 1) is fault


class ByLot(Sender):
    """Answers the second half of the points under another key."""

    def _evaluated(self, points: Points) -> bytes:
        half = POINT_BYTES * (len(points) // 2)
        other = multiply(Scalar.random(), points).tobytes()
        return super()._evaluated(points)[:half] + other[half:]


def test_a_sender_can_leave_matches_out_by_lot() -> None:
    receiver, sender = Receiver(NUMBERS), ByLot(NUMBERS)
    run(receiver, sender)
    assert len(receiver.matches) == 30
    assert {NUMBERS[place] for place in receiver.matches} == {
        NUMBERS[place] for place in sender.matches
    }


# -- somebody in the middle of two sessions --------------------------------------------------------


class Leg:
    """Mallory's transcript and key towards one of the two whose messages she passes on."""

    def __init__(self, role: MessageType, protocol: str, receiver: str, sender: str) -> None:
        self.role, self.transcript = role, Transcript(protocol)
        if receiver:
            self.transcript.bind(receiver, sender)
        self.secret = Scalar.random()

    def meet(self, identity: bytes, point: bytes) -> None:
        common = multiply(self.secret, points_from_bytes(point)).tobytes()
        self.key = hashlib.sha256(b"psi ecdh MACs, " + identity + common).digest()

    @property
    def point(self) -> bytes:
        return multiply_base([self.secret]).tobytes()

    def confirmed(self, kind: MessageType, count: int, content: bytes) -> bytes:
        def mac(digest: bytes) -> bytes:
            return hmac.digest(self.key, bytes([self.role]) + digest, "sha256")

        return self.transcript.confirm(kind, count, mac, content)


class Relay:
    """Mallory, receiver of alice and sender to bob, who has no ID and passes theirs on."""

    def __init__(self, receiver: Party, sender: Party, *, bound: bool) -> None:
        self.receiver, self.sender = receiver, sender
        to_sender = ("mallory", "alice") if bound else ("", "")
        to_receiver = ("bob", "mallory") if bound else ("", "")
        if bound:
            sender.between(0, "alice", "mallory")
            receiver.between(0, "bob", "mallory")
        self.alice = Leg(MessageType.RECEIVER_HELLO, sender.protocol, *to_sender)
        self.bob = Leg(MessageType.SENDER_HELLO, receiver.protocol, *to_receiver)

    def pass_hellos(self) -> bytes:
        """Pass both hellos on word for word; returns what the receiver says next."""
        hello = self.bob.transcript.open(MessageType.RECEIVER_HELLO, sent(self.receiver.start()))
        message = self.alice.transcript.seal(MessageType.RECEIVER_HELLO, hello.count, hello.body)
        answer = self.sender.receive(message)
        hello = self.alice.transcript.open(MessageType.SENDER_HELLO, sent(answer))
        message = self.bob.transcript.seal(MessageType.SENDER_HELLO, hello.count, hello.body)
        self.identities = [leg.transcript.begin_session() for leg in (self.alice, self.bob)]
        return sent(self.receiver.receive(message))

    def pass_all(self) -> None:
        """Hold both sessions of ecdh to their end, and leave a match out on the way."""
        points = self.bob.transcript.open(MessageType.POINTS, self.pass_hellos())
        self.bob.meet(self.identities[1], bytes(points.body[:POINT_BYTES]))
        message = self.alice.transcript.seal(
            MessageType.POINTS, points.count, self.alice.point, points.body[POINT_BYTES:]
        )
        answer = self.alice.transcript.open(MessageType.ANSWER, sent(self.sender.receive(message)))
        content = bytes(answer.body[MAC_BYTES:])
        self.alice.meet(self.identities[0], content[:POINT_BYTES])
        message = self.bob.confirmed(
            MessageType.ANSWER, answer.count, self.bob.point + content[POINT_BYTES:]
        )
        finish = self.bob.transcript.open(MessageType.FINISH, sent(self.receiver.receive(message)))
        kept = max(finish.count - 1, 0)
        receipts = bytes(finish.body[MAC_BYTES:])
        width = len(receipts) // max(finish.count, 1)
        message = self.alice.confirmed(MessageType.FINISH, kept, receipts[: kept * width])
        self.sender.receive(message)
        self.receiver.receive(self.bob.confirmed(MessageType.CLOSE, finish.count, b""))


@pytest.mark.parametrize("fault", [True, False])
def test_a_session_with_another_is_of_no_use(fault: bool) -> None:
    receiver, sender = Receiver(NUMBERS[:40]), Sender(NUMBERS[20:])
    Relay(receiver, sender, bound=not fault).pass_all()
    believed = len(receiver.matches), len(sender.matches)
    assert believed == ((20, 19) if fault else (0, 0))


@pytest.mark.parametrize("fault", [True, False])
@pytest.mark.parametrize("name", PAIRS)
def test_every_session_is_bound_to_its_parties(name: str, fault: bool) -> None:
    # All that a protocol hashes contains the identity; a store's proof does, by its first point.
    receiver, sender = PAIRS[name]()
    relay = Relay(receiver, sender, bound=not fault)
    relay.pass_hellos()
    assert [sender._identity, receiver._identity] == relay.identities
    assert (sender._identity == receiver._identity) is fault


# -- ecdh: a receiver that lies --------------------------------------------------------------------


class ClaimingBefore(ReceiverBefore):
    """Answers with the tags that it got itself, so that every point of the sender matches."""

    def _match(self, data: memoryview) -> None:
        super()._match(data)
        self._tags_for_peer = data.tobytes  # type: ignore[method-assign]

    @property
    def _announced(self) -> int:
        return 60


class Claiming(Receiver):
    """Claims every ID of the sender, by what it knows of each: its tag."""

    def _confirmed(self, kind: MessageType, count: int, *content: bytes | memoryview) -> bytes:
        if kind is MessageType.FINISH:
            receipts = [tag[: self._tag_bytes] for tag in self.tags]
            count, content = len(receipts), (b"".join(receipts),)
        return super()._confirmed(kind, count, *content)

    def _on_answer(self, data: bytes) -> bytes:
        tags = memoryview(data)[-32 - TAG_BYTES * self._peer_items() : -32]
        self.tags = rows_of(tags, TAG_BYTES)
        return super()._on_answer(data)


def test_a_receiver_could_claim_every_match() -> None:
    sender = SenderBefore(NUMBERS)
    run(ClaimingBefore(OTHERS), sender)
    assert len(sender.matches) == 60


def test_a_claim_is_of_an_id_that_was_tested() -> None:
    sender = Sender(NUMBERS)
    with pytest.raises(DecodeError, match="did not ask for"):
        run(Claiming(OTHERS), sender)
    assert not sender.done


class Omitting(Receiver):
    """Forgets some of its outputs."""

    def _unblinded(self, data: memoryview) -> list[bytes]:
        found = super()._unblinded(data)
        return [*found[:20], *(bytes(len(one)) for one in found[20:])]


def test_a_receiver_can_leave_matches_out_and_stop() -> None:
    sender = Sender(NUMBERS)
    run(Omitting(NUMBERS), sender)
    assert len(sender.matches) == 20
    receiver, sender = Receiver(NUMBERS), Sender(NUMBERS)
    points = receiver.receive(sent(sender.receive(sent(receiver.start()))))
    receiver.receive(sent(sender.receive(sent(points))))
    assert receiver._found is not None
    assert len(receiver._found) == 60  # it has its result, and the sender has nothing
    assert not sender.done


# -- one ID more than is announced -----------------------------------------------------------------


class Curious(CardinalityReceiver):
    """Announces no item, and asks for one in place of the element that confirms the key."""

    wanted: bytes

    def _blind(self) -> Points:
        points = super()._blind()
        domain = b"psi-ecdh-v1-HashToGroup-" + self._identity + b"-ristretto255-SHA512"
        assert self._key is not None
        self._sent = multiply(self._key, hash_to_group([self.wanted], domain))
        return np.vstack([self._sent, points[1:]])

    def _on_answer(self, data: bytes) -> bytes:
        answer = self._transcript.open(MessageType.ANSWER, data)
        assert self._key is not None
        theirs = answer.body[MAC_BYTES : MAC_BYTES + self._points_length() - KEY_PROOF_BYTES]
        self.there = False
        for point in rows_of(multiply(self._key, points_from_bytes(theirs)).data, POINT_BYTES):
            secret = hashlib.sha512(b"psi keys, " + self._identity + point).digest()
            self._mac_key = secret[:32]
            mac = self._mac(self._peer_hello, answer.digest)
            self.there |= hmac.compare_digest(mac, answer.body[:MAC_BYTES])
        return b""


def asks(wanted: bytes) -> bool:
    """Whether the sender has an ID, says one that announced none."""
    curious, sender = Curious([]), CardinalitySender(NUMBERS)
    curious.wanted = wanted
    points = curious.receive(sent(sender.receive(sent(curious.start()))))
    assert sender._n_peer == 0
    curious.receive(sent(sender.receive(sent(points))))
    return curious.there


def test_without_a_proof_of_the_key_there_was_one_id_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commutative, "verify", lambda *arguments: None)
    assert asks(b"7")
    assert not asks(b"77")


def test_the_element_that_confirms_a_key_is_no_id() -> None:
    with pytest.raises(KeyConfirmationError, match="committed to"):
        asks(b"7")


@pytest.mark.parametrize("name", ["cardinality", "sum", "ids"])
@pytest.mark.parametrize("liar", [0, 1])
def test_both_sides_prove_their_keys(name: str, liar: int) -> None:
    parties = PAIRS[name]()
    honest = parties[liar]._blind

    def with_another_point() -> Points:
        points: Points = honest()
        points[0] = parties[liar]._sent[0] = multiply(Scalar.random(), points[:1])
        return points

    parties[liar]._blind = with_another_point
    with pytest.raises(KeyConfirmationError, match="committed to"):
        run(*parties)
    assert not any(party.done for party in parties)


class CuriousOfAStore(UnbalancedReceiver):
    """Asks for an ID by the point that makes the key of the MACs."""

    def _after_hellos(self) -> bytes:
        self._expect, self.blinds = self._on_answer, Blinds(1)
        self.asked = self.blinds.put_on(hash_inputs([b"7"]))
        return self._transcript.seal(MessageType.POINTS, 0, bytes(32), self.asked.tobytes())

    def _on_answer(self, data: bytes) -> bytes:
        start = HEADER_BYTES + MAC_BYTES + POINT_BYTES + 64
        element = self.blinds.take_off(points_from_bytes(data[start : start + POINT_BYTES]))
        self.tag = outputs([b"7"], element)[0][:TAG_BYTES]
        return b""


@pytest.mark.parametrize("fault", [True, False])
def test_a_store_answers_what_is_announced(fault: bool, tmp_path: Path) -> None:
    store = TagStore.create(tmp_path / "store", NUMBERS, items_a_peer=3)
    curious, sender = CuriousOfAStore([]), store.answering("bob")
    points = curious.receive(sent(sender.receive(sent(curious.start()))))
    if fault:  # as it was: the peer's point is evaluated, and not one that both know
        sender._confirmation = lambda: curious.asked  # type: ignore[method-assign]
    curious.receive(sent(sender.receive(sent(points))))
    assert (curious.tag in rows_of(store.tag_set.tags, TAG_BYTES)) is fault
    assert store.ledger.items_left("bob") == 3  # which is what was announced


# -- counts and sums: what is promised against those who follow the protocol only ------------------


class CuriousCounter(CardinalityReceiver):
    """Blinds each of its items by a scalar of its own."""

    def _blind(self) -> Points:
        points = super()._blind()
        self.scalars = [Scalar.random() for _ in self._items]
        own = [multiply(one, points[[n]]) for n, one in enumerate(self.scalars, start=1)]
        self._sent = np.vstack([points[:1], *own])
        return np.vstack([self._sent, points[1 + len(own) :]])

    def _blind_again(self, data: memoryview) -> None:
        doubly, key = self._doubly_blinded(data)
        self._peer_tags = tags_of(self, key, doubly)
        theirs = points_from_bytes(b"".join(doubly[1:]))
        self.tags_of_each = [
            set(tags_of(self, key, rows_of(multiply(one, theirs).data, POINT_BYTES)))
            for one in self.scalars
        ]

    def _common(self, data: memoryview) -> set[bytes]:
        returned = set(self._own_tags(data)[1:])
        self.learnt = {
            self._items[self._order[place]]
            for place, tags in enumerate(self.tags_of_each)
            if tags & returned
        }
        return set()


def test_a_count_tells_a_side_with_many_scalars_which_items_match() -> None:
    curious = CuriousCounter(NUMBERS[:40], ONE_SIDE)
    run(curious, CardinalitySender(NUMBERS[25:], ONE_SIDE))
    assert curious.learnt == set(NUMBERS[25:40])


def test_nine_planted_ids_and_one_target_tell_the_targets_value() -> None:
    settings = SumParameters(output="receiver", minimum=10)
    planted = dict.fromkeys(NUMBERS[:9], 1)  # at the sender by the receiver's own doing
    accounts = {**planted, b"target": 4711, b"other": 12}
    receiver = SumReceiver([*planted, b"target"], settings)
    run(receiver, SumSender(list(accounts), list(accounts.values()), settings))
    assert receiver.sum - sum(planted.values()) == 4711


class CuriousNamer(PrivateIDReceiver):
    """Blinds each of its items by a scalar of its own."""

    def _blind(self) -> Points:
        points = super()._blind()
        self.scalars = [Scalar.random() for _ in self._items]
        own = [multiply(one, points[[n]]) for n, one in enumerate(self.scalars, start=1)]
        self._sent = np.vstack([points[:1], *own])
        return np.vstack([self._sent, points[1 + len(own) :]])

    def _take_own(self, data: memoryview) -> None:
        compared = set(rows_of(data[POINT_BYTES * len(self._items) :], POINT_BYTES))
        theirs = points_from_bytes(b"".join(self._peers))
        self.learnt = {
            self._items[self._order[place]]
            for place, one in enumerate(self.scalars)
            if compared & set(rows_of(multiply(one, theirs).data, POINT_BYTES))
        }
        super()._take_own(data)


def test_private_ids_tell_a_side_with_many_scalars_which_items_match() -> None:
    curious, sender = CuriousNamer(NUMBERS[:40]), PrivateIDSender(NUMBERS[25:])
    points = curious.receive(sent(sender.receive(sent(curious.start()))))
    curious.receive(sent(sender.receive(sent(points))))
    assert curious.learnt == set(NUMBERS[25:40])


class Picking(SumReceiver):
    """Asks for the value of one match, behind a count that is large enough."""

    def _request(self, public_key: Points, hiding: Points, hidden: Points) -> bytes:
        return super()._request(public_key, hiding[:1], hidden[:1])


def test_a_receiver_can_ask_for_the_sum_of_one() -> None:
    settings = SumParameters(output="receiver", minimum=10)
    values = list(range(100, 160))
    receiver = Picking(NUMBERS, settings)
    run(receiver, SumSender(NUMBERS, values, settings))
    assert receiver.sum in values


def test_values_can_name_the_items_in_their_sum() -> None:
    values = [1 << place for place in range(20)]
    sender = SumSender(NUMBERS[:20], values)
    run(SumReceiver(NUMBERS[7:]), sender)
    assert [place for place in range(20) if sender.sum >> place & 1] == list(range(7, 20))


def sum_of_hashes(party: CommutativeParty, guesses: list[bytes]) -> Points:
    domain = b"psi-ecdh-v1-HashToGroup-" + party._identity + b"-ristretto255-SHA512"
    return total(hash_to_group(guesses, domain))


class ManyInOne(CardinalityReceiver):
    """Announces one ID, and asks with one point whether all of some guesses are there."""

    guesses: tuple[bytes, ...]

    def _blind(self) -> Points:
        points = super()._blind()
        assert self._key is not None
        asked = multiply(self._key, sum_of_hashes(self, list(self.guesses)))
        self._sent = np.vstack([points[:1], asked])
        return np.vstack([self._sent, points[2:]])

    def _blind_again(self, data: memoryview) -> None:
        doubly, key = self._doubly_blinded(data)
        theirs = [points_from_bytes(one) for one in doubly[1:]]
        sums = [
            total(np.vstack(some)).tobytes()
            for some in itertools.combinations(theirs, len(self.guesses))
        ]
        self._peer_tags = tags_of(self, key, [doubly[0], *sums])


@pytest.mark.parametrize(("other", "there"), [(b"33", True), (b"99", False)])
def test_one_point_of_a_count_asks_whether_several_ids_are_there(other: bytes, there: bool) -> None:
    curious, sender = ManyInOne([b"announced"], ONE_SIDE), CardinalitySender(NUMBERS, ONE_SIDE)
    curious.guesses = (b"7", other)
    counted: list[int] = []
    sender.charge_with(lambda peer, items: counted.append(items))
    run(curious, sender)
    assert (curious.cardinality == 1) is there
    assert counted == [1]  # the limit counts the point


class MadeForOne(SumSender):
    """Makes nine matches up; the tenth is there if the receiver has the target."""

    def _blind(self) -> Points:
        own = super()._blind()
        factors = self.factors = [Scalar.random() for _ in range(9)]
        lies = np.vstack([multiply(one, self._confirmation()) for one in factors])
        target = 1 + int(np.flatnonzero(self._order == 0)[0])
        own[[row for row in range(1, 11) if row != target]] = lies
        self._sent = own[:11].copy()
        return own

    def _blind_again(self, data: memoryview) -> None:
        doubly, key = self._doubly_blinded(data)
        theirs = points_from_bytes(data)[:1]
        lies = [multiply(one, theirs).tobytes() for one in self.factors]
        self._peer_tags = tags_of(self, key, [doubly[0], *lies, *doubly[10:]])


class Telling(SumReceiver):
    """The fault: stops if there are too few matches."""

    def _withhold(self, error: ProtocolError) -> None:
        raise error


@pytest.mark.parametrize("fault", [True, False])
def test_a_set_made_for_one_id_does_not_tell_the_sender_of_it(fault: bool) -> None:
    settings = SumParameters(output="receiver", minimum=10)
    there: dict[bool, bool] = {}
    for with_target in (True, False):
        ids = [*NUMBERS, b"target" if with_target else b"nobody"]
        for _ in range(10):  # 9 of 61 tags are dropped: the target's in all ten once in 10^8 runs
            receiver = (Telling if fault else SumReceiver)(ids, settings)
            sender = MadeForOne([b"target", *OTHERS[:9]], [0] * 10, settings)
            try:
                messages = run(receiver, sender)
            except MinimumError:
                continue
            assert [len(message) for message in messages[4:]] == [136, 136, 104, 104]
            there[with_target] = True
    assert there == ({True: True} if fault else {True: True, False: True})


class Beyond(SumReceiver):
    """Adds up all of the sender's rows, of which it has none, and says that they match."""

    def _common(self, data: memoryview) -> set[bytes]:
        super()._common(data)
        return set(self._peer_tags[1:])


def test_a_receiver_can_ask_for_the_sum_of_rows_that_do_not_match() -> None:
    settings = SumParameters(output="receiver", minimum=10)
    receiver = Beyond(OTHERS[:10], settings)
    run(receiver, SumSender(NUMBERS[:10], list(range(100, 110)), settings))
    assert receiver.sum == sum(range(100, 110))


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "unbalanced"])
def test_between_two_a_limit_counts_what_is_announced(name: str) -> None:
    parties, counted = PAIRS[name](), {}
    for role, party in enumerate(parties):
        party.charge_with(lambda peer, items, role=role: counted.update({role: items}))
    run(*parties)
    receiver, sender = (party._own_size() for party in parties)
    if name.startswith("vole"):  # test_vole_cheats says what fits a store of so many
        receiver = vole.Sender.most_asked(0, receiver)
    assert counted == {0: sender, 1: receiver}  # what they say in their hellos
