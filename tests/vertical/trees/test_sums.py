"""Shares of sums add up to the sums, mod t, whatever is cached."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

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
