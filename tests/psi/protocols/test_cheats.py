"""What docs/psi.md admits of sides that cheat is true: each of these cheats works.

Whoever mends one of them sees its test fail, and changes the page.
"""

import functools
import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from psi import (
    CardinalityReceiver,
    CardinalitySender,
    KeyConfirmationError,
    Leader,
    Member,
    Receiver,
    Sender,
    SessionParameters,
    SumParameters,
    SumReceiver,
    SumSender,
    TagStore,
    UnbalancedReceiver,
)
from psi.group.oprf import hash_inputs, outputs
from psi.group.ristretto255 import (
    POINT_BYTES,
    Points,
    Scalar,
    hash_to_group,
    multiply,
    points_from_bytes,
)
from psi.protocols.ecdh import ECDHParty, rows_of
from psi.protocols.elements import TAG_BYTES
from psi.protocols.kmprt.programmable import SALT_BYTES, _places_of, entries
from psi.protocols.messages import MessageType
from psi.protocols.party import tag_bytes
from tests.psi.peers import HEADER_BYTES, MAC_BYTES, run, sent

NUMBERS = [b"%d" % number for number in range(60)]
ONE_SIDE = SessionParameters(output="receiver")


def confirmation(party: ECDHParty) -> Points:
    return hash_to_group([b""], b"psi-ecdh-v1-confirmation-" + party._identity)


def tags_of(party: ECDHParty, key: bytes, points: list[bytes]) -> list[bytes]:
    tag = functools.partial(hashlib.blake2b, digest_size=party._tag_bytes, key=key)
    return [tag(point).digest() for point in points]


class Liar(Sender):
    """Sends multiples of the element that both know, whose tags it can work out for itself."""

    def _blind(self) -> Points:
        own = super()._blind()
        self.factors = [Scalar.random() for _ in self._items]
        lies = [multiply(factor, confirmation(self)) for factor in self.factors]
        self._sent = np.vstack([own[:1], *lies])
        return self._sent

    def _blind_again(self, data: memoryview) -> None:
        doubly, key = self._doubly_blinded(data)
        theirs = points_from_bytes(data)[:1]
        lies = [multiply(factor, theirs).tobytes() for factor in self.factors]
        self._peer_tags = tags_of(self, key, [doubly[0], *lies])


def test_a_side_can_make_the_other_believe_that_everything_matched() -> None:
    counted, counts = SessionParameters(multiplicities=True), np.arange(1, 61)
    receiver = Receiver(NUMBERS, counted, counts=counts)
    liar = Liar([b"x" + number for number in NUMBERS], counted, counts=counts)
    answer = liar.receive(sent(receiver.receive(sent(liar.receive(sent(receiver.start()))))))
    finish = sent(receiver.receive(sent(answer)))
    assert receiver._found is not None
    assert len(receiver._found) == 60  # of none that both have
    told = np.frombuffer(finish[-32 - 4 * 60 : -32], ">u4")
    assert sorted(told.tolist()) == counts.tolist()  # how often each ID of the receiver occurs


def test_a_side_can_drop_matches() -> None:
    class Dropping(Sender):
        def _tags_for_peer(self) -> bytes:
            return b"".join([self._peer_tags[0], *(tag[::-1] for tag in self._peer_tags[1:])])

    receiver = Receiver(NUMBERS, ONE_SIDE)
    run(receiver, Dropping(NUMBERS, ONE_SIDE))
    assert len(receiver.matches) == 0


class Curious(Receiver):
    """Announces no item, and asks for one in place of the element that confirms the key."""

    wanted: bytes

    def _blind(self) -> Points:
        self._key, self._order = Scalar.random(), np.empty(0, np.intp)
        domain = b"psi-ecdh-v1-HashToGroup-" + self._identity + b"-ristretto255-SHA512"
        self._sent = multiply(self._key, hash_to_group([self.wanted], domain))
        return self._sent

    def _on_answer(self, data: bytes) -> bytes:
        before = self._transcript.digest
        answer = self._transcript.open(MessageType.ANSWER, data)
        assert self._key is not None
        theirs = points_from_bytes(answer.body[MAC_BYTES : MAC_BYTES + self._points_length()])
        self.there = False
        for point in rows_of(multiply(self._key, theirs).data, POINT_BYTES):
            secret = hashlib.sha512(b"psi keys, " + self._identity + point).digest()
            self._mac_key = secret[:32]
            mac = self._mac(self._peer_hello, before, answer.count, answer.body[MAC_BYTES:])
            self.there |= hmac.compare_digest(mac, answer.body[:MAC_BYTES])
        return b""


