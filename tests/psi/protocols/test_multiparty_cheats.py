"""What a party that cheats puts in among three: as many IDs as its store has slots, and no more."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from psi import Leader, Member, SessionParameters, SizeLimitError
from psi.group.agreement import MESSAGE_BYTES, draw_messages, elements_of
from psi.group.ristretto255 import Scalar, multiply, multiply_base
from psi.keyvalue import StoreKeys, slots
from psi.protocols.messages import MessageType
from psi.protocols.party import tag_bytes
from tests.psi.peers import HEADER_BYTES, MAC_BYTES

GUESSES = [b"%d" % number for number in range(400)]
FEW = 10
UNUSED = 2  # each key has one slot in each third, so what these are together is the same for all


def fitting(store: StoreKeys) -> list[int]:
    """Numbers of keys that one store can hold together, as many as there can be."""
    chosen: list[int] = []
    pivots: dict[int, int] = {}
    rows = zip(store.places.tolist(), store.dense.tolist(), strict=True)
    for number, (places, bits) in enumerate(rows):
        row = bits | sum(1 << (40 + place) for place in places)
        while row.bit_length() in pivots:
            row ^= pivots[row.bit_length()]
        if row:
            pivots[row.bit_length()] = row
            chosen.append(number)
    return chosen


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
    def _on_store(self, messages: Mapping[int, bytes]) -> dict[int, bytes]:
        for other in self._members:
            self._take(other, MessageType.MULTI_CONFIRM, messages[other], 0)
        keys = self._sizes[0] + 1
        length = MESSAGE_BYTES * slots(keys)
        table = self._take(0, MessageType.MULTI_STORE, messages[0], length)
        digests = self._hashes.digests(GUESSES)
        chosen = fitting(self._hashes.store(self._number, FEW, digests[1:]))
        assert len(chosen) == slots(FEW) - UNUSED < Member.most_asked(2, FEW)
        self._items = [GUESSES[number] for number in chosen]
        digests = digests[[0, *(number + 1 for number in chosen)]]
        strings = self._hashes.store(0, keys, digests).decode(
            np.frombuffer(table, np.uint8).reshape(-1, MESSAGE_BYTES)
        )
        secret = Scalar.random()
        elements = multiply(secret, elements_of(strings ^ self._hashes.pads(digests)))
        masks = self._hashes.masks(self._number, digests, elements, self._width)
        store = self._hashes.store(self._number, FEW, digests[1:])
        shares = store.encode(masks[1:] ^ self._shares(digests[1:]))
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


@pytest.mark.parametrize(
    ("announced", "member", "leader"),
    [
        (0, 49, 56),
        (1, 55, 59),
        (100, 214, 216),
        (1000, 1405, 1417),
        (100_000, 124_315, 125_294),
        (10**6, 1_234_051, 1_243_768),
    ],
)
def test_how_many_ids_an_announced_size_can_stand_for(
    announced: int, member: int, leader: int
) -> None:
    # As docs/psi-kmprt.md has them.
    assert Member.most_asked(1, announced) == member == slots(announced)
    assert Member.most_asked(0, announced) == leader > slots(announced + 1)
