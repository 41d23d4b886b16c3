"""What a party that cheats puts in among three: as many IDs as its store has slots, and more."""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from psi import Leader, Member, ProtocolError, SessionParameters, SizeLimitError
from psi.group.agreement import MESSAGE_BYTES, draw_messages, elements_of
from psi.group.ristretto255 import Scalar, multiply, multiply_base
from psi.keyvalue import StoreKeys, slots
from psi.protocols.kmprt import oblivious
from psi.protocols.kmprt.oblivious import ObliviousHashes
from psi.protocols.kmprt.rounds import Values
from psi.protocols.messages import MessageType
from psi.protocols.party import tag_bytes
from tests.psi.keyvalue.crowding import NoRelationError, fitting, related, rows_of
from tests.psi.peers import HEADER_BYTES, MAC_BYTES

GUESSES = [b"%d" % number for number in range(400)]
FEW = 10
LIST = [b"%d" % number for number in range(2048)]
RELATIONS = 3
UNUSED = 2  # each key has one slot in each third, so what these are together is the same for all


class Announcing:
    """Says what an honest party of FEW items would say."""

    _items: Sequence[bytes]

    def _confirmed(self, *content: Any) -> bytes:
        items, self._items = self._items, self._items[:FEW]
        message: bytes = super()._confirmed(*content)  # type: ignore[misc]
        self._items = items
        return message


class CrowdedLeader(Announcing, Leader):
    def _after_hellos(self) -> dict[int, bytes]:
        digests = self._hashes.digests(GUESSES)
        chosen = fitting(self._hashes.store(0, FEW + 1, digests))
        assert chosen[0] == 0  # the element that all know
        assert len(chosen) == slots(FEW + 1) - UNUSED < Member.most_asked(0, FEW)
        self._items, self._digests = [GUESSES[number - 1] for number in chosen[1:]], digests[chosen]
        self._scalars, messages = draw_messages(len(chosen))
        store = self._hashes.store(0, FEW + 1, self._digests)
        table = store.encode(messages ^ self._hashes.pads(self._digests)).tobytes()
        self._expect = self._on_tables
        return {
            other: self._confirmed(other, MessageType.MULTI_STORE, table) for other in self._others
        }


