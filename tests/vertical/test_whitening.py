"""Whitening, and rows no longer than a public bound."""

from __future__ import annotations

import numpy as np
import pytest

from privfed.errors import ConfigError, DecodeError
from privfed.vertical.linear.whitening import Whitening, WhiteningFields, clip_rows
from psi.storage import json_bytes, json_read

DRAW = np.random.default_rng(8)
MATRIX = DRAW.normal(size=(500, 6)) @ DRAW.normal(size=(6, 6))


def test_whitened_columns_are_uncorrelated_and_of_weight_one() -> None:
    white = MATRIX @ Whitening.fit(MATRIX, 0.0).matrix
    assert white.T @ white / 500 == pytest.approx(np.eye(6), abs=1e-9)


def test_a_penalty_is_added_to_every_eigenvalue() -> None:
    matrix = Whitening.fit(MATRIX, 0.3).matrix
    assert matrix == pytest.approx(matrix.T)
    covariance = MATRIX.T @ MATRIX / 500
    assert matrix @ (covariance + 0.3 * np.eye(6)) @ matrix == pytest.approx(np.eye(6), abs=1e-9)


def test_directions_that_no_row_has_are_left_out() -> None:
    collinear = np.hstack([MATRIX, MATRIX[:, :2] @ [[1.0], [2.0]]])
    matrix = Whitening.fit(collinear, 0.0).matrix
    assert matrix.shape == (7, 6)
    white = collinear @ matrix
    assert white.T @ white / 500 == pytest.approx(np.eye(6), abs=1e-6)
    assert Whitening.fit(collinear, 0.1).matrix.shape == (7, 7)


def test_a_whitening_is_saved_as_data_and_found_again() -> None:
    whitening = Whitening.fit(MATRIX, 0.1)
    text = json_bytes(whitening.to_fields())
    again = Whitening.from_fields(json_read(text, WhiteningFields))
    assert np.array_equal(again.matrix, whitening.matrix)
    for rows in ((), ((),), ((1.0, 2.0), (1.0,))):
        with pytest.raises(DecodeError):
            Whitening.from_fields(WhiteningFields(rows))


def test_what_cannot_be_whitened_is_refused() -> None:
    for matrix, penalty, said in (
        (MATRIX, -1.0, "penalty"),
        (MATRIX, float("nan"), "penalty"),
        (MATRIX[:0], 0.1, "nothing"),
        (0 * MATRIX, 0.0, "no column varies"),
    ):
        with pytest.raises(ConfigError, match=said):
            Whitening.fit(matrix, penalty)


def test_no_row_is_longer_than_the_bound_and_short_ones_stay() -> None:
    norms = np.linalg.norm(MATRIX, axis=1)
    bound = float(np.quantile(norms, 0.9))
    clipped, share = clip_rows(MATRIX, bound)
    assert share == pytest.approx(0.1, abs=0.005)
    assert np.linalg.norm(clipped, axis=1).max() <= bound
    assert np.array_equal(clipped[norms <= bound], MATRIX[norms <= bound])
    long = norms > bound
    assert clipped[long] * (norms[long] / bound)[:, None] == pytest.approx(MATRIX[long])


def test_a_bound_or_a_row_that_is_no_number_is_refused() -> None:
    for bound in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="bound"):
            clip_rows(MATRIX, bound)
    with pytest.raises(ConfigError, match="not finite"):
        clip_rows(np.array([[np.nan, 1.0]]), 1.0)
    assert clip_rows(np.zeros((0, 2)), 1.0)[1] == 0
