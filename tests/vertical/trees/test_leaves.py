"""Scores over leaves: shares add up mod t, and both sides' leaves meet in one a tree."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.errors import CapacityError, ConfigError, DecodeError
from privfed.vertical.trees.grown import GuestTree, HostTree, Owner, leaves_of_rows, sides_of_host
from privfed.vertical.trees.leaves import LeavesAnswerer, LeavesLayout, LeavesReader
from privfed.vertical.trees.reached import guest_allows, host_allows
from privfed.vertical.trees.splits import Codes, Splits

BITS = 32


@cache
def reader(leaves: int) -> LeavesReader:
    return LeavesReader(LeavesLayout(leaves, BITS, 10**7))


def signed(residues: NDArray[np.uint64]) -> NDArray[np.int64]:
    numbers = (residues & np.uint64(2**BITS - 1)).astype(np.int64)
    return np.where(numbers >= 2 ** (BITS - 1), numbers - 2**BITS, numbers)


@settings(max_examples=12, deadline=None)
@given(st.sampled_from([1, 5, 64, 500, 4096, 9000]), st.integers(1, 9), st.integers(0, 2**32))
def test_shares_add_up_to_the_allowed_values(leaves: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layout = LeavesLayout(leaves, BITS, 10**7)
    allowed = rng.random((rows, leaves)) < 0.5
    values = rng.integers(-(2**31) // leaves, 2**31 // leaves, (rows, leaves))
    asked = reader(leaves).encrypted(values)
    assert len(asked) == layout.ciphertexts_bytes(rows)
    answers, own = LeavesAnswerer(layout, reader(leaves).public).answered(asked, allowed)
    assert len(answers) == layout.answers_bytes(rows)
    total = signed(reader(leaves).opened(answers, rows) + own)
    assert total.tolist() == (values * allowed).sum(axis=1).tolist()


def test_the_readers_share_says_nothing() -> None:
    """Uniform in its top three bits: a chi-square of 7 degrees is above 60 with 1.5e-10."""
    layout, rows = LeavesLayout(16, BITS, 10**7), 2048
    asked = reader(16).encrypted(np.full((rows, 16), 3))
    answers, _ = LeavesAnswerer(layout, reader(16).public).answered(
        asked, np.ones((rows, 16), np.bool_)
    )
    top = (reader(16).opened(answers, rows) >> np.uint64(BITS - 3)).astype(np.int64)
    counts = np.bincount(top, minlength=8)
    assert ((counts - rows / 8) ** 2 / (rows / 8)).sum() < 60


def test_what_does_not_fit_is_refused() -> None:
    layout = LeavesLayout(16, BITS, 10**7)
    answerer = LeavesAnswerer(layout, reader(16).public)
    with pytest.raises(ConfigError, match="a row has 16 values"):
        reader(16).encrypted(np.zeros((2, 15), np.int64))
    with pytest.raises(ConfigError, match="smaller rate"):
        reader(16).encrypted(np.full((1, 16), 2**31))
    asked = reader(16).encrypted(np.zeros((2, 16), np.int64))
    many = np.ones((layout.rows_each + 1, 16), np.bool_)
    for bad in (asked[:-1], asked + b"\0", b""):
        with pytest.raises(DecodeError):
            answerer.answered(bad, np.ones((2, 16), np.bool_))
    with pytest.raises(DecodeError):
        answerer.answered(asked, many)
    answers, _ = answerer.answered(asked, np.ones((2, 16), np.bool_))
    with pytest.raises(DecodeError):
        reader(16).opened(answers[:-1], 2)
    with pytest.raises(DecodeError):
        LeavesAnswerer(layout, reader(16).public[1:])
    with pytest.raises(CapacityError, match="fewer trees"):
        LeavesLayout(10**6, 49, 10**18)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32))
def test_both_sides_allow_one_leaf_a_tree(depth: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns, nodes = 40, 3, 2**depth - 1
    guest, host = (
        rng.choice(np.array([*range(8), 255], np.uint8), (columns, rows)) for _ in range(2)
    )
    splits = drawn_splits(rng, columns)
    owners: list[Owner] = rng.choice(["guest", "host", "none"], nodes).tolist()
    numbers = rng.integers(0, len(splits), nodes)
    tree = GuestTree(
        tuple(owners),
        tuple(int(n) if o == "guest" else -1 for n, o in zip(numbers, owners, strict=True)),
        tuple(rng.permutation(2**depth) + 1.0),
        (0.0,) * nodes,
    )
    others = HostTree(
        tuple(int(n) if o == "host" else -1 for n, o in zip(numbers, owners, strict=True))
    )
    allowed = host_allows([others, others], splits, host)
    values = guest_allows([tree, tree], splits, guest)
    assert ((values > 0) & allowed).sum(axis=1).tolist() == [2] * rows
    leaves = leaves_of_rows(tree, splits, guest, sides_of_host(others, splits, host))
    assert (values * allowed).sum(axis=1).tolist() == (2 * np.array(tree.leaves)[leaves]).tolist()


def drawn_splits(rng: np.random.Generator, columns: int) -> Splits:
    low = rng.integers(0, 5, 9)
    return Splits(
        rng.integers(0, columns, 9),
        low.astype(np.uint8),
        (low + rng.integers(0, 3, 9)).astype(np.uint8),
        rng.random(9) < 0.5,
    )


def test_no_trees_allow_nothing() -> None:
    codes: Codes = np.zeros((1, 4), np.uint8)
    splits = drawn_splits(np.random.default_rng(1), 1)
    assert guest_allows([], splits, codes).shape == (4, 0)
    assert host_allows([], splits, codes).shape == (4, 0)
