"""kkrt: right results at every size, in both rooms of kernels, and each of its parts by itself."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

import psi.kernels
import psi.protocols.kkrt.buckets
import psi.protocols.kkrt.layout
from psi import ConfigError, ProtocolError, RepeatedElementError, SessionParameters, StateError
from psi.protocols.kkrt import Receiver, Sender
from psi.protocols.kkrt.buckets import Buckets
from psi.protocols.kkrt.extension import Columns, receive_rows, send_rows
from psi.protocols.kkrt.hashing import SessionHashes
from psi.protocols.kkrt.layout import TRANSFERS, SessionSizes, bins_for
from psi.protocols.kkrt.matching import matching_tags
from psi.protocols.padding import padded
from psi.tables.keys import index_keys
from psi.tables.normalise import Normaliser
from psi.texts import TextKeys, Texts
from tests.psi.peers import HEADER_BYTES, MAC_BYTES, SEAL_BYTES, run, sent

IDENTITY = bytes(range(32))
MANY = [str(number).encode() for number in range(3000)]
LEFT, RIGHT = [b"a", b"b", b"c"], [b"c", b"d", b"a", b"e"]
FRAME_AND_MAC = HEADER_BYTES + SEAL_BYTES + MAC_BYTES

items = st.lists(st.binary(max_size=4), unique=True, max_size=12)


def choose(room: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if room == "fast":
        pytest.importorskip("numba")
        monkeypatch.setattr(psi.kernels, "FAST_FROM", 0)
    else:
        monkeypatch.setattr(psi.kernels, "fast_available", lambda: False)


def check_sets(left: Sequence[bytes], right: Sequence[bytes]) -> None:
    receiver, sender = Receiver(left), Sender(right)
    run(receiver, sender)
    at_left = [left[index] for index in receiver.matches]
    assert at_left == [right[index] for index in sender.matches]
    assert len(at_left) == len(set(at_left))
    assert set(at_left) == set(left) & set(right)


@given(items, items)
@settings(max_examples=20, deadline=None)
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
        (MANY, MANY),
        (MANY, MANY[::-1]),
        (MANY[:1500], MANY[1500:]),
        (MANY, MANY[7:8]),
        (MANY[7:8], MANY),
        (MANY, [*MANY, b"", b"x" * 64, b"x" * 65, b"x" * 1000]),
    ],
)
def test_adversarial_sizes(
    left: list[bytes], right: list[bytes], room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(room, monkeypatch)
    check_sets(left, right)


def test_more_rows_than_one_chunk_and_batch() -> None:
    left = [number.to_bytes(4, "big") for number in range(70_000)]
    check_sets(left, left[35_000:] + MANY)


def test_only_the_receiver_learns_if_so_agreed() -> None:
    parameters = SessionParameters(output="receiver")
    receiver, sender = Receiver(LEFT, parameters), Sender(RIGHT, parameters)
    messages = run(receiver, sender)
    assert {LEFT[index] for index in receiver.matches} == {b"a", b"c"}
    with pytest.raises(StateError, match="receiver only"):
        _ = sender.matches
    # After the tags the sender sees a confirmation, whatever matched.
    assert [len(message) - HEADER_BYTES - SEAL_BYTES for message in messages[6:]] == [32, 32]


@given(st.data())
@settings(max_examples=10, deadline=None)
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


def test_two_sessions_share_nothing_and_items_are_shuffled() -> None:
    tags, orders = [], []
    for _ in range(2):
        receiver, sender = Receiver(MANY), Sender(MANY)
        body = run(receiver, sender)[5][HEADER_BYTES + MAC_BYTES : -SEAL_BYTES]
        width = receiver._layout.tag_bytes
        tags.append({body[at : at + width] for at in range(0, len(body), width)})
        orders.append(sender._orders[0].tolist())
    assert len(tags[0]) == len(tags[1]) == 3 * len(MANY)
    assert tags[0].isdisjoint(tags[1])
    assert sorted(orders[0]) == list(range(len(MANY)))
    assert orders[0] != orders[1]


def test_secrets_are_forgotten() -> None:
    receiver, sender = Receiver(LEFT), Sender(RIGHT)
    run(receiver, sender)
    assert (receiver._transfers, receiver._own_tags, receiver._mac_key) == (None, (), b"")
    assert (sender._columns, sender._choices, sender._mac_key) == (None, None, b"")
    assert receiver._columns is None
    assert receiver._buckets is None
    assert sender._buckets is None
    assert repr(receiver) == "Receiver(3 items)"


# -- the parts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [64, 4224, (1 << 15) + 64])
def test_the_sender_gets_the_row_plus_the_masked_code(n_rows: int) -> None:
    rng = np.random.default_rng(n_rows)
    codes = rng.integers(0, 256, (n_rows, 64), np.uint8)
    zero, one = ([rng.bytes(16) for _ in range(TRANSFERS)] for _ in range(2))
    bits = rng.integers(0, 2, TRANSFERS, np.uint8)
    columns = Columns(zero, n_rows), Columns(one, n_rows)
    kept, sent = receive_rows(columns, n_rows, lambda start, end: codes[start:end])
    chosen = [(zero, one)[bit][number] for number, bit in enumerate(bits)]
    packed = np.packbits(bits, bitorder="little")
    # In two parts, as for two buckets.
    sending = Columns(chosen, n_rows)
    own = [send_rows(sending, packed, part) for part in (sent[:64], sent[64:])]
    assert np.array_equal(np.vstack(own), kept ^ (codes & packed))
    # Column j of what is kept is the AES-CTR stream of seed j.
    stream = Cipher(algorithms.AES(zero[3]), modes.CTR(bytes(16))).encryptor()
    column = np.unpackbits(
        np.frombuffer(stream.update(bytes(n_rows // 8)), np.uint8), bitorder="little"
    )
    assert np.array_equal(np.unpackbits(kept, axis=1, bitorder="little")[:, 3], column)


def test_bins_and_codes_are_aes_of_the_digest() -> None:
    hashes = SessionHashes(IDENTITY)
    (digests,) = hashes.digests(MANY[:50])

    def aes(key: bytes, block: bytes) -> bytes:
        return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)  # noqa: S305

    n_bins = bins_for(10**6)
    for digest, bins, code in zip(
        digests, hashes.bins(digests, n_bins), hashes.codes(digests), strict=True
    ):
        assert code.tobytes() == b"".join(aes(key, digest.tobytes()) for key in hashes._code_keys)
        stream = b"".join(aes(key, digest.tobytes()) for key in hashes._bin_keys)
        words = [int.from_bytes(stream[at : at + 8], "little") for at in (0, 8, 16)]
        third = n_bins // 3
        expected = [(word * third >> 64) + third * index for index, word in enumerate(words)]
        # Two roundings instead of one may differ by nothing: both are floors of the same number.
        assert bins.tolist() == expected


def test_hashes_of_two_sessions_differ() -> None:
    one, other = SessionHashes(IDENTITY), SessionHashes(bytes(32))
    assert len({hashes.row_key(bucket) for hashes in (one, other) for bucket in (0, 1)}) == 4
    (own,), (others,) = one.digests(MANY), other.digests(MANY)
    for first, second in ((own, others), (one.codes(own), other.codes(own))):
        assert not np.any(np.all(first == second, axis=1))


def test_matching_notices_tags_that_occur_twice() -> None:
    tags = np.random.default_rng(3).integers(0, 256, (50, 11), np.uint8)
    rows, found = matching_tags(tags, tags[[7, 3]])
    assert (rows.tolist(), found.tolist()) == ([3, 7], [1, 0])
    tags[20] = tags[30]
    with pytest.raises(RepeatedElementError):
        matching_tags(tags, tags[:2])
    tags[20, -1] ^= 1  # the same first 8 bytes are not the same tag
    assert matching_tags(tags, tags[[20]])[0].tolist() == [20]
    assert [len(part) for part in matching_tags(tags[:0], tags[:2])] == [0, 0]


# -- several buckets ----------------------------------------------------------------------------


@pytest.fixture
def small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi.protocols.kkrt.layout, "_BUCKET_ITEMS", 800)


@pytest.mark.usefixtures("small_buckets")
@pytest.mark.parametrize("room", ["portable", "fast"])
@pytest.mark.parametrize(
    ("left", "right"),
    [(MANY, MANY[::-1]), (MANY[:1], MANY), (MANY[1000:], MANY[:1100]), (MANY, [])],
)
def test_buckets_change_no_result(
    left: list[bytes], right: list[bytes], room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(room, monkeypatch)
    assert SessionSizes.of(len(left), len(right)).buckets == 4
    check_sets(left, right)


@pytest.mark.usefixtures("small_buckets")
def test_messages_of_buckets_depend_on_sizes_only() -> None:
    def lengths(left: list[bytes], right: list[bytes]) -> list[int]:
        return [len(message) for message in run(Receiver(left), Sender(right))]

    others = [b"x" + item for item in MANY]
    layout = SessionSizes.of(3000, 3000)
    found = lengths(MANY, MANY)
    assert found == lengths(others, others[::-1])
    assert found[4:-2] == [FRAME_AND_MAC + 64 * layout.rows, FRAME_AND_MAC + 3 * layout.tag_bytes
                           * layout.sender_items] * 4  # fmt: skip


@pytest.mark.usefixtures("small_buckets")
def test_dummies_of_buckets_look_like_items_and_match_nothing() -> None:
    receiver, sender = Receiver(MANY), Sender(MANY[:2000])
    messages = run(receiver, sender)
    rows = np.concatenate(sender._orders)
    layout = sender._layout
    assert len(rows) == 4 * layout.sender_items > 2000
    assert sorted(rows[rows >= 0].tolist()) == list(range(2000))
    # Dummies lie among the items: where matches stand does not tell how many items there are.
    for order in sender._orders:
        assert np.flatnonzero(order < 0).min() < layout.sender_items // 2
    tags = b"".join(message[72:-32] for message in messages[5:-2:2])
    width = 3 * layout.tag_bytes
    assert len({tags[at : at + width] for at in range(0, len(tags), width)}) == len(rows)


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


def test_real_buckets_of_a_large_table() -> None:
    pytest.importorskip("numba")
    texts = [f"{number * 2654435761:020d}" for number in range(290_000)]
    left = index_keys(
        [Texts.of_list(texts[:200_000])], duplicates="error", normalise=[Normaliser()]
    )
    right = index_keys(
        [Texts.of_list(texts[60_000:])], duplicates="error", normalise=[Normaliser()]
    )
    receiver, sender = Receiver(left.keys), Sender(right.keys)
    assert len(run(receiver, sender)) == 6 + 2 * 2
    found = np.sort(receiver.matches)
    assert np.array_equal(found, np.arange(60_000, 200_000))
    assert np.array_equal(receiver.matches - 60_000, sender.matches)
    assert not np.array_equal(found, receiver.matches)


def test_a_bucket_without_room_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi.protocols.kkrt.layout, "_BUCKET_ITEMS", 800)
    monkeypatch.setattr(psi.protocols.kkrt.layout, "bucket_items", lambda n, buckets: n // buckets)
    receiver, sender = Receiver(MANY), Sender(MANY)
    hello = sender.receive(sent(receiver.start()))
    choices = sender.receive(sent(receiver.receive(sent(hello))))
    with pytest.raises(ProtocolError, match="start again"):
        receiver.receive(sent(choices))


@pytest.mark.parametrize("spilled", [False, True])
@pytest.mark.parametrize("buckets", [1, 2, 16])
def test_every_digest_is_in_the_bucket_of_its_first_bits(
    buckets: int, spilled: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(psi.protocols.kkrt.buckets, "_SPILL_FROM", 500 if spilled else 501)
    digests = np.random.default_rng(1).integers(0, 256, (500, 16), np.uint8)
    sorted_in = Buckets(iter(np.split(digests, [100, 100, 350])), 500, buckets)
    on_disk = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(on_disk) == (500 * 24 if spilled else 0)
    assert not any(digest.tobytes()[:8] in on_disk for digest in digests)  # but encrypted
    every = []
    for number in range(buckets):
        rows, own = sorted_in.take(number)
        assert len(rows) == sorted_in.sizes[number]
        assert np.array_equal(own, digests[rows])
        words = own[:, :4].copy().view("<u4").ravel().astype(float)
        assert np.all(words * buckets // 2**32 == number)
        every += rows.tolist()
    assert sorted(every) == list(range(500))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    sorted_in.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small_buckets")
def test_sessions_on_the_disk_leave_nothing_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(psi.protocols.kkrt.buckets, "_SPILL_FROM", 2000)
    check_sets(MANY, MANY[500:])
    assert not list(tmp_path.iterdir())
    receiver, sender = Receiver(MANY), Sender(MANY)
    receiver.receive(
        sent(sender.receive(sent(receiver.receive(sent(sender.receive(sent(receiver.start())))))))
    )
    assert list(tmp_path.iterdir())
    with pytest.raises(ProtocolError):
        receiver.receive(b"not a message")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_takes_nothing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(psi.protocols.kkrt.buckets, "_SPILL_FROM", 1)
    digests = np.zeros((1, 16), np.uint8)
    spilled = Buckets([digests], 1, 1)
    next(path for path in tmp_path.rglob("*") if path.is_file()).unlink()
    with pytest.raises(ConfigError, match="TMPDIR"):
        spilled.take(0)
    spilled.close()
    monkeypatch.setattr(Buckets, "_path", lambda self, bucket: tmp_path / "missing" / "file")
    with pytest.raises(ConfigError, match="TMPDIR"):
        Buckets([digests], 1, 1)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="No such file"):
        Buckets([digests], 1, 1)


def test_keys_of_texts_are_items_like_any_others() -> None:
    texts = TextKeys(Texts.of_list([str(number) for number in range(3000)]), np.arange(3000))
    plain = list(texts)
    check_sets(texts, plain[1000:])
    check_sets(plain[:2000], texts)


SMALL_SESSION = """
import sys
{before}
from psi.protocols.kkrt import Receiver, Sender
items = [str(number).encode() for number in range(5000)]
receiver, sender = Receiver(items), Sender(items[2500:] + [b"x"])
message, turn = receiver.start(), 0
while message is not None:
    message = (sender, receiver)[turn % 2].receive(message)
    turn += 1
assert len(receiver.matches) == 2500
print(sys.modules.get("numba"))
"""


@pytest.mark.parametrize(
    "before",
    [
        "",  # a small set never loads numba
        "sys.modules['numba'] = None; import importlib.util as util; "
        "util.find_spec = lambda name: None; import psi.kernels; "
        "psi.kernels.FAST_FROM = 1",  # and without numba everything works
    ],
)
def test_numba_is_not_needed(before: str) -> None:
    code = SMALL_SESSION.format(before=before)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
