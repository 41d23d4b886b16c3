"""What opens of trees' scores against plain integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.vertical.trees.opening import (
    TreeOpening,
    guest_scores,
    host_scores,
    open_tree_scores,
    opened_of,
    tree_scores,
)
from tests.garbled.runs import garbled, transfers

Scores = NDArray[np.int64]
Shares = NDArray[np.uint64]


def reachable(plan: TreeOpening) -> tuple[int, int]:
    """The least and the greatest score that a plan takes."""
    half = 1 << (plan.value_bits - 1)
    return max(-half - plan.added, -half), min(half - 1 - plan.added, half - 1)


def shared(plan: TreeOpening, scores: Scores, seed: int) -> tuple[Shares, Shares]:
    ring = 1 << plan.plain_bits
    guest = np.random.default_rng(seed).integers(0, ring, scores.shape, np.uint64)
    return guest, (scores.astype(np.uint64) - guest) & np.uint64(ring - 1)


@st.composite
def openings(draw: st.DrawFn) -> tuple[TreeOpening, Scores]:
    rows, plain_bits = draw(st.integers(1, 6)), draw(st.integers(3, 50))
    value_bits = draw(st.integers(2, plain_bits))
    kind = draw(st.sampled_from(["score", "class", "best"]))
    if kind == "score":
        drop = draw(st.integers(0, value_bits - 2))
        bits = draw(st.integers(1, value_bits - drop))
        plan = TreeOpening(rows, plain_bits, value_bits, drop=drop, bits=bits)
    elif kind == "class":
        half = 1 << (value_bits - 2)
        threshold = draw(st.integers(-half, half - 1))
        plan = TreeOpening(rows, plain_bits, value_bits, threshold=threshold)
    else:
        plan = TreeOpening(rows, plain_bits, value_bits, classes=draw(st.integers(2, 9)))
    least, most = reachable(plan)
    score = st.one_of(
        st.integers(least, most),
        st.sampled_from([least, most]),
        st.integers(max(least, -3), min(most, 3)),
    )
    each = st.lists(score, min_size=rows, max_size=rows)
    scores = draw(st.lists(each, min_size=plan.classes, max_size=plan.classes))
    return plan, np.array(scores, np.int64)


@settings(max_examples=400, deadline=None)
@given(case=openings(), seed=st.integers(0, 2**32))
def test_what_opens_is_that_of_integers(case: tuple[TreeOpening, Scores], seed: int) -> None:
    plan, scores = case
    guest, host = shared(plan, scores, seed)
    own, theirs = open_tree_scores(plan).compute(guest_scores(plan, guest), host_scores(plan, host))
    assert tree_scores(plan, own).tolist() == opened_of(plan, scores).tolist()
    assert theirs == {}  # the host learns nothing


@settings(max_examples=20, deadline=None)
@given(case=openings(), seed=st.integers(0, 2**32))
def test_garbled_it_opens_the_same(case: tuple[TreeOpening, Scores], seed: int) -> None:
    plan, scores = case
    guest, host = shared(plan, scores, seed)
    own, _ = garbled(
        open_tree_scores(plan), guest_scores(plan, guest), host_scores(plan, host), transfers()
    )
    assert tree_scores(plan, own).tolist() == opened_of(plan, scores).tolist()


def test_scores_are_rounded_and_taken_to_the_nearest() -> None:
    plan = TreeOpening(rows=8, plain_bits=20, value_bits=12, drop=3, bits=5)
    scores = np.array([[0, 3, 4, -4, -5, 123, 900, -900]])
    assert opened_of(plan, scores).tolist() == [0, 0, 1, 0, -1, 15, 15, -16]


def test_a_class_begins_above_its_threshold() -> None:
    plan = TreeOpening(rows=4, plain_bits=20, value_bits=12, threshold=-7)
    assert opened_of(plan, np.array([[-8, -7, -6, 500]])).tolist() == [0, 0, 1, 1]


def test_of_equal_classes_the_first_is_best() -> None:
    plan = TreeOpening(rows=3, plain_bits=20, value_bits=8, classes=3)
    scores = np.array([[-5, 9, 1], [-5, -9, 2], [-7, 9, 3]])
    assert opened_of(plan, scores).tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": 0},
        {"classes": 0},
        {"value_bits": 21},
        {"drop": 12},
        {"bits": 0},
        {"bits": 13},
        {"classes": 2, "threshold": 0},
        {"classes": 2, "drop": 1},
        {"plain_bits": 63},
    ],
)
def test_openings_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="no opening"):
        TreeOpening(**{"rows": 1, "plain_bits": 20, "value_bits": 12} | wrong)
