"""Subsets of rows by codes: sums and polynomials are those of the matrix that they stand for."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.errors import ConfigError
from privfed.vertical.trees.subsets import MISSING, Subsets


def some_subsets(rows: int, columns: int, subsets: int, seed: int, weight: int = 14) -> Subsets:
    """Any subsets: empty ones, all rows, those that lack a value."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 6, (columns, rows)).astype(np.uint8)
    codes[rng.random(codes.shape) < 0.2] = MISSING
    return Subsets(
        codes,
        rng.integers(0, columns, subsets),
        rng.choice([0, 1, 3, 5, 254, 255], subsets).astype(np.uint8),
        rng.choice([0, 1, 3, 5, 254, 255], subsets).astype(np.uint8),
        rng.random(subsets) < 0.5,
        rng.integers(1, weight + 1, subsets),
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 20), st.integers(0, 2**32))
def test_sums_are_the_matrix_s(rows: int, columns: int, count: int, seed: int) -> None:
    subsets = some_subsets(rows, columns, count, seed)
    vectors = np.random.default_rng(seed).integers(-(2**40), 2**40, (3, rows))
    matrix = subsets.matrix()
    assert matrix.shape == (len(subsets), rows)
    assert np.array_equal(subsets.sums(vectors), vectors @ matrix.T)
    assert np.array_equal(subsets.squares, (matrix**2).sum(axis=1))
    assert np.array_equal(subsets.matrix(1, 3), matrix[1:3])
    for row in range(rows):  # by the definition
        for subset in range(count):
            code = subsets.codes[subsets.column[subset], row]
            inside = subsets.low[subset] <= code <= subsets.high[subset] and code != MISSING
            inside |= code == MISSING and subsets.missing[subset]
            assert matrix[subset, row] == inside * subsets.weight[subset]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 20), st.sampled_from([1, 4, 16, 64]), st.integers(0, 2**32)
)
def test_polynomials_hold_the_matrix(rows: int, count: int, width: int, seed: int) -> None:
    subsets, degree = some_subsets(rows, 3, count, seed), 64
    each, pieces = degree // width, -(-rows // width)
    answers = -(-count // each)
    whole = np.zeros((answers * each, pieces * width))
    whole[:count, :rows] = subsets.matrix()
    laid = whole.reshape(answers, each, pieces, width)[..., ::-1].transpose(0, 2, 1, 3)
    laid = laid.reshape(answers, pieces, 1, degree).repeat(2, axis=2)
    for start in (0, answers - 1):
        out = np.full((answers - start, pieces, 2, degree), np.nan)
        subsets.lay(start, width, out)
        assert np.array_equal(out, laid[start:])


@pytest.mark.parametrize("missing", [False, True])
def test_a_histogram_has_every_row_once(missing: bool) -> None:
    codes = some_subsets(50, 3, 1, 0).codes
    subsets = Subsets.histogram(codes, 6, missing=missing)
    assert len(subsets) == 3 * (6 + missing)
    counts = subsets.sums(np.ones((1, 50), np.int64)).reshape(3, -1)
    for column, code in zip(counts, codes, strict=True):
        bins = [(code == each).sum() for each in [*range(6), *[MISSING] * missing]]
        assert column.tolist() == bins


def test_subsets_that_cannot_be_are_refused() -> None:
    right = some_subsets(5, 2, 3, 0)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"codes": right.codes.astype(int)}, "matrix of bytes"),
        ({"codes": right.codes[:, ::2]}, "matrix of bytes"),
        ({"codes": right.codes[0]}, "matrix of bytes"),
        ({"low": right.low[1:]}, "has a column"),
        ({"high": right.high.astype(int)}, "has a column"),
        ({"column": right.column + 2}, "from 0 to 1"),
        ({"column": right.column - 2}, "from 0 to 1"),
        ({"weight": right.weight * 0}, "1 or more"),
    ]
    for change, why in wrong:
        with pytest.raises(ConfigError, match=why):
            dataclasses.replace(right, **change)
    with pytest.raises(ConfigError, match="5 numbers"):
        right.sums(np.zeros((1, 4), np.int64))
    for bins in (0, 256):
        with pytest.raises(ConfigError, match="1 to 255 bins"):
            Subsets.histogram(right.codes, bins)