class CrowdedMember(Announcing, Member):
    candidates = GUESSES

    def _choose(self, store: StoreKeys, values: Values) -> tuple[list[int], list[int]]:
        """Return which candidates to put in, and those of them for which the store is made."""
        chosen = fitting(store)
        assert len(chosen) == slots(FEW) - UNUSED < Member.most_asked(2, FEW)
        return chosen, chosen

    def _on_store(self, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        for other in self._members:
            self._take(other, MessageType.MULTI_CONFIRM, messages[other], 0)
        keys = self._sizes[0] + 1
        length = MESSAGE_BYTES * slots(keys)
        table = self._take(0, MessageType.MULTI_STORE, messages[0], length)
        digests = self._hashes.digests(self.candidates)
        strings = self._hashes.store(0, keys, digests).decode(
            np.frombuffer(table, np.uint8).reshape(-1, MESSAGE_BYTES)
        )
        secret = Scalar.random()
        elements = multiply(secret, elements_of(strings ^ self._hashes.pads(digests)))
        masks = self._hashes.masks(self._number, digests, elements, self._width)
        values = masks[1:] ^ self._shares(digests[1:])
        chosen, basis = self._choose(self._hashes.store(self._number, FEW, digests[1:]), values)
        self._items = [self.candidates[number] for number in chosen]
        shares = self._hashes.store(self._number, FEW, digests[1:][basis]).encode(values[basis])
        answer = [multiply_base([secret]).tobytes(), masks[0].tobytes(), shares.tobytes()]
        self._expect = self._on_told
        return {0: self._confirmed(0, MessageType.MULTI_TABLE, b"".join(answer))}

    def _on_told(self, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        width = tag_bytes(FEW, self._sizes[0])
        finish = messages[0][HEADER_BYTES + MAC_BYTES : -32]
        told = {finish[start : start + width] for start in range(0, len(finish), width)}
        tags = [tag[:width] for tag in self._wide_tags()]
        self.learnt = {item for item, tag in zip(self._items, tags, strict=True) if tag in told}
        return {}

    def _wide_tags(self) -> list[bytes]:
        items, self._items = self._items, self._items[:FEW]  # by which the width is chosen
        tags = self._match_tags(0, items)
        self._items = items
        return tags


def run(parties: list[Any]) -> None:
    sent = {number: party.start() for number, party in enumerate(parties)}
    for _ in range(4):
        arriving = {
            number: {sender: out[number] for sender, out in sent.items() if number in out}
            for number in range(3)
        }
        sent = {n: parties[n].receive(arriving[n]) for n in range(3) if arriving[n]}


def test_a_leader_puts_in_as_many_ids_as_its_store_has_slots_and_limits_count_them() -> None:
    counted: list[int] = []

    def parties(allowed: int) -> list[Any]:
        members = [
            Member(GUESSES, number=number, parties=3, max_peer_items=allowed) for number in (1, 2)
        ]
        members[0].charge_with(lambda peer, items: counted.append(items) if peer == 0 else None)
        return [CrowdedLeader(GUESSES[:FEW], parties=3), *members]

    unlimited = parties(1000)
    run(unlimited)
    assert unlimited[0].matches.tolist() == list(range(slots(FEW + 1) - UNUSED - 1))
    assert counted == [Member.most_asked(0, FEW)]
    with pytest.raises(SizeLimitError, match=f"10 items and could test {counted[0]} with them"):
        run(parties(counted[0] - 1))


def test_a_member_puts_in_as_many_ids_as_its_store_has_slots_and_limits_count_them() -> None:
    both = SessionParameters(output="both")
    counted: list[int] = []

    def parties(allowed: int) -> list[Any]:
        leader = Leader(GUESSES, both, parties=3, max_peer_items=allowed)
        leader.charge_with(lambda peer, items: counted.append(items) if peer == 1 else None)
        crowd = CrowdedMember(GUESSES[:FEW], both, number=1, parties=3)
        return [leader, crowd, Member(GUESSES, both, number=2, parties=3)]

    unlimited = parties(1000)
    run(unlimited)
    learnt = unlimited[1].learnt
    assert learnt == set(unlimited[1]._items)
    assert len(learnt) == slots(FEW) - UNUSED
    assert counted == [Leader.most_asked(1, FEW)]
    with pytest.raises(SizeLimitError, match=f"10 items and could test {counted[0]} with them"):
        run(parties(counted[0] - 1))


class Narrow:
    """Has values of 3 bytes where there are 6: so a list of 2048 does for one of 2^18."""

    _width: int

    def _after_hellos(self) -> Any:
        self._width = 3
        return super()._after_hellos()  # type: ignore[misc]


class NarrowLeader(Narrow, Leader):
    pass


class NarrowMember(Narrow, Member):
    pass


class RelatedMember(Narrow, CrowdedMember):
    """Takes four candidates at a time of which the rows and the values add up to zero."""

    candidates = LIST

    def _choose(self, store: StoreKeys, values: Values) -> tuple[list[int], list[int]]:
        return related(store, values, slots(FEW) - UNUSED, RELATIONS)


def test_a_member_with_a_long_list_puts_in_more_ids_than_slots_and_limits_count_them() -> None:
    both = SessionParameters(output="both")
    for _ in range(20):  # so that luck alone fails it once in 6^20 runs
        related = RelatedMember(GUESSES[:FEW], both, number=1, parties=3)
        others = NarrowLeader(LIST, both, parties=3), NarrowMember(LIST, both, number=2, parties=3)
        with contextlib.suppress(NoRelationError):
            run([others[0], related, others[1]])
            break
    assert related.learnt == set(related._items)
    assert slots(FEW) < len(related.learnt) == slots(FEW) - UNUSED + RELATIONS
    assert len(related.learnt) <= Leader.most_asked(1, FEW)


class Sparse(StoreKeys):
    """Has no dense bits where there are 40: 2^7.8 tries do for 2^47.8."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.dense[:] = 0


def ground(last: Member, others: Sequence[Any], target: Sequence[bytes], other: bytes) -> None:
    """Let the last to say hello choose its nonce so that two IDs have one row in party 1's store.

    A third one is to have another row, so that it cannot clash by luck.
    """
    parties = [*others, last]
    for nonce in range(1 << 16):
        last._body = last._body[:32] + nonce.to_bytes(32, "big") + last._body[64:]
        content = b"".join(one._body + len(one._items).to_bytes(8, "big") for one in parties)
        hashes = ObliviousHashes(hashlib.sha256(b"psi kmprt session, " + content).digest())
        digests = hashes.digests([*target, other])[1:]
        one, two, three = rows_of(hashes.store(1, len(target), digests))
        if one == two != three:
            return
    pytest.fail("no nonce")


@pytest.mark.parametrize("has_both", [True, False])
def test_who_says_hello_last_sees_by_an_error_whether_a_party_has_two_ids(
    has_both: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/psi-kmprt.md admits; in the product it takes 2^47.8 tries for a set of two."""
    monkeypatch.setattr(oblivious, "StoreKeys", Sparse)
    victim = Member([b"one", b"two" if has_both else b"three"], number=1, parties=3)
    leader, last = Leader([], parties=3), Member([], number=2, parties=3)
    sent = {0: leader.start(), 1: victim.start()}
    ground(last, [leader, victim], [b"one", b"two"], b"three")
    sent[2] = last.start()
    parties = [leader, victim, last]
    sent = {n: parties[n].receive({m: sent[m][n] for m in range(3) if m != n}) for n in range(3)}
    arriving = {0: sent[0][1], 2: sent[2][1]}
    if has_both:
        with pytest.raises(ProtocolError, match="fit no store"):
            victim.receive(arriving)
    else:
        assert victim.receive(arriving).keys() == {0}


@pytest.mark.parametrize(
    ("announced", "member", "leader"),
    [
        (0, 105, 56),
        (1, 113, 59),
        (100, 325, 216),
        (1000, 1913, 1417),
        (100_000, 165_793, 125_294),
        (10**6, 1_645_441, 1_243_768),
    ],
)
def test_how_many_ids_an_announced_size_can_stand_for(
    announced: int, member: int, leader: int
) -> None:
    # As docs/psi-kmprt.md has them.
    assert Member.most_asked(1, announced) == member > slots(announced)
    assert Member.most_asked(0, announced) == leader > slots(announced + 1)
