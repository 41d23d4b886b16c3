"""The failure bound of a store, derived again: exactly where numbers allow, over all subsets."""

import math
from fractions import Fraction

import numpy as np
import pytest

from psi.keyvalue.bounds import log2_even, log2_failure, most_held
from psi.keyvalue.sizes import MOST_KEYS, OVERFLOW_BITS, StoreSizes, bin_room

EVERYWHERE = sorted({*range(2, 130), *(int(2 ** (step / 3)) for step in range(21, 66, 4))})
BINS = 1 << 17


def even_by_counting(balls: int, slots: int) -> Fraction:
    """That each slot gets an even number of balls, ball by ball: by how many slots are odd."""
    odd = {0: Fraction(1)}
    for _ in range(balls):
        after: dict[int, Fraction] = {}
        for count, chance in odd.items():
            for change, ways in ((-1, count), (1, slots - count)):
                after[count + change] = after.get(count + change, Fraction(0)) + (
                    chance * ways / slots
                )
        odd = after
    return odd.get(0, Fraction(0))


def log2_dependent(keys: int, third: int) -> float:
    """The union bound over all sets of keys, with the exact chance of each, in whole numbers."""
    total = 0
    weights = [math.comb(third, j) for j in range(third + 1)]
    for s in range(2, keys + 1, 2):
        ways = sum(w * (third - 2 * j) ** s for j, w in enumerate(weights)) >> third
        total += math.comb(keys, s) * ways**3 * third ** (3 * (keys - s))
    return math.log2(total) - 3 * keys * math.log2(third)


@pytest.mark.parametrize("slots", [1, 2, 3, 7, 20])
def test_even_numbers_everywhere_are_as_likely_as_counted(slots: int) -> None:
    counts = np.arange(2, 61, 2)
    bounds = log2_even(counts, slots)
    for balls, bound in zip(counts.tolist(), bounds.tolist(), strict=True):
        exact = math.log2(even_by_counting(balls, slots))
        assert exact - 1e-9 <= bound <= exact + (1e-9 if balls <= 40 else 12)


@pytest.mark.parametrize("keys", [2, 3, 10, 23, 100, 400])
def test_the_bound_over_all_subsets_in_whole_numbers(keys: int) -> None:
    exact = log2_dependent(keys, StoreSizes.of(keys).third) - 40
    assert exact - 1e-6 <= log2_failure(keys) <= exact + 0.01


def test_the_bound_over_all_subsets_of_2_to_the_14() -> None:
    keys = 1 << 14
    third = StoreSizes.of(keys).third
    j = np.arange((third + 1) // 2)
    steps = np.log(third - j[:-1]) - np.log(j[1:])
    weights = np.concatenate(([0.0], np.cumsum(steps))) + math.log(2) * (1 - third)
    shares = np.log((third - 2 * j) / third)
    terms = []
    for s in range(2, keys + 1, 2):
        powers = weights + s * shares
        even = powers.max() + math.log(np.exp(powers - powers.max()).sum())
        choices = math.lgamma(keys + 1) - math.lgamma(s + 1) - math.lgamma(keys - s + 1)
        terms.append(choices + 3 * even)
    exact = math.log2(math.fsum(map(math.exp, terms))) - 40
    assert exact - 1e-6 <= log2_failure(keys) <= exact + 0.01
    assert exact < -51


@pytest.mark.parametrize("bin_keys", [BINS, 1 << 20])
def test_a_store_fails_with_less_than_2_to_the_minus_44(bin_keys: int) -> None:
    assert max(log2_failure(keys, bin_keys) for keys in EVERYWHERE) < -44
    assert log2_failure(0) == log2_failure(1) == -math.inf


def test_the_largest_stores_fail_with_less_than_2_to_the_minus_44() -> None:
    assert max(log2_failure(keys) for keys in (1 << 24, (1 << 24) + 1, MOST_KEYS)) < -44


def test_stores_of_the_design_page() -> None:
    # What was computed before for the sizes of a vector OLE: n keys, M slots a third, and bins.
    for keys, third, bins, expected in (
        (1000, 483, 1, -47.3), (1 << 14, 6990, 1, -51.3), (67_717, 28_215, 16, -49.4)
    ):  # fmt: skip
        s = np.arange(2, keys + 1, 2)
        logs = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, keys + 1)))))
        terms = (logs[keys] - logs[s] - logs[keys - s]) / math.log(2) + 3 * log2_even(s, third)
        found = math.log2(bins * np.exp2(terms).sum()) - 40
        assert abs(found - expected) < 0.6