@pytest.mark.parametrize(("wanted", "there"), [(b"7", True), (b"77", False)])
def test_a_side_can_test_one_id_more_than_it_announces(wanted: bytes, there: bool) -> None:
    curious, sender = Curious([]), Sender(NUMBERS)
    curious.wanted = wanted
    points = curious.receive(sent(sender.receive(sent(curious.start()))))
    assert sender._n_peer == 0
    curious.receive(sent(sender.receive(sent(points))))
    assert curious.there is there


def test_a_store_answers_one_id_more_than_is_announced(tmp_path: Path) -> None:
    class CuriousOfAStore(UnbalancedReceiver):
        def _confirmation(self) -> Points:
            return hash_inputs([b"7"])

        def _key_from(self, confirmation: Points) -> None:
            self.tag = outputs([b"7"], confirmation[None])[0][:TAG_BYTES]
            super()._key_from(confirmation)

    store = TagStore.create(tmp_path / "store", NUMBERS, items_a_peer=3)
    curious, sender = CuriousOfAStore([]), store.answering("bob")
    answer = sender.receive(sent(curious.receive(sent(sender.receive(sent(curious.start()))))))
    with pytest.raises(KeyConfirmationError):
        curious.receive(sent(answer))
    assert curious.tag in rows_of(memoryview(store.tag_set.tags), TAG_BYTES)
    assert store.ledger.items_left("bob") == 2  # but it does not go uncounted


class CuriousCounter(CardinalityReceiver):
    """Blinds each of its items by a scalar of its own."""

    def _blind(self) -> Points:
        points = super()._blind()
        self.scalars = [Scalar.random() for _ in self._items]
        own = [multiply(one, points[[n]]) for n, one in enumerate(self.scalars, start=1)]
        self._sent = np.vstack([points[:1], *own])
        return self._sent

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


class Crowd(Member):
    """Announces few items, and solves its table for as many guesses as it has entries."""

    guesses: list[bytes]

    def _on_points(self, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        self._items, few = self.guesses, len(self._items)
        for other in self._members:
            self._take(other, MessageType.MULTI_CONFIRM, messages[other], 0)
        length = POINT_BYTES * (self._sizes[0] + 1)
        points = self._take(0, MessageType.MULTI_POINTS, messages[0], length)
        key, salt = Scalar.random(), bytes(SALT_BYTES)
        masks = self._masks(self._number, multiply(key, self._hashed(self._items)))
        equations = np.zeros((len(self._items), entries(few)), np.uint8)
        for row, guess in enumerate(self._items):
            equations[row, _places_of(salt, guess, few)] = 1
        table = solved(equations, masks[1:] ^ self._shares())
        evaluated = multiply(key, points_from_bytes(points)).tobytes()
        content = b"".join([evaluated, masks[0].tobytes(), salt, table.tobytes()])
        message = self._sending[0].seal(
            MessageType.MULTI_TABLE,
            few,
            self._mac(0, self._number, self._sending[0].digest, content),
            content,
        )
        self._expect = self._on_told
        return {0: message}

    def _on_told(self, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        width = tag_bytes(self._sizes[self._number], self._sizes[0])
        finish = memoryview(messages[0])[HEADER_BYTES + MAC_BYTES : -32]
        tag = functools.partial(
            hashlib.blake2b, digest_size=width, key=self._keys[0][32:], person=b"psi kmprt match"
        )
        told = set(rows_of(finish, width))
        self.learnt = {guess for guess in self.guesses if tag(guess).digest() in told}
        return {}


def solved(equations: NDArray[np.uint8], values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A table whose entries add up to the values (Gauss and Jordan over single bits)."""
    left, right = equations.copy(), values.copy()
    pivots = []
    for row in range(len(left)):
        pivot = int(np.flatnonzero(left[row])[0])
        others = np.flatnonzero(left[:, pivot])
        others = others[others != row]
        left[others] ^= left[row]
        right[others] ^= right[row]
        pivots.append(pivot)
    table = np.zeros((left.shape[1], values.shape[1]), np.uint8)
    table[pivots] = right
    return table


def test_a_member_can_put_in_far_more_ids_than_it_announces() -> None:
    shared = SessionParameters(output="both")
    guesses = [b"%d" % number for number in range(600)]
    theirs = [*guesses[100:140], b"beyond"]
    leader = Leader(theirs, shared, parties=3, max_peer_items=50)
    honest = Member(theirs, shared, number=1, parties=3, max_peer_items=50)
    crowd = Crowd(guesses[:10], shared, number=2, parties=3)
    crowd.guesses = guesses
    parties = [leader, honest, crowd]
    sent = {number: party.start() for number, party in enumerate(parties)}
    for _ in range(4):
        arriving = {
            number: {sender: out[number] for sender, out in sent.items() if number in out}
            for number in range(3)
        }
        sent = {n: parties[n].receive(arriving[n]) for n in range(3) if arriving[n]}
    assert crowd.learnt == set(guesses[100:140])
