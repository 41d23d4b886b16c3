"""Packing, planes and ring arithmetic against plain integers of any size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.errors import CapacityError, ConfigError
from privfed.he import packing, planes, rlwe
from privfed.he.seal.files import seal

Q = packing.MODULUS
BITS = st.integers(packing.MIN_BITS, packing.MAX_BITS)
CLIENTS = st.one_of(
    st.integers(1, 40), st.sampled_from([63, 64, 65, 100, 127, 255, 511, 1000, 1023, 1024])
)


def test_the_modulus_is_prime_and_allows_the_transform() -> None:
    # Miller-Rabin with the first twelve primes is exact below 2^64 (Sorenson and Webster 2015).
    assert Q % (2 * packing.RING_DEGREE) == 1
    odd, twos = Q - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        x = pow(base, odd, Q)
        chain = [x] + [x := x * x % Q for _ in range(twos - 1)]
        assert chain[0] == 1 or Q - 1 in chain


@given(st.integers(1, 64), st.lists(st.integers(0, 2**64 - 1), max_size=70))
def test_planes_round_trip_at_any_width(width: int, numbers: list[int]) -> None:
    words = np.array(numbers, np.uint64) & np.uint64(2**width - 1)
    data = planes.encode(words, width)
    assert len(data) == planes.size_bytes(len(words), width)
    assert len(data) <= -(-len(words) * width // 8) + 7
    assert np.array_equal(planes.decode(data, len(words), width), words)


@given(st.integers(1, 58), st.integers(0, 6), st.integers(0, 3), st.integers(-9, 9))
def test_planes_are_added_in_place_run_by_run(width: int, shift: int, runs: int, odd: int) -> None:
    count = max(0, runs * planes._RUN + odd)  # noqa: SLF001  (what ends a run is what may go wrong)
    drawn = np.random.default_rng([width, count])
    words = drawn.integers(0, 2**width, count, np.uint64)
    before = drawn.integers(0, 2**63, count, np.uint64)
    added = before.copy()
    planes.add(added, memoryview(planes.encode(words, width)), width, shift)
    assert np.array_equal(added, before + (words << np.uint64(shift)))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50))
def test_reduce_is_the_remainder(numbers: list[int]) -> None:
    words = rlwe.reduce(np.array(numbers, np.uint64))
    assert words.tolist() == [number % Q for number in numbers]


@given(st.integers(6, 56), st.data())
def test_scaling_up_and_down_stays_within_its_rounding(
    plain_bits: int, data: st.DataObject
) -> None:
    t = 2**plain_bits
    numbers = data.draw(st.lists(st.integers(0, t - 1), min_size=1, max_size=20))
    messages = np.array([*numbers, 0, t - 1, t // 2], np.uint64)
    scaled = rlwe.scale_up(messages, plain_bits)
    for message, word in zip(messages.tolist(), scaled.tolist(), strict=True):
        assert abs(word * t - Q * message) < (1 + 2**-20) * t
    room = Q // (2 * t) - packing._DECODE_ROUNDING - 2  # noqa: SLF001  (the bound that is promised)
    if room < 1:
        return
    for noise in (0, room, -room):
        phases = np.array([(int(word) + noise) % Q for word in scaled], np.uint64)
        read, distance = rlwe.scale_down(phases, plain_bits)
        assert read.tolist() == messages.tolist()
        off = np.abs(distance.astype(np.int64) - abs(noise))
        assert off.max() <= packing._DECODE_ROUNDING + abs(noise) * 2**-38  # noqa: SLF001  (the bound that is promised)


@given(st.integers(0, 40), st.lists(st.integers(0, Q - 1), min_size=1, max_size=30))
def test_cutting_loses_at_most_half(bits: int, numbers: list[int]) -> None:
    words = np.array([*numbers, 0, Q - 1], np.uint64)
    cut = rlwe.cut(words.copy(), bits)
    assert cut.max() < 2 ** (packing.MODULUS_BITS - bits)
    for before, after in zip(words.tolist(), rlwe.uncut(cut, bits).tolist(), strict=True):
        assert min((after - before) % Q, (before - after) % Q) <= 2**bits // 2


@given(BITS, CLIENTS)
@settings(max_examples=300)
def test_every_chosen_packing_keeps_the_bound(bits: int, clients: int) -> None:
    chosen = packing.choose(bits, clients)
    assert chosen.radix**chosen.lanes <= 2**chosen.plain_bits
    per_client = (
        packing.FRESH_NOISE + 1 + (2 ** (chosen.upload_cut - 1) if chosen.upload_cut else 0)
    )
    download = 2 ** (chosen.download_cut - 1) if chosen.download_cut else 0
    assert clients * per_client + download < Q / 2 ** (chosen.plain_bits + 1) - 1


@given(BITS, CLIENTS, st.integers(1, 4), st.data())
def test_packing_holds_the_extremes_of_sums(
    bits: int, clients: int, rows: int, data: st.DataObject
) -> None:
    chosen = packing.choose(bits, clients)
    top = chosen.limit * clients
    size = rows * chosen.lanes - data.draw(st.integers(0, chosen.lanes - 1))
    extremes = st.sampled_from([top, -top, top - 1, 1 - top, 0, 1, -1]) | st.integers(-top, top)
    sums = np.array(data.draw(st.lists(extremes, min_size=size, max_size=size)), np.int64)
    coefficients = packing.pack(sums, chosen)
    assert len(coefficients) == chosen.coefficients(size)
    unpacked = packing.unpack(coefficients, size, chosen)
    assert unpacked is not None
    assert np.array_equal(unpacked, sums)


def test_packing_is_linear_past_the_range() -> None:
    """A noisy integer may leave the range; the sum is still a function of the integers' sum."""
    chosen = packing.choose(8, 3)
    rng = np.random.default_rng(0)
    parts = rng.integers(-(2**20), 2**20, (3, 50))
    mask = np.uint64(2**chosen.plain_bits - 1)
    added = sum(packing.pack(part, chosen) for part in parts) & mask
    assert np.array_equal(added, packing.pack(parts.sum(axis=0), chosen))


