"""kkrt: right results at every size, in both rooms of kernels, and each of its parts by itself."""

import subprocess
import sys

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from psi_peers import HEADER_BYTES, MAC_BYTES, SEAL_BYTES, run

import psi.kernels
from psi import Parameters, StateError
from psi.kkrt import Receiver, Sender
from psi.kkrt.extension import receive_rows, send_rows
from psi.kkrt.hashing import SessionHashes, bins_for
from psi.kkrt.matching import matching_rows
from psi.kkrt.transfers import TRANSFERS, Chooser, KeySide

IDENTITY = bytes(range(32))
MANY = [str(number).encode() for number in range(3000)]
LEFT, RIGHT = [b"a", b"b", b"c"], [b"c", b"d", b"a", b"e"]

items = st.lists(st.binary(max_size=4), unique=True, max_size=12)


def check_sets(left: list[bytes], right: list[bytes]) -> None:
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
    if room == "fast":
        pytest.importorskip("numba")
        monkeypatch.setattr(psi.kernels, "FAST_FROM", 1)
    check_sets(left, right)


def test_more_rows_than_one_chunk_and_batch() -> None:
    left = [number.to_bytes(4, "big") for number in range(70_000)]
    check_sets(left, left[35_000:] + MANY)


def test_only_the_receiver_learns_if_so_agreed() -> None:
    parameters = Parameters(output="receiver")
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
    parties = []
    for role in (Receiver, Sender):
        own = data.draw(items)
        size = st.lists(st.integers(1, 1000), min_size=len(own), max_size=len(own))
        counts = np.array(data.draw(size), np.intp)
        parties.append(role(own, Parameters(multiplicities=True), counts=counts))
    receiver, sender = parties
    run(receiver, sender)
    assert np.array_equal(receiver.peer_counts, sender._counts[sender.matches])
    assert np.array_equal(sender.peer_counts, receiver._counts[receiver.matches])


def test_two_sessions_share_nothing_and_items_are_shuffled() -> None:
    tags, orders = [], []
    for _ in range(2):
        receiver, sender = Receiver(MANY), Sender(MANY)
        body = run(receiver, sender)[5][HEADER_BYTES + MAC_BYTES : -SEAL_BYTES]
        width = receiver._tag_bytes
        tags.append({body[at : at + width] for at in range(0, len(body), width)})
        orders.append(sender._order.tolist())
    assert len(tags[0]) == len(tags[1]) == 3 * len(MANY)
    assert tags[0].isdisjoint(tags[1])
    assert sorted(orders[0]) == list(range(len(MANY)))
    assert orders[0] != orders[1]


def test_secrets_are_forgotten() -> None:
    receiver, sender = Receiver(LEFT), Sender(RIGHT)
    run(receiver, sender)
    assert (receiver._key_side, receiver._own_tags, receiver._mac_key) == (None, (), b"")
    assert (sender._seeds, sender._choices, sender._mac_key) == ((), None, b"")
    assert repr(receiver) == "Receiver(3 items)"


# -- the parts ----------------------------------------------------------------------------------


def test_a_transfer_gives_the_chosen_seed_and_only_that() -> None:
    key_side, chooser = KeySide(IDENTITY), Chooser(IDENTITY)
    both, chosen = key_side.seeds(chooser.choices), chooser.seeds(key_side.public.tobytes())
    assert len({*both[0], *both[1]}) == 2 * TRANSFERS
    assert [both[bit][number] for number, bit in enumerate(chooser.bits)] == chosen
    assert 150 < chooser.bits.sum() < 362  # 2^-64 for fair bits


def test_another_session_s_transfers_do_not_fit() -> None:
    key_side, chooser = KeySide(IDENTITY), Chooser(bytes(32))
    both = key_side.seeds(chooser.choices)
    assert {*both[0], *both[1]}.isdisjoint(chooser.seeds(key_side.public.tobytes()))


@pytest.mark.parametrize("n_rows", [64, 4224, (1 << 15) + 64])
def test_the_sender_gets_the_row_plus_the_masked_code(n_rows: int) -> None:
    rng = np.random.default_rng(n_rows)
    codes = rng.integers(0, 256, (n_rows, 64), np.uint8)
    zero, one = ([rng.bytes(16) for _ in range(TRANSFERS)] for _ in range(2))
    bits = rng.integers(0, 2, TRANSFERS, np.uint8)
    kept, sent = receive_rows((zero, one), n_rows, lambda start, end: codes[start:end])
    chosen = [(zero, one)[bit][number] for number, bit in enumerate(bits)]
    packed = np.packbits(bits, bitorder="little")
    assert np.array_equal(send_rows(chosen, packed, sent), kept ^ (codes & packed))
    # Column j of what is kept is the AES-CTR stream of seed j.
    stream = Cipher(algorithms.AES(zero[3]), modes.CTR(bytes(16))).encryptor()
    column = np.unpackbits(
        np.frombuffer(stream.update(bytes(n_rows // 8)), np.uint8), bitorder="little"
    )
    assert np.array_equal(np.unpackbits(kept, axis=1, bitorder="little")[:, 3], column)


def test_bins_and_codes_are_aes_of_the_digest() -> None:
    hashes = SessionHashes(IDENTITY)
    digests = hashes.digests(MANY[:50])

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
    assert one.row_key != other.row_key
    for first, second in ((one.digests(MANY), other.digests(MANY)), (
        one.codes(one.digests(MANY)), other.codes(one.digests(MANY)))):  # fmt: skip
        assert not np.any(np.all(first == second, axis=1))


@given(st.data(), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_matching_compares_whole_tags(data: st.DataObject, width: int) -> None:
    # Few values of few bytes: tags that agree in their first 8 bytes, or in all but the last.
    tag = st.builds(
        lambda head, tail: (bytes([head]) * 12)[: width - 1] + bytes([tail]),
        st.integers(0, 2),
        st.integers(0, 3),
    )
    lists = st.lists(tag, unique=True, max_size=12)
    theirs, own = data.draw(lists), data.draw(lists)

    def rows(tags: list[bytes]) -> np.ndarray:
        return np.frombuffer(b"".join(tags), np.uint8).reshape(-1, width)

    found = zip(*matching_rows(rows(theirs), rows(own)), strict=True)
    expected = {(theirs.index(common), own.index(common)) for common in {*theirs} & {*own}}
    assert sorted(found) == sorted(expected)


SMALL_SESSION = """
import sys
{before}
from psi.kkrt import Receiver, Sender
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
