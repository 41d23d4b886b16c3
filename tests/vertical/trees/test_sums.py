"""Shares of sums add up to the sums, mod t, whatever is cached."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.errors import CapacityError, ConfigError, DecodeError
from privfed.he.ring import bounds
from privfed.vertical.trees.hiding import DISTANCE
from privfed.vertical.trees.subsets import Subsets
from privfed.vertical.trees.sums import SumsAnswerer, SumsLayout, SumsReader
from tests.vertical.trees.test_subsets import some_subsets


@cache
def reader(bits: int) -> SumsReader:
    return SumsReader(bits)


def full_vectors(layout: SumsLayout, count: int, seed: int) -> NDArray[np.int64]:
    """As large as they may be: one row has most, the others have the rest."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-1, 2, (count, layout.rows))
    most = (layout.half - 1) // layout.weight
    vectors[:, 0] = rng.choice([-1, 1], count) * (most - np.abs(vectors[:, 1:]).sum(axis=1))
    return vectors


def shared(
    layout: SumsLayout, subsets: Subsets, vectors: NDArray[np.int64], cache_bytes: int, masked: bool
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """The sums that both shares say, and the answerer's share."""
    side = reader(layout.plain_bits)
    answerer = SumsAnswerer(layout, side.public, subsets, cache_bytes=cache_bytes)
    sent = side.encrypted(layout, vectors)
    assert len(sent) == layout.ciphertexts_bytes(len(vectors))
    answers, own = answerer.answered(sent, len(vectors), masked=masked)
    assert len(answers) == layout.answers_bytes(len(vectors))
    total = (side.opened(layout, answers, len(vectors)) + own).astype(np.int64) % (2 * layout.half)
    return total - 2 * layout.half * (total >= layout.half), own


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 400), st.integers(1, 90), st.integers(1, 3), st.sampled_from([18, 24, 29]),
    st.sampled_from([0, 1 << 18, 1 << 30]), st.booleans(), st.integers(0, 2**32),
)  # fmt: skip
def test_shares_add_up(
    rows: int, count: int, vectors: int, bits: int, cache_bytes: int, masked: bool, seed: int
) -> None:
    subsets = some_subsets(rows, 3, count, seed)
    layout = SumsLayout(count, rows, 14, bits, 10**6)
    numbers = full_vectors(layout, vectors, seed)
    found, own = shared(layout, subsets, numbers, cache_bytes, masked)
    assert np.array_equal(found, subsets.sums(numbers))
    assert masked or not own.any()


@pytest.mark.parametrize("cache_bytes", [0, 1 << 23, 1 << 30])
def test_a_level_of_a_tree(cache_bytes: int) -> None:
    subsets = some_subsets(3000, 10, 310, 1)
    layout = SumsLayout(310, 3000, 14, 24, 310 * 1500)
    numbers = full_vectors(layout, 2, 1)
    found, _ = shared(layout, subsets, numbers, cache_bytes, True)
    assert np.array_equal(found, subsets.sums(numbers))


# -- capacity -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subsets", "rows", "bits", "trees"),
    [(1550, 10_000, 24, 100), (620, 100_000, 26, 100), (3100, 2000, 24, 1000), (1, 1, 8, 1)],
)
def test_a_plan_s_answers_are_hidden_together(
    subsets: int, rows: int, bits: int, trees: int
) -> None:
    """By the two bounds that `floods` states, with what an answer really sends."""
    layout = SumsLayout(subsets, rows, 14, bits, 15 * trees * subsets)
    sent = layout.answers_bytes(1) - layout.answers * 4096 * 25 // 4
    places = sent * 4 // 25 // layout.answers  # 50 bits each
    answered = 15 * trees * layout.answers * places
    assert places * layout.answers >= subsets
    squares = layout.subsets_each * rows * 14**2 + 2 * 4096 + 1
    noise = layout.noise - 1  # and the carry of the mask
    past = 2 * answered * math.exp(-(noise**2) / (21 * squares))
    shown = math.sqrt(answered) * layout.noise / 2**layout.least_flood_bits
    assert past + shown <= 2**-40
    assert past + shown > 2**-45  # and no much more than they need
    assert layout.flood_bits >= layout.least_flood_bits
    # What a phase has beside the flood is small; both lie within the primes' half.
    total = 4 * 2**layout.flood_bits * 2**bits / math.prod(layout.ring.primes)
    assert 0.25 < total < 0.99


def test_a_reader_that_chooses_is_counted_by_the_worst_case() -> None:
    """Errors at their bound, all alike, are worse than drawn ones."""
    subsets = some_subsets(300, 3, 40, 2)
    layout = SumsLayout(40, 300, 14, 24, 40)
    row_sum = np.abs(subsets.matrix()).sum(axis=1).max() * layout.subsets_each
    assert row_sum <= layout.row_sum
    assert layout.noise < bounds.answer_noise(layout.row_sum, ring=layout.ring)
    assert layout.chosen_distance < DISTANCE  # with a few answers there is room for that, too


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"subsets": 0}, ConfigError, "1 or more"),
        ({"rows": 0}, ConfigError, "1 or more"),
        ({"weight": 0}, ConfigError, "1 or more"),
        ({"answered": 0}, ConfigError, "1 or more"),
        ({"disjoint": 0}, ConfigError, "1 or more"),
        ({"plain_bits": 7}, ConfigError, "8 to 40 bits"),
        ({"plain_bits": 41}, ConfigError, "8 to 40 bits"),
        ({"plain_bits": 36}, CapacityError, "take fewer trees"),
        ({"answered": 10**18}, CapacityError, "take fewer trees"),
    ],
)
def test_layouts_that_cannot_be_are_refused(
    change: dict[str, int], error: type[Exception], match: str
) -> None:
    right = SumsLayout(1550, 10_000, 14, 24, 10**6)
    with pytest.raises(error, match=match):
        dataclasses.replace(right, **change)


