"""Both rooms of kernels against hashlib, OpenSSL and numpy, and when each runs."""

import hashlib
from collections import Counter
from types import ModuleType

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st

from psi import kernels
from psi.kernels import portable
from psi.kernels.texts import TextKeys, Texts

fast = pytest.importorskip("psi.kernels.fast")

BOTH = pytest.mark.parametrize("room", [portable, fast], ids=["portable", "fast"])
KEY = bytes(range(32))
draws = st.integers(0, 2**32)


def random_bytes(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def digest(room: ModuleType, items: list[bytes]) -> np.ndarray:
    if room is not fast:
        return portable.digest_items(items, KEY)
    ends = np.cumsum([0, *map(len, items)])
    out = np.empty((len(items), 16), np.uint8)
    fast.digest_items(np.frombuffer(b"".join(items), np.uint8), ends, KEY, out, headed=False)
    return out


@BOTH
def test_known_answers_of_blake2s(room: ModuleType) -> None:
    # Inputs 00 and 0001 of blake2-kat.json in the BLAKE2 reference code (key 00..1f). They are of
    # 32-byte digests; ours have 16, so the oracle is held to them, and then we to the oracle.
    known = {
        bytes([0]): "40d15fee7c328830166ac3f918650f807e7e01e177258cdc0a39b11f598066f1",
        bytes([0, 1]): "6bb71300644cd3991b26ccd4d274acd1adeab8b1d7914546c1198bbe9fc9d803",
    }
    for item, expected in known.items():
        assert hashlib.blake2s(item, key=KEY).hexdigest() == expected
        shorter = hashlib.blake2s(item, key=KEY, digest_size=16).digest()
        assert digest(room, [item]).tobytes() == shorter


@BOTH
@given(st.lists(st.binary(min_size=1, max_size=64), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_digests_are_hashlib_s(room: ModuleType, items: list[bytes]) -> None:
    expected = [hashlib.blake2s(item, digest_size=16, key=KEY).digest() for item in items]
    assert digest(room, items).tobytes() == b"".join(expected)


@given(st.lists(st.text(max_size=70), min_size=1, max_size=40), st.integers(0, 40))
@settings(max_examples=50, deadline=None)
def test_digests_of_texts_are_those_of_their_keys(texts: list[str], cut: int) -> None:
    # In two chunks, with texts of every length around the one block that is compiled.
    values = [*texts, *("x" * length for length in (0, 54, 55, 56, 200))]
    chunks = [*Texts.of_list(values[:cut]).chunks, *Texts.of_list(values[cut:]).chunks]
    some = np.flatnonzero(np.arange(len(values)) % 3 != cut % 4)
    keys = TextKeys(Texts(chunks), some)
    expected = [
        hashlib.blake2s(_encode_text(values[row]), digest_size=16, key=KEY).digest()
        for row in some.tolist()
    ]
    with pytest.MonkeyPatch.context() as patch:
        for compiled in (True, False):
            patch.setattr(kernels, "fast_available", lambda compiled=compiled: compiled)
            assert kernels.digest_items(keys, KEY).tobytes() == b"".join(expected)


def _encode_text(text: str) -> bytes:
    content = text.encode()
    return b"t" + len(content).to_bytes(8, "big") + content


@BOTH
@given(seed=draws, n=st.integers(0, 40), width=st.integers(1, 64))
@settings(max_examples=50, deadline=None)
def test_hashes_of_rows_are_hashlib_s(room: ModuleType, seed: int, n: int, width: int) -> None:
    rows = random_bytes(seed, n, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "_fast", lambda size: room is fast)
        hashed = kernels.hash_rows(rows, KEY)
    assert hashed.shape == (n, 32)
    assert hashed.tobytes() == b"".join(hashlib.blake2s(row, key=KEY).digest() for row in rows)


def test_hashlib_s_blake2s_is_openssl_s() -> None:
    for length in (0, 1, 63, 64, 65, 72, 128, 1000):
        message = random_bytes(length, length).tobytes()
        openssl = hashes.Hash(hashes.BLAKE2s(32))
        openssl.update(message)
        assert openssl.finalize() == hashlib.blake2s(message).digest()


numbers = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=40)


@BOTH
@given(numbers)
@settings(max_examples=100, deadline=None)
def test_repeated_numbers_are_noticed(room: ModuleType, drawn: list[int]) -> None:
    assert room.all_distinct(np.array(drawn, np.uint64)) == (len(set(drawn)) == len(drawn))


def test_numbers_of_one_slot_do_not_hold_up() -> None:
    # 2^18 numbers with the same low bits: a table by those bits would take 2^35 steps.
    drawn = np.arange(1 << 18, dtype=np.uint64) << np.uint64(32)
    assert fast.all_distinct(drawn)
    drawn[-1] = drawn[77]
    assert not fast.all_distinct(drawn)


@BOTH
@given(st.data(), st.integers(1, 12))
@settings(max_examples=100, deadline=None)
def test_tags_match_in_full(room: ModuleType, data: st.DataObject, width: int) -> None:
    # Few values of few bytes: tags that agree in their first 8 bytes, or in all but the last.
    tag = st.builds(
        lambda head, tail: (bytes([head]) * 12)[: width - 1] + bytes([tail]),
        st.integers(0, 2),
        st.integers(0, 3),
    )
    theirs = data.draw(st.lists(tag, max_size=12))
    own = data.draw(st.lists(tag, unique=True, max_size=12))
    # As they come: a third of the columns of a wider array.
    wide = np.frombuffer(b"".join(x + bytes(width) for x in theirs), np.uint8)
    found = room.match_tags(
        wide.reshape(-1, 2 * width)[:, :width],
        np.frombuffer(b"".join(own), np.uint8).reshape(-1, width),
    )
    assert found.tolist() == [own.index(x) if x in own else -1 for x in theirs]


@BOTH
def test_random_orders_are_permutations_and_fair(room: ModuleType) -> None:
    rng = np.random.default_rng(5)
    for n in (0, 1, 2, 1000):
        drawn = rng.integers(0, 2**64, n, np.uint64)
        assert sorted(room.random_order(drawn).tolist()) == list(range(n))
    orders = Counter(
        tuple(room.random_order(rng.integers(0, 2**64, 4, np.uint64)).tolist())
        for _ in range(24_000)
    )
    assert len(orders) == 24
    # Chi-squared with 23 degrees of freedom passes 70 with probability 1e-6; the seed is fixed.
    assert sum((count - 1000) ** 2 / 1000 for count in orders.values()) < 70


def test_the_choice_of_room_changes_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [number.to_bytes(9, "big") for number in range(300)]
    table = random_bytes(1, 300, 64)

    def results() -> list[bytes]:
        return [
            kernels.digest_items(items, KEY).tobytes(),
            kernels.hash_rows(table, KEY).tobytes(),
            kernels.match_tags(table, table[7:90]).tobytes(),
        ]

    quick = results()  # compiled: this process has loaded that by now
    monkeypatch.setattr(kernels, "fast_available", lambda: False)
    assert results() == quick
    monkeypatch.undo()
    # What the compiled digest does not take goes to hashlib.
    odd = [b"", *items, b"x" * 65]
    assert kernels.digest_items(odd, KEY).tobytes() == digest(portable, odd).tobytes()
