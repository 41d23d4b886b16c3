"""A plan's proofs: nothing wraps with however many rows, and all answers together stay hidden."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest

from privfed.errors import CapacityError, ConfigError
from privfed.he.ring import floods
from privfed.vertical.trees.growing import rounded
from privfed.vertical.trees.hiding import DISTANCE
from privfed.vertical.trees.plan import MOST_TREE_SESSIONS, TreesPlan
from privfed.vertical.trees.splits import MOST_WEIGHT

PLAN = TreesPlan(rows=10_000, host_splits=1_550)


@pytest.mark.parametrize("rows", [2, 1_000, 39_945, 79_891, 79_892, 100_000, 500_000])
def test_t_grows_with_rows(rows: int) -> None:
    """A residual of 15 and a weight of 14 in every row: beyond 79,891 rows they wrap at 2^24."""
    plan = TreesPlan(rows=rows, host_splits=10, trees=1, depth=1)
    assert 15 * MOST_WEIGHT * rows <= plan.most_score < plan.sums.half
    assert plan.sums.plain_bits >= 24
    assert (plan.sums.plain_bits == 24) == (15 * MOST_WEIGHT * rows < 2**23)


@pytest.mark.parametrize("rows", [1_000_000, 1 << 21])
def test_of_very_many_rows_the_grain_is_coarser_where_it_must_be(rows: int) -> None:
    plan = TreesPlan(rows=rows, host_splits=620)
    assert 15 // 2**3 * MOST_WEIGHT * rows <= plan.most_score < plan.sums.half


@pytest.mark.parametrize(("rows", "bits"), [(131_072, 16), (131_073, 17), (300_000, 18)])
def test_more_bits_are_compared_of_more_rows(rows: int, bits: int) -> None:
    assert TreesPlan(rows=rows, host_splits=10).contest(4).bits == bits


def test_a_fixed_t_would_wrap() -> None:
    rows = 79_892 // 2 + 1
    assert 15 * MOST_WEIGHT * rows >= 2**23
    assert TreesPlan(rows=rows, host_splits=10).sums.plain_bits == 25


@pytest.mark.parametrize("rows", [50, 5_000, 200_000])
def test_a_nodes_residuals_fit_whatever_they_are(rows: int) -> None:
    plan = TreesPlan(rows=rows, host_splits=10)
    rng = np.random.default_rng(rows)
    for drawn in (rng.normal(size=rows), rng.pareto(1.1, rows), np.eye(1, rows)[0]):
        residuals = (drawn - drawn.mean())[None, :]
        whole = rounded(
            residuals, np.array([rows]), plan.most_score // MOST_WEIGHT, np.random.default_rng(1)
        )
        assert whole.sum() == 0
        assert MOST_WEIGHT * np.maximum(whole, 0).sum() <= plan.most_score


@pytest.mark.parametrize(
    "change",
    [
        {}, {"trees": 300}, {"depth": 7}, {"outputs": 10, "trees": 100},
        {"predictions": 10**8}, {"rows": 1_000_000, "host_splits": 620},
    ],
)  # fmt: skip
def test_all_answers_together_stay_within_the_distance(change: dict[str, Any]) -> None:
    """Squared Hellinger distances add up: of sums, of those repeated, and of predictions."""
    plan = TreesPlan(**(msgspec.structs.asdict(PLAN) | change))
    trees = plan.trees * plan.outputs + 2 * (MOST_TREE_SESSIONS - 1)
    sums, leaves = plan.sums, plan.leaves(plan.trees)
    summed = trees * plan.inner_nodes * sums.answers * len(sums.positions)
    scored = plan.predictions * plan.outputs
    noise = floods.drawn_noise(leaves.leaves, leaves.answered, DISTANCE / 2, ring=leaves.ring)
    squares = [
        floods.smooth_distance(sums.noise, sums.flood_bits, summed) ** 2,
        floods.smooth_distance(noise, leaves.flood_bits, scored) ** 2 if scored else Fraction(0),
    ]
    assert sum(squares) <= (DISTANCE / 2) ** 2
    assert sums.answered >= trees * plan.inner_nodes * plan.host_splits + scored


@pytest.mark.parametrize(("rows", "splits", "bits"), [(10_000, 1_550, 37), (100_000, 620, 34)])
def test_the_page_says_how_far_a_guest_gets_that_chooses_its_errors(
    rows: int, splits: int, bits: int
) -> None:
    distance = TreesPlan(rows=rows, host_splits=splits).sums.chosen_distance
    assert Fraction(1, 2 ** (bits + 1)) < distance <= Fraction(1, 2**bits)


def test_what_cannot_be_hidden_is_refused() -> None:
    with pytest.raises(CapacityError, match="fewer"):
        TreesPlan(rows=1 << 21, host_splits=1 << 20, trees=10**6, outputs=100, depth=7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "gamma"}, "family is one of"),
        ({"trees": 0}, "1 or more"),
        ({"host_splits": 0}, "1 or more"),
        ({"outputs": 3, "family": "linear"}, "each is told from the rest"),
        ({"depth": 0}, "deep"),
        ({"depth": 8}, "deep"),
        ({"rows": 1}, "common rows"),
        ({"predictions": -1}, "1 or more"),
    ],
)
def test_plans_that_cannot_be_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TreesPlan(**(msgspec.structs.asdict(PLAN) | change))


def test_every_field_names_another_plan() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"family": "linear"}, {"outputs": 3}, {"rows": 9_999}, {"host_splits": 9},
        {"trees": 29}, {"depth": 3}, {"reveal": "histograms"}, {"predictions": 9},
    ]  # fmt: skip
    names = {TreesPlan(**(msgspec.structs.asdict(PLAN) | c)).fingerprint() for c in changes}
    assert len(names) == len(changes)
    assert {key for change in changes for key in change} == set(TreesPlan.__struct_fields__)