@pytest.mark.parametrize(("keys", "bins"), [(1000, 2), (1 << 17, 2), (10**6, 8), (1 << 20, 16)])
def test_bins_have_room(keys: int, bins: int) -> None:
    room = bin_room(keys, bins)
    above = np.arange(room + 1, min(keys, room + 20_000) + 1)
    logs = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, keys + 1)))))
    chances = logs[keys] - logs[above] - logs[keys - above]
    chances += above * math.log(1 / bins) + (keys - above) * math.log1p(-1 / bins)
    assert math.log2(bins * np.exp(chances).sum()) < -OVERFLOW_BITS


def test_as_many_sets_of_rows_add_up_to_nothing_as_the_bound_says() -> None:
    # Without dense bits, on tables so small that it happens: the bound is the mean number of sets.
    # For sound code the mean is off by six deviations with probability about 10^-9.
    draw = np.random.default_rng(1)
    keys, third, tables = 8, 5, 5000
    sets = []
    for _ in range(tables):
        pivots: dict[int, int] = {}
        for places in (draw.integers(0, third, (keys, 3)) + third * np.arange(3)).tolist():
            row = sum(1 << place for place in places)
            while row.bit_length() in pivots:
                row ^= pivots[row.bit_length()]
            if row:
                pivots[row.bit_length()] = row
        sets.append(2 ** (keys - len(pivots)) - 1)
    deviation = np.std(sets) / math.sqrt(tables)
    assert abs(np.mean(sets) - 2 ** log2_dependent(keys, third)) < 6 * deviation
    assert deviation < np.mean(sets) / 10


@pytest.mark.parametrize("slots", [49, 55, 76, 214, 1405, 12_751, 158_884])
def test_how_many_of_a_long_list_a_store_can_hold(slots: int) -> None:
    """Of 2^40 candidates, with places drawn 2^64 times: with probability below 2^-50 as many."""

    def bits(keys: int, log2_ways: float) -> float:
        return log2_ways + 64 + 128 * (slots - keys)

    def more(keys: int) -> float:  # (2^40 · e / n)^n, which is more than there are
        return keys * (40 + math.log2(math.e / keys))

    most = most_held(slots)
    assert bits(most, more(most)) <= -50 < bits(most - 1, more(most - 1))
    exact = 40 * most - math.lgamma(most + 1) / math.log(2)
    assert bits(most, exact) < bits(most, more(most))
    assert slots < most < 1.45 * slots + 5


def test_small_stores_hold_as_many_as_the_union_bound_says() -> None:
    # Four entries of two bits, twelve candidates: of 256 tables the one that has most right.
    draw = np.random.default_rng(5)
    entries, width, candidates, tries = 4, 2, 12, 4000
    tables = np.arange(1 << entries * width)
    parts = np.stack([tables >> width * entry & 3 for entry in range(entries)])
    held = np.empty(tries, int)
    for number in range(tries):
        rows = draw.integers(1, 1 << entries, candidates)
        found = np.zeros((candidates, len(tables)), np.int64)
        for entry in range(entries):
            found ^= np.where((rows >> entry & 1)[:, None], parts[entry], 0)
        right = found == draw.integers(0, 1 << width, candidates)[:, None]
        held[number] = right.sum(axis=0).max()
    for keys in (9, 10, 11, 12):
        bound = math.comb(candidates, keys) * 2.0 ** (width * (entries - keys))
        # A share that is off by six deviations comes with probability about 10^-9.
        assert np.mean(held >= keys) < bound + 6 * math.sqrt(bound / tries)
    assert held.max() > entries  # and more than there are entries is not rare
