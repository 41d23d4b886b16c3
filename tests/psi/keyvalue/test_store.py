"""The key-value store: values in, values out, by both rooms of kernels; nothing of the keys."""

import os
import secrets
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from psi import kernels
from psi.errors import ConfigError, ProtocolError
from psi.keyvalue import StoreKeys, StoreSizes, slots
from psi.keyvalue.core import solve_core
from psi.keyvalue.hashing import store_rows
from psi.keyvalue.sizes import DENSE_BITS

pytest.importorskip("numba")

KEY = bytes(range(32))
WIDTH = 5


def random_bytes(seed: int, *shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def both(monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Once with compiled loops at every size, once without."""
    for compiled in (True, False):
        monkeypatch.setattr(kernels, "_fast", lambda size, compiled=compiled: compiled)
        yield compiled


@given(st.integers(0, 2**32), st.integers(0, 300), st.integers(1, 33), st.integers(8, 400))
@settings(max_examples=60, deadline=None)
def test_each_key_has_its_value(seed: int, count: int, width: int, bin_keys: int) -> None:
    sizes = StoreSizes.of(count, bin_keys)
    digests, values = random_bytes(seed, count, 16), random_bytes(seed + 1, count, width)
    with pytest.MonkeyPatch.context() as patch:
        tables = []
        for _ in both(patch):
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(secrets, "token_bytes", lambda n: random_bytes(7, n).tobytes())
                store = StoreKeys(digests, KEY, sizes)
                tables.append(store.encode(values))
            assert tables[-1].shape == (sizes.slots, width)
            assert np.array_equal(store.decode(tables[-1]), values)
            # A key is found wherever it stands among others.
            some = np.arange(count)[::-3]
            assert np.array_equal(
                StoreKeys(digests[some], KEY, sizes).decode(tables[-1]), values[some]
            )
        assert np.array_equal(tables[0], tables[1])


@pytest.mark.parametrize("width", [8, 16, 32])
def test_a_large_store_is_the_same_by_both(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    count = 20_000
    sizes = StoreSizes.of(count, 3000)
    assert sizes.bins == 8
    monkeypatch.setattr(secrets, "token_bytes", lambda n: random_bytes(7, n).tobytes())
    store = StoreKeys(random_bytes(1, count, 16), KEY, sizes)
    values = random_bytes(2, count, width)
    tables = [store.encode(values) for _ in both(monkeypatch)]
    assert np.array_equal(tables[0], tables[1])
    assert np.array_equal(store.decode(tables[0]), values)


def test_rows_are_where_they_belong() -> None:
    sizes = StoreSizes.of(4000, 600)
    places, dense = store_rows(random_bytes(3, 4000, 16), KEY, sizes)
    part, within = np.divmod(places, sizes.third)
    assert (sizes.bins, sizes.sparse + DENSE_BITS) == (8, sizes.slots)
    assert np.array_equal(part % 3, np.broadcast_to(np.arange(3), part.shape))
    assert np.array_equal(part // 3, np.broadcast_to(part[:, :1] // 3, part.shape))
    # Each bin, each slot within a third, and each dense bit comes up as often as the others:
    # each of these fails for sound code with probability below 10^-9 (chi-square).
    for counts in (
        np.bincount(part[:, 0] // 3, minlength=sizes.bins),
        np.bincount(within.ravel(), minlength=sizes.third),
        (dense[:, None] >> np.arange(DENSE_BITS, dtype=np.uint64) & np.uint64(1)).sum(axis=0),
    ):
        expected = counts.mean()
        squares = ((counts - expected) ** 2 / expected).sum()
        freedom = len(counts)
        assert squares < freedom + 2 * np.sqrt(21 * freedom) + 42
    assert not np.array_equal(places, store_rows(random_bytes(3, 4000, 16), KEY[::-1], sizes)[0])


def test_other_keys_get_noise() -> None:
    values = np.zeros((500, 8), np.uint8)  # the worst values: all alike
    digests, sizes = random_bytes(4, 1000, 16), StoreSizes.of(500)
    table = StoreKeys(digests[:500], KEY, sizes).encode(values)
    others = StoreKeys(digests[500:], KEY, sizes).decode(table)
    assert len(np.unique(others, axis=0)) == 500


def sums_of_entries(tables: NDArray[np.uint8], rows: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What chosen entries add up to, in each of many tables of one byte an entry."""
    return np.stack([np.bitwise_xor.reduce(tables[:, row], axis=1) for row in rows])


def looks_random(bytes_seen: NDArray[np.uint8]) -> bool:
    """Chi-square of 255 degrees of freedom; a uniform sample fails with probability < 2^-40."""
    counts = np.bincount(bytes_seen.ravel(), minlength=256)
    expected = bytes_seen.size / 256
    return bool(((counts - expected) ** 2 / expected).sum() < 255 + 2 * np.sqrt(28 * 255) + 56)


@pytest.mark.parametrize("fault", ["none", "values", "free entries"])
def test_a_table_of_uniform_values_says_nothing_of_its_keys(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    # Whoever looks for a key adds up entries: those of keys that are in, of keys that are not, of
    # single slots, of random ones. None of these sums may differ from a coin.
    count = 12
    sizes, digests = StoreSizes.of(count), random_bytes(5, 2 * count, 16)
    own = StoreKeys(digests[:count], KEY, sizes)
    if fault == "free entries":
        monkeypatch.setattr(secrets, "token_bytes", bytes)
    tables = []
    for _ in range(600):
        values = np.frombuffer(os.urandom(count), np.uint8).reshape(count, 1).copy()
        values &= 0x7F if fault == "values" else 0xFF
        tables.append(own.encode(values)[:, 0])
    seen = np.array(tables)
    rows = np.random.default_rng(6).random((20, sizes.slots)) < 0.5
    lone = np.eye(sizes.slots, dtype=bool)
    keys = np.zeros((2 * count, sizes.slots), bool)
    places, dense = store_rows(digests, KEY, sizes)
    np.put_along_axis(keys, places.astype(np.intp), True, axis=1)
    bits = dense[:, None] >> np.arange(DENSE_BITS, dtype=np.uint64) & np.uint64(1)
    keys[:, -DENSE_BITS:] = bits.astype(bool)
    found = [
        looks_random(sums_of_entries(seen, some))
        for some in (rows, lone, keys[:count], keys[count:])
    ]
    assert all(found) == (fault == "none")


def test_equal_slots_are_told_apart_by_dense_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    # What does not peel: two keys in the same three slots, and a ring of four.
    sizes = StoreSizes(bins=1, third=4)
    store = StoreKeys(random_bytes(1, 6, 16), KEY, sizes)
    store.places = np.array(
        [[0, 4, 8], [0, 4, 8], [1, 5, 9], [1, 6, 9], [2, 5, 9], [2, 6, 9]], np.uint32
    )
    values = random_bytes(2, 6, WIDTH)
    assert np.array_equal(store.decode(store.encode(values)), values)
    store.dense[1] = store.dense[0]
    drawn: list[int] = []

    def draw(count: int) -> bytes:
        drawn.append(count)
        return bytes(count)

    monkeypatch.setattr(secrets, "token_bytes", draw)
    with pytest.raises(ProtocolError, match="fit no store"):
        store.encode(values)
    assert drawn == [sizes.slots * WIDTH]  # nothing was drawn again


def test_a_store_far_too_full_is_solved_all_the_same() -> None:
    sizes = StoreSizes(bins=1, third=6)  # 18 slots and 40 dense entries for 45 keys
    store = StoreKeys(random_bytes(8, 45, 16), KEY, sizes)
    assert len(kernels.peel(store.places, sizes.sparse)[0]) < 20
    values = random_bytes(9, 45, WIDTH)
    assert np.array_equal(store.decode(store.encode(values)), values)


def test_nothing_is_set_where_rows_depend() -> None:
    table = random_bytes(1, 12 + DENSE_BITS, 2)
    before = table.copy()
    places = np.array([[0, 4, 8], [0, 4, 8]], np.uint32)
    dense = np.array([5, 5], np.uint64)
    for values in (random_bytes(2, 2, 2), np.zeros((2, 2), np.uint8)):  # also where it would do
        assert not solve_core(table, places, dense, values)
        assert np.array_equal(table, before)


def test_sizes_that_do_not_fit() -> None:
    store = StoreKeys(random_bytes(1, 3, 16), KEY, StoreSizes.of(3))
    with pytest.raises(ConfigError, match="one value for each key"):
        store.encode(random_bytes(1, 4, 2))
    with pytest.raises(ConfigError, match="of this size"):
        store.decode(random_bytes(1, slots(3) + 1, 2))
    assert repr(store) == "StoreKeys(3 keys, StoreSizes(bins=1, third=6))"


def test_slots_a_key() -> None:
    found = {count: slots(count) / count for count in (100, 1000, 1 << 14, 1 << 17, 10**6, 1 << 24)}
    most = {100: 2.15, 1000: 1.41, 1 << 14: 1.27, 1 << 17: 1.25, 10**6: 1.24, 1 << 24: 1.25}
    assert all(found[count] <= most[count] for count in most)
    assert slots(0) > 0
