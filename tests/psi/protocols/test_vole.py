"""vole: right results at every size, in both rooms of kernels; every tag by an independent way."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import psi.kernels
import psi.kernels.blocks
import psi.protocols.vole.buckets
import psi.protocols.vole.layout
from psi import ProtocolError, SessionParameters, StateError
from psi.kernels.texts import Texts
from psi.protocols.elements import TAG_BYTES
from psi.protocols.padding import padded
from psi.protocols.transfers import BaseOTSender, Seeds
from psi.protocols.vole import Receiver, Sender
from psi.protocols.vole.hashing import SessionHashes
from psi.protocols.vole.layout import SessionSizes
from psi.tables.keys import index_keys
from psi.tables.normalise import Normaliser
from psi.vole import VoleSender
from tests.psi.peers import HEADER_BYTES, LEFT, MAC_BYTES, RIGHT, SEAL_BYTES, run, sent
from tests.psi.protocols.vole_reference import Reference, numbers_of

MANY = [str(number).encode() for number in range(3000)]
FRAME_AND_MAC = HEADER_BYTES + SEAL_BYTES + MAC_BYTES
COIN_BYTES = 32
PROOF, TABLE, TAGS, FINISH, CLOSE = range(5, 10)
FINISH_OF_FOUR = FINISH + 2 * 3  # of four buckets

items = st.lists(st.binary(max_size=4), unique=True, max_size=12)


def choose(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (psi.kernels, psi.kernels.blocks):
        if room == "fast":
            pytest.importorskip("numba")
            monkeypatch.setattr(module, "FAST_FROM", 0)
        else:
            monkeypatch.setattr(module, "fast_available", lambda: False)


def check_sets(left: Sequence[bytes], right: Sequence[bytes]) -> None:
    receiver, sender = Receiver(left), Sender(right)
    run(receiver, sender)
    at_left = [left[index] for index in receiver.matches]
    assert at_left == [right[index] for index in sender.matches]
    assert len(at_left) == len(set(at_left))
    assert set(at_left) == set(left) & set(right)


@given(items, items)
@settings(max_examples=8, deadline=None)
def test_both_sides_find_the_intersection_in_one_order(
    left: list[bytes], right: list[bytes]
) -> None:
    check_sets(left, right)


@pytest.mark.parametrize("room", ["portable", "fast"])
@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([], []),
        ([], MANY),
        (MANY, []),
        (MANY, MANY[::-1]),
        (MANY[:1500], MANY[1500:]),
        (MANY, MANY[7:8]),
        (MANY[7:8], MANY),
        (MANY[:50], [*MANY, b"", b"x" * 64, b"x" * 65, b"x" * 1000]),
    ],
)
def test_adversarial_sizes(
    left: list[bytes], right: list[bytes], room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(room, monkeypatch)
    check_sets(left, right)


def test_only_the_receiver_learns_if_so_agreed() -> None:
    parameters = SessionParameters(output="receiver")
    receiver, sender = Receiver(LEFT, parameters), Sender(RIGHT, parameters)
    messages = run(receiver, sender)
    assert {LEFT[index] for index in receiver.matches} == {b"a", b"c"}
    with pytest.raises(StateError, match="receiver only"):
        _ = sender.matches
    # After the tags the sender sees a confirmation, whatever matched.
    assert [len(message) for message in messages[FINISH:]] == [FRAME_AND_MAC] * 2


@given(st.data())
@settings(max_examples=5, deadline=None)
def test_multiplicities_reach_the_other_side(data: st.DataObject) -> None:
    sets, counts = [], []
    for _ in range(2):
        own = data.draw(items)
        size = st.lists(st.integers(1, 1000), min_size=len(own), max_size=len(own))
        sets.append(own)
        counts.append(np.array(data.draw(size), np.intp))
    counted = SessionParameters(multiplicities=True)
    receiver = Receiver(sets[0], counted, counts=counts[0])
    sender = Sender(sets[1], counted, counts=counts[1])
    run(receiver, sender)
    assert receiver.peer_counts is not None
    assert sender.peer_counts is not None
    assert np.array_equal(receiver.peer_counts, counts[1][sender.matches])
    assert np.array_equal(sender.peer_counts, counts[0][receiver.matches])


def tags_of(message: bytes) -> list[bytes]:
    """The tags of a bucket, where no trees follow them."""
    body = message[HEADER_BYTES + MAC_BYTES + COIN_BYTES : -SEAL_BYTES]
    return [body[at : at + TAG_BYTES] for at in range(0, len(body), TAG_BYTES)]


def test_two_sessions_share_nothing_and_items_are_shuffled() -> None:
    tags, orders = [], []
    for _ in range(2):
        receiver, sender = Receiver(MANY), Sender(MANY)
        tags.append(set(tags_of(run(receiver, sender)[TAGS])))
        orders.append(sender._order.tolist())
    assert len(tags[0]) == len(tags[1]) == len(MANY)
    assert tags[0].isdisjoint(tags[1])
    assert sorted(orders[0]) == list(range(len(MANY)))
    assert orders[0] != orders[1]


def test_secrets_are_forgotten() -> None:
    receiver, sender = Receiver(LEFT), Sender(RIGHT)
    run(receiver, sender)
    assert (receiver._secret, receiver._vole, receiver._proof, receiver._mac_key) == (
        (None, None, b"", b"")
    )
    assert (receiver._stored, receiver._hidden, receiver._arrived) == ({}, {}, {})
    assert (sender._transfers, sender._vole, sender._mac_key) == (None, None, b"")
    assert (sender._vectors, sender._prepared, sender._coins) == ({}, {}, {})
    assert (receiver._buckets, sender._buckets) == (None, None)
    assert repr(receiver) == "Receiver(3 items)"


# -- every tag, by integers -----------------------------------------------------------------------


def test_every_tag_and_receipt_is_that_of_the_description(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[tuple[Seeds, Seeds]] = []
    secrets: list[NDArray[np.uint64]] = []
    both_of, begin = BaseOTSender.seeds, VoleSender.__init__

    def listening(self: BaseOTSender, choices: bytes) -> tuple[Seeds, Seeds]:
        seeds.append(both_of(self, choices))
        return seeds[-1]

    def beginning(self: VoleSender, *arguments: Any) -> None:
        begin(self, *arguments)
        secrets.append(self.delta)

    monkeypatch.setattr(BaseOTSender, "seeds", listening)
    monkeypatch.setattr(VoleSender, "__init__", beginning)
    receiver, sender = Receiver(LEFT), Sender(RIGHT)
    messages = run(receiver, sender)
    layout = receiver._layout
    sizes = (layout.plan.sizes.trees, layout.plan.sizes.depth, layout.store.third)
    (delta,) = numbers_of(secrets[0].tobytes())
    reference = Reference(messages, seeds[0], delta, sizes)
    outputs = [reference.output(item) for item in RIGHT]
    tags = tags_of(messages[TAGS])
    assert sorted(tags) == sorted(one[:TAG_BYTES] for one in outputs)
    # The receipts are of the matches, in the order of the tags.
    own = dict(
        zip([one[:TAG_BYTES] for one in outputs], zip(RIGHT, outputs, strict=True), strict=True)
    )
    shared = [own[tag][1] for tag in tags if own[tag][0] in LEFT]
    width = receiver._tag_bytes
    receipts = b"".join(one[TAG_BYTES:][:width] for one in shared)
    finish = messages[FINISH][HEADER_BYTES + MAC_BYTES : -SEAL_BYTES]
    assert finish[1:] == receipts
    marks = sum(1 << place for place, tag in enumerate(tags) if own[tag][0] in LEFT)
    assert finish[0] == marks


def test_hashes_of_two_sessions_differ() -> None:
    one, other = SessionHashes(bytes(range(32))), SessionHashes(bytes(32))
    (own,), (others,) = one.digests(MANY), other.digests(MANY)
    assert not np.any(np.all(own == others, axis=1))
    assert not np.any(np.all(one.values(own) == other.values(own), axis=1))
    coins = bytes(32), bytes(range(32))
    values = one.values(own)
    made = [
        hashes.outputs(bucket, pair, values, own)
        for hashes, bucket, pair in (
            (one, 0, coins), (one, 1, coins), (one, 0, coins[::-1]), (other, 0, coins),
        )
    ]  # fmt: skip
    assert len({row.tobytes() for rows in made for row in rows}) == 4 * len(MANY)
    assert len({h.commitment(n, c) for h in (one, other) for n in (0, 1) for c in coins}) == 8


# -- several buckets ------------------------------------------------------------------------------


@pytest.fixture
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi.protocols.vole.layout, "_BUCKET_ITEMS", 800)


@pytest.mark.usefixtures("small_buckets")
@pytest.mark.parametrize("room", ["portable", "fast"])
@pytest.mark.parametrize(
    ("left", "right"), [(MANY, MANY[::-1]), (MANY, MANY[:1]), (MANY[1000:], MANY[:1100])]
)
def test_buckets_change_no_result(
    left: list[bytes], right: list[bytes], room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(room, monkeypatch)
    assert SessionSizes.of(len(left), len(right)).buckets == 4
    check_sets(left, right)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi.protocols.vole.layout, "_PART_TAGS", 300)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(("room", "spilled"), [("portable", False), ("fast", True)])
@pytest.mark.parametrize("bucket_items", [800, 1 << 17])
@pytest.mark.parametrize(
    ("left", "right"), [(MANY, MANY[::-1]), (MANY[:100], MANY), (MANY[2000:], MANY[:2100])]
)
def test_parts_change_no_result(
    left: list[bytes],
    right: list[bytes],
    bucket_items: int,
    spilled: bool,
    room: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose(room, monkeypatch)
    monkeypatch.setattr(psi.protocols.vole.layout, "_BUCKET_ITEMS", bucket_items)
    monkeypatch.setattr(psi.protocols.vole.buckets, "_SPILL_FROM", 0 if spilled else 1 << 40)
    assert SessionSizes.of(len(left), len(right)).parts > 1
    check_sets(left, right)


@pytest.mark.usefixtures("small_parts")
def test_parts_are_of_one_size_and_shuffled_together() -> None:
    receiver, sender = Receiver(MANY[:100]), Sender(MANY)
    tags = [len(one) - FRAME_AND_MAC for one in run(receiver, sender)[TAGS:-2:2]]
    assert tags == [COIN_BYTES + TAG_BYTES * 300, *[TAG_BYTES * 300] * 9]
    assert sorted(sender._order.tolist()) == list(range(len(MANY)))
    # Matches are in all parts, wherever the sender's table has them: in 3 with p < 10^-50.
    assert len({row // 300 for row in np.flatnonzero(sender._order < 100).tolist()}) > 3


@pytest.mark.usefixtures("small_buckets")
def test_messages_depend_on_sizes_only() -> None:
    def lengths(left: list[bytes], right: list[bytes]) -> list[int]:
        return [len(message) for message in run(Receiver(left), Sender(right))]

    others = [b"x" + item for item in MANY]
    found = lengths(MANY, MANY)
    assert found == lengths(others, others[::-1])
    assert len(found) == 6 + 2 * 4 + 2
    layout = SessionSizes.of(3000, 3000)
    noise = layout.plan.noise_bytes + COIN_BYTES
    tags = COIN_BYTES + TAG_BYTES * layout.sender_items
    table = COIN_BYTES + 16 * layout.store.slots
    expected = [
        FRAME_AND_MAC + noise,
        *[FRAME_AND_MAC + table + 16, FRAME_AND_MAC + tags + noise] * 3,
    ]
    expected[-1] -= noise
    assert found[PROOF:-4] == expected
    assert found[-4:-2] == [FRAME_AND_MAC + table, FRAME_AND_MAC + tags]


@pytest.mark.usefixtures("small_buckets")
def test_dummies_of_buckets_look_like_items_and_match_nothing() -> None:
    receiver, sender = Receiver(MANY), Sender(MANY[:2000])
    run(receiver, sender)
    rows = sender._order
    assert len(rows) == sender._layout.tags > 2000
    assert sorted(rows[rows >= 0].tolist()) == list(range(2000))
    # Dummies lie among the items: where matches stand does not tell how many items there are.
    for order in rows.reshape(sender._layout.buckets, -1):
        assert np.flatnonzero(order < 0).min() < sender._layout.sender_items // 2


@pytest.mark.usefixtures("small_buckets")
def test_multiplicities_and_padding_in_buckets() -> None:
    parameters = SessionParameters(multiplicities=True)
    counts = np.arange(2500) % 100 + 1
    receiver = Receiver(padded(MANY[:1500], 2500, side="receiver"), parameters, counts=counts)
    sender = Sender(padded(MANY[1000:], 2500, side="sender"), parameters, counts=counts)
    run(receiver, sender)
    assert {MANY[index] for index in receiver.matches} == set(MANY[1000:1500])
    assert receiver.peer_counts is not None
    assert np.array_equal(receiver.peer_counts, counts[receiver.matches - 1000])
    assert sender.peer_counts is not None
    assert np.array_equal(sender.peer_counts, counts[receiver.matches])


@pytest.mark.usefixtures("small_buckets")
@pytest.mark.parametrize("busy", ["receiver", "sender", "both", "both, twice"])
def test_work_that_is_done_ahead_changes_nothing(busy: str) -> None:
    receiver, sender = Receiver(MANY), Sender(MANY[1000:])
    message, parties, lengths = receiver.start(), [sender, receiver], []
    while message is not None:
        lengths.append(len(message))
        for party in parties:
            if not party.done and (
                busy[:4] == "both" or (busy == "receiver") is (party is receiver)
            ):
                for _ in range(2 if "twice" in busy else 1):
                    party.idle()
        message = parties[0].receive(message)
        parties.reverse()
    assert {MANY[index] for index in receiver.matches} == set(MANY[1000:])
    assert np.array_equal(receiver.matches - 1000, sender.matches)
    assert lengths == [len(one) for one in run(Receiver(MANY), Sender(MANY[1000:]))]


def test_real_buckets_of_a_large_table() -> None:
    pytest.importorskip("numba")
    texts = [f"{number * 2654435761:020d}" for number in range(160_000)]
    left, right = (
        index_keys([Texts.of_list(part)], duplicates="error", normalise=[Normaliser()]).keys
        for part in (texts[:140_000], texts[60_000:])
    )
    receiver, sender = Receiver(left), Sender(right)
    assert len(run(receiver, sender)) == 6 + 2 * 2 + 2
    found = np.sort(receiver.matches)
    assert np.array_equal(found, np.arange(60_000, 140_000))
    assert np.array_equal(receiver.matches - 60_000, sender.matches)
    assert not np.array_equal(found, receiver.matches)


@pytest.mark.parametrize("side", ["receiver_items", "sender_items"])
def test_a_bucket_without_room_is_an_error(side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi.protocols.vole.layout, "_BUCKET_ITEMS", 800)
    monkeypatch.setattr(psi.protocols.vole.layout, "bin_room", lambda n, buckets: n // buckets)
    theirs = [] if side == "receiver_items" else MANY
    with pytest.raises(ProtocolError, match="start again"):
        run(Receiver(MANY), Sender(theirs))


@pytest.mark.parametrize("announced", [0, 1, 131_072, 131_073, 1 << 20, 1 << 27])
def test_buckets_are_few_and_their_stores_fit_a_chunk(announced: int) -> None:
    sizes = SessionSizes.of(announced, 1000)
    assert sizes.buckets == max(1, 1 << (max(-(-announced // (1 << 17)), 1) - 1).bit_length())
    assert sizes.plan.sizes.outputs >= sizes.store.slots
    assert sizes.plan.chunks == sizes.buckets


@pytest.mark.usefixtures("small_buckets")
def test_sessions_on_the_disk_leave_nothing_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(psi.protocols.vole.buckets, "_SPILL_FROM", 2000)
    check_sets(MANY, MANY[500:])
    assert not list(tmp_path.iterdir())
    receiver, sender = Receiver(MANY), Sender(MANY)
    base = sent(receiver.receive(sent(sender.receive(sent(receiver.start())))))
    sender.receive(base)
    receiver.idle()
    assert list(tmp_path.iterdir())
    with pytest.raises(ProtocolError):
        receiver.receive(b"not a message")
    assert not list(tmp_path.iterdir())