def test_coefficients_that_hold_no_sums_are_noticed() -> None:
    chosen = packing.choose(8, 10)
    assert chosen.radix**chosen.lanes < 2**chosen.plain_bits * 0.6
    assert packing.unpack(np.full(2, 2 ** (chosen.plain_bits - 1), np.uint64), 8, chosen) is None


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"lanes": 3}, "lanes"),
        ({"upload_cut": 16}, "noise"),
        ({"download_cut": 18}, "noise"),
        ({"upload_cut": 15, "download_cut": 18}, "noise"),
        ({"plain_bits": 38}, "lanes"),
        ({"lanes": 0}, "lanes"),
    ],
)
def test_a_packing_past_its_bound_is_refused_with_the_remedy(
    changes: dict[str, int], error: str
) -> None:
    good = {
        "bits": 16,
        "max_clients": 10,
        "lanes": 2,
        "plain_bits": 39,
        "upload_cut": 15,
        "download_cut": 17,
    }
    packing.Packing(**good)
    with pytest.raises(CapacityError, match=rf"{error}.*fewer"):
        packing.Packing(**(good | changes))


@pytest.mark.parametrize(("bits", "clients"), [(5, 3), (33, 3), (16, 0), (16, 1025)])
def test_settings_out_of_range(bits: int, clients: int) -> None:
    for choose in (packing.choose, packing.choose_slots):
        with pytest.raises(ConfigError):
            choose(bits, clients)


@given(BITS, CLIENTS)
def test_every_slot_packing_keeps_the_bound(bits: int, clients: int) -> None:
    clients = min(clients, 1000)  # what is promised; 1024 clients at 32 bits do not fit
    chosen = packing.choose_slots(bits, clients)
    assert chosen.radix**chosen.lanes <= 2**chosen.plain_bits - packing.SLOT_PRIME_GAP
    assert clients * (packing.FRESH_NOISE + 1) < Q / 2 ** (chosen.plain_bits + 1)


@pytest.mark.parametrize("plain_bits", range(23, 58))
def test_the_primes_of_slots_are_as_large_as_said(plain_bits: int) -> None:
    prime = seal().PlainModulus.Batching(packing.RING_DEGREE, plain_bits).value()
    assert 2**plain_bits - packing.SLOT_PRIME_GAP <= prime < 2**plain_bits


@given(BITS, CLIENTS)
def test_a_sum_of_uploads_as_they_are_has_room(bits: int, clients: int) -> None:
    chosen = packing.choose(bits, clients)
    largest = clients * (2**chosen.upload_bits - 1)
    assert largest < 2**chosen.sum_bits or chosen.sum_bits == packing.MODULUS_BITS
    assert chosen.upload_bits <= chosen.sum_bits


@given(st.lists(st.integers(0, Q - 1), min_size=1, max_size=20), st.integers(0, 57))
def test_shifts_are_products_mod_q(numbers: list[int], bits: int) -> None:
    shifted = rlwe.shift(np.array(numbers, np.uint64), bits)
    assert shifted.tolist() == [number * 2**bits % Q for number in numbers]