# -- what does not fit ----------------------------------------------------------------------------


def test_what_does_not_fit_is_refused() -> None:
    subsets, side = some_subsets(50, 2, 5, 0), reader(24)
    layout = SumsLayout(5, 50, 14, 24, 1000)
    zero = np.zeros((1, 50), np.int64)
    too_large = zero.copy()
    too_large[0, :2] = layout.half // 28, layout.half // 28 + 1
    heavy = dataclasses.replace(subsets, weight=subsets.weight + 1)
    apart = dataclasses.replace(layout, disjoint=4096)
    full = dataclasses.replace(subsets, weight=np.full(5, 14))
    wrong: list[tuple[Any, str]] = [
        (lambda: side.encrypted(layout, zero[:, 1:]), "50 numbers"),
        (lambda: side.encrypted(layout, too_large), "can wrap"),
        (lambda: reader(18).encrypted(layout, zero), "not this key's"),
        (lambda: answerer_of(layout, some_subsets(50, 2, 6, 0)), "5 subsets of 50 rows"),
        (lambda: answerer_of(layout, some_subsets(51, 2, 5, 0)), "5 subsets of 50 rows"),
        (lambda: answerer_of(layout, heavy), "than was planned"),
        (lambda: answerer_of(apart, full), "than was planned"),
    ]
    for each, why in wrong:
        with pytest.raises(ConfigError, match=why):
            each()


def answerer_of(layout: SumsLayout, subsets: Subsets) -> SumsAnswerer:
    return SumsAnswerer(layout, reader(layout.plain_bits).public, subsets, cache_bytes=0)


def test_bytes_are_measured_before_they_are_read() -> None:
    subsets, side = some_subsets(50, 2, 5, 0), reader(24)
    layout = SumsLayout(5, 50, 14, 24, 1000)
    sent = side.encrypted(layout, np.zeros((2, 50), np.int64))
    answerer = answerer_of(layout, subsets)
    answers, _ = answerer.answered(sent, 2)
    full = b"\xff" * len(sent)
    wrong: list[tuple[Any, str]] = [
        (lambda: answerer.answered(sent[:-1], 2), "bytes were expected"),
        (lambda: answerer.answered(sent, 3), "bytes were expected"),
        (lambda: answerer.answered(full, 2), "not below its prime"),
        (lambda: side.opened(layout, answers + b"\0", 2), "bytes were expected"),
        (lambda: side.opened(layout, answers, 1), "bytes were expected"),
        (lambda: side.opened(layout, b"\xff" * len(answers), 2), "not below its prime"),
        (
            lambda: SumsAnswerer(layout, side.public[1:], subsets, cache_bytes=0),
            "bytes were expected",
        ),
    ]
    for each, why in wrong:
        with pytest.raises(DecodeError, match=why):
            each()
    assert repr(side) == "SumsReader(...)"
    assert repr(answerer) == "SumsAnswerer(...)"


# -- histograms -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("bins", "rows"), [(32, 2000), (7, 300), (1, 10), (100, 600)])
def test_bins_that_share_no_row_leave_room_for_a_wide_t(bins: int, rows: int) -> None:
    rng = np.random.default_rng(bins)
    codes = rng.integers(0, bins, (3, rows)).astype(np.uint8)
    subsets = Subsets.histogram(codes, bins)
    layout = SumsLayout(len(subsets), rows, 1, 38, len(subsets), disjoint=bins)
    numbers = rng.integers(-(2**25), 2**25, (1, rows))
    found, own = shared(layout, subsets, numbers, 0, False)
    assert not own.any()
    exact = [np.bincount(code, weights=numbers[0], minlength=bins) for code in codes]
    assert np.array_equal(found[0], np.concatenate(exact))


@pytest.mark.parametrize("disjoint", [1, 2, 3, 5, 8, 16, 31, 32, 33])
def test_disjoint_subsets_are_counted_once(disjoint: int) -> None:
    """No answer of bins has more entries than is planned, wherever columns begin and end."""
    codes = np.random.default_rng(0).integers(0, disjoint, (70, 500)).astype(np.uint8)
    subsets = Subsets.histogram(codes, disjoint)
    layout = SumsLayout(len(subsets), 500, 1, 24, len(subsets), disjoint=disjoint)
    starts = range(0, len(subsets), layout.subsets_each)
    most = max(subsets.squares[start : start + layout.subsets_each].sum() for start in starts)
    assert most <= layout.answer_squares <= 2 * most + 500
