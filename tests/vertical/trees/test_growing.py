"""A tree grows by the split that is best, in integers whose sums are held; and what it is then."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.errors import CapacityError, ConfigError
from privfed.vertical.trees.growing import GrowingTree, TreeSettings, rounded
from privfed.vertical.trees.grown import GuestTree, HostTree, leaves_of_rows, sides_of_host
from privfed.vertical.trees.splits import MOST_WEIGHT, Codes, Splits
from privfed.vertical.trees.subsets import MISSING
from tests.vertical.trees.plain import PlainHost, grow_plain

Floats = NDArray[np.float64]

PLAIN_BITS = 40  # so fine that rounding decides nothing
MOST = 2 ** (PLAIN_BITS - 1) - 1


def some_codes(rng: np.random.Generator, columns: int, rows: int, bins: int = 5) -> Codes:
    codes = rng.integers(0, bins, (columns, rows)).astype(np.uint8)
    codes[rng.random(codes.shape) < 0.1] = MISSING
    return codes


def splits_of(codes: Codes, least_rows: int = 1, bins: int = 5) -> Splits:
    return Splits.between(codes, [bins] * len(codes), [True] * len(codes), least_rows)


def new_tree(
    codes: Codes,
    gradients: Floats,
    hessians: Floats | None = None,
    *,
    splits: Splits | None = None,
    most: int = MOST,
    seed: int = 0,
    **chosen: float,
) -> GrowingTree:
    settings = {"depth": 1, "least_rows": 1, "l2": 0.0, "learning_rate": 1.0} | chosen
    splits = splits or splits_of(codes)
    return GrowingTree(
        TreeSettings(**settings),  # type: ignore[arg-type]
        splits,
        splits.subsets(codes),
        gradients,
        np.ones(len(gradients)) if hessians is None else hessians,
        most=most,
        weight=MOST_WEIGHT,
        generator=np.random.default_rng(seed),
    )


def host_of(codes: Codes, bits: int = PLAIN_BITS) -> PlainHost:
    return PlainHost(splits_of(codes), codes, PLAIN_BITS, bits)


def gain(left: NDArray[np.bool_], g: Floats, h: Floats, l2: float = 0.0) -> float:
    """What a split takes from the loss, by the formula of Chen and Guestrin (2016, equation 7)."""
    parts = [(g[rows].sum() ** 2) / (h[rows].sum() + l2) for rows in (left, ~left)]
    return float(sum(parts) - g.sum() ** 2 / (h.sum() + l2)) / 2


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 60), st.integers(1, 4), st.integers(8, 40), st.integers(0, 2**32 - 1))
def test_rounded_residuals_add_up_to_0_and_no_sum_is_too_large(
    rows: int, nodes: int, bits: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_t(1, (nodes, rows))
    values *= rng.random((nodes, 1)) < 0.8
    values -= values.mean(axis=1, keepdims=True)
    most = 2**bits
    count = np.full(nodes, rows)
    if rows >= most // 2:
        with pytest.raises(CapacityError):
            rounded(values, count, most, rng)
        return
    found = rounded(values, count, most, rng)
    assert (found.sum(axis=1) == 0).all()
    assert (np.maximum(found, 0).sum(axis=1) <= most).all()
    asked = values.any(axis=1)
    values, found = values[asked], found[asked]
    scaled = values * ((most - rows - 1) / np.maximum(values, 0).sum(axis=1, keepdims=True))
    assert (np.abs(found - scaled) < 1.001).all()
    assert (np.maximum(found, 0).sum(axis=1) >= most - 2 * rows - 1).all()


def test_rounding_is_unbiased() -> None:
    # Each mean of 4,000 draws errs by at most .5 / sqrt(4000) a deviation: 5.5 of these are passed
    # by chance less than once in 10^6 runs, all 12 rows taken together.
    rng = np.random.default_rng(1)
    values = rng.normal(size=(1, 12))
    values -= values.mean()
    drawn = np.array([rounded(values, np.array([12]), 60, rng)[0] for _ in range(4000)])
    scale = (60 - 12 - 1) / np.maximum(values, 0).sum()
    assert np.abs(drawn.mean(axis=0) - values[0] * scale).max() < 5.5 * 0.5 / np.sqrt(4000)


@settings(max_examples=30, deadline=None)
@given(st.integers(8, 80), st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_no_score_is_larger_than_shares_can_hold(rows: int, seed: int, depth: int) -> None:
    rng = np.random.default_rng(seed)
    codes, host = some_codes(rng, 2, rows), host_of(some_codes(rng, 2, rows))
    most = 2**14 - 1
    g = rng.standard_t(1, rows)
    tree = new_tree(codes, g, rng.random(rows) + 0.01, depth=depth, most=most, seed=seed)
    for _ in range(depth):
        question = tree.question()
        # The sum of all positive ones is the largest sum of any, which the largest weight meets.
        assert (np.maximum(question.vectors, 0).sum(axis=1) * MOST_WEIGHT <= most).all()
        assert (np.maximum(-question.vectors, 0).sum(axis=1) * MOST_WEIGHT <= most).all()
        assert ((question.best >= 0) & (question.best <= most)).all()
        assert (np.count_nonzero(question.vectors, axis=0) <= 1).all()
        sides = host.splits.left(host.codes, 0)
        tree.answered(rng.random(len(question.best)) < 0.5, sides)
    assert tree.done


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_split_of_the_best_score_wins_whoever_has_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    guest, host = some_codes(rng, 2, 60), host_of(some_codes(rng, 3, 60))
    g = rng.normal(size=60)
    grown = new_tree(guest, g)
    hosts = grow_plain(grown, host)
    tree, own = grown.tree, splits_of(guest)
    lefts = [own.left(guest, split) for split in range(len(own))]
    lefts += [host.splits.left(host.codes, split) for split in range(len(host.splits))]
    exact = [gain(left, g, np.ones(60)) for left in lefts]
    # By brute force, in the clear: |sum of residuals| times the rounded weight.
    shares = np.array([left.mean() for left in lefts])
    weights = np.clip(np.rint(2 / np.sqrt(shares * (1 - shares))), 4, MOST_WEIGHT)
    scores = weights * [abs((g - g.mean())[left].sum()) for left in lefts]
    number = tree.splits[0] if tree.owners[0] == "guest" else len(own) + hosts.splits[0]
    assert scores[number] == pytest.approx(scores.max(), rel=1e-6)
    assert tree.gains[0] == pytest.approx(exact[number])
    # A weight is at most 1/9 off where it is not cut, so the gain is near the largest that is.
    uncut = np.array(exact)[2 / np.sqrt(shares * (1 - shares)) <= MOST_WEIGHT].max()
    assert exact[number] >= uncut * (8 / 10) ** 2


def test_leaves_and_gains_are_those_of_the_objective() -> None:
    rng = np.random.default_rng(5)
    guest, host = some_codes(rng, 3, 300), host_of(some_codes(rng, 3, 300))
    g, h = rng.normal(size=300), rng.random(300)
    grown = new_tree(guest, g, h, depth=3, l2=2.0, learning_rate=0.3, least_rows=5)
    hosts, tree = grow_plain(grown, host), grown.tree
    leaves = grown.node_of_row
    for leaf, value in enumerate(tree.leaves):
        own = leaves == leaf
        if own.sum() >= 5:
            assert value == pytest.approx(-0.3 * g[own].sum() / (h[own].sum() + 2.0))
    for node in range(7):
        level = (node + 1).bit_length() - 1
        below = leaves >> (3 - level)
        here = below == node + 1 - 2**level
        left = (leaves >> (2 - level)) % 2 == 0
        wanted = gain(left[here], g[here], h[here], 2.0) if tree.owners[node] != "none" else 0.0
        assert tree.gains[node] == pytest.approx(wanted)
    assert {"guest", "host"} <= set(tree.owners)
    assert [split >= 0 for split in hosts.splits] == [owner == "host" for owner in tree.owners]
    assert [split >= 0 for split in tree.splits] == [owner == "guest" for owner in tree.owners]
    sides = sides_of_host(hosts, host.splits, host.codes)
    assert np.array_equal(leaves_of_rows(tree, splits_of(guest), guest, sides), leaves)


def test_the_tree_does_not_depend_on_the_order_of_rows() -> None:
    rng = np.random.default_rng(6)
    guest, host = some_codes(rng, 3, 200), some_codes(rng, 3, 200)
    g, h = rng.normal(size=200), rng.random(200)

    def grown(order: NDArray[np.int64]) -> tuple[GuestTree, HostTree]:
        own, theirs = (np.ascontiguousarray(codes[:, order]) for codes in (guest, host))
        tree = new_tree(own, g[order], h[order], depth=4, seed=int(order[0]))
        hosts = grow_plain(tree, host_of(theirs))
        return tree.tree, hosts

    one, other = grown(np.arange(200)), grown(rng.permutation(200))
    assert one[0].owners == other[0].owners
    assert one[0].splits == other[0].splits
    assert one[1] == other[1]
    assert one[0].leaves == pytest.approx(other[0].leaves)


@pytest.mark.parametrize("side", [True, False])
@pytest.mark.parametrize("owner", ["guest", "host"])
def test_rows_without_a_value_go_where_they_belong(side: bool, owner: str) -> None:
    codes = np.repeat(np.array([[0, 1, MISSING]], np.uint8), 20, axis=1)
    g = np.repeat([-1.0, 1.0, -1.0 if side else 1.0], 20)
    nothing = np.tile(np.array([[0, 1]], np.uint8), 30)
    own, others = (codes, nothing) if owner == "guest" else (nothing, codes)
    grown = new_tree(own, g, splits=splits_of(own, 1, 2))
    grow_plain(grown, PlainHost(splits_of(others, 1, 2), others, PLAIN_BITS, 20))
    assert grown.tree.owners == (owner,)
    assert grown.tree.leaves == pytest.approx([1.0, -1.0])
    assert np.array_equal(grown.node_of_row == 0, g < 0)


def test_a_node_of_few_rows_is_not_split_and_says_nothing() -> None:
    codes = np.array([[0] * 7 + [1] * 25], np.uint8)
    g = np.concatenate([np.linspace(1, 2, 7), -np.linspace(1, 2, 25)])
    grown = new_tree(codes, g, splits=splits_of(codes, 1, 2), depth=2, least_rows=5)
    grown.question()
    grown.answered(np.zeros(1, np.bool_), np.ones(32, np.bool_))
    question = grown.question()  # on the left are 7 rows, which no 5 and 5 can be
    assert not question.vectors[0].any()
    assert question.vectors[1].any()
    assert question.best[0] == MOST
    assert question.best[1] == 0  # the guest has no split left there
    # A host that says it won there does not split it either.
    grown.answered(np.array([True, False]), np.arange(32) % 2 == 0)
    assert grown.tree.owners == ("guest", "none", "none")
    assert grown.tree.leaves[0] == grown.tree.leaves[1]
    assert grown.tree.gains[1:] == (0.0, 0.0)


def test_a_node_whose_rows_are_alike_is_not_split() -> None:
    codes = np.array([[0, 1] * 10], np.uint8)
    h = np.random.default_rng(10).random(20)  # what is left of 0.3 h is the error of doubles
    grown = new_tree(codes, 0.3 * h, h, splits=splits_of(codes, 1, 2))
    question = grown.question()
    assert not question.vectors.any()
    assert question.best.tolist() == [MOST]


def test_a_side_of_few_rows_takes_the_value_of_its_node() -> None:
    rng = np.random.default_rng(7)
    codes = np.array([[0, 1] * 50], np.uint8)
    g = rng.normal(size=100) + 1
    grown = new_tree(codes, g, splits=splits_of(codes, 1, 2), depth=2, least_rows=5, l2=1.0)
    grown.question()
    grown.answered(np.ones(1, np.bool_), np.arange(100) < 3)
    question = grown.question()
    assert not question.vectors[0].any()
    grown.answered(np.array([False, False]), np.ones(100, np.bool_))
    node = -g.sum() / 101
    assert grown.tree.leaves[:2] == pytest.approx([node, node])
    assert grown.tree.owners[:2] == ("host", "none")
    assert grown.tree.leaves[2] != grown.tree.leaves[3]


def test_rows_that_do_not_train_only_get_their_sides() -> None:
    rng = np.random.default_rng(8)
    guest, host = some_codes(rng, 2, 120), host_of(some_codes(rng, 2, 120))
    g, h = rng.normal(size=120), rng.random(120)
    h[::4] = 0
    found = []
    for others in (0.0, 50.0):
        grown = new_tree(guest, np.where(h > 0, g, others), h, depth=3)
        question = grown.question()
        assert not question.vectors[:, ::4].any()
        grown = new_tree(guest, np.where(h > 0, g, others), h, depth=3)
        hosts = grow_plain(grown, host)
        sides = sides_of_host(hosts, host.splits, host.codes)
        leaves = leaves_of_rows(grown.tree, splits_of(guest), guest, sides)
        assert np.array_equal(leaves, grown.node_of_row)
        found.append(grown.tree)
    assert found[0] == found[1]


def test_a_row_that_counts_twice_is_two_rows() -> None:
    rng = np.random.default_rng(9)
    guest, host = some_codes(rng, 2, 100), some_codes(rng, 2, 100)
    g, h = rng.normal(size=100), rng.random(100)
    weighted = new_tree(guest, 2 * g, 2 * h, depth=3, l2=1.0)
    twice = new_tree(np.tile(guest, 2), np.tile(g, 2), np.tile(h, 2), depth=3, l2=1.0)
    parts = grow_plain(weighted, host_of(host)), grow_plain(twice, host_of(np.tile(host, 2)))
    assert parts[0] == parts[1]
    assert weighted.tree.splits == twice.tree.splits
    assert weighted.tree.leaves == pytest.approx(twice.tree.leaves)


def test_steps_are_bounded_where_that_is_asked_for() -> None:
    codes = np.array([[0, 1] * 20], np.uint8)
    g = np.where(codes[0] == 0, -5.0, 0.1)
    grown = new_tree(codes, g, splits=splits_of(codes, 1, 2), most_step=0.7, learning_rate=0.5)
    grow_plain(grown, None)
    assert grown.tree.leaves == pytest.approx([0.35, -0.05])


def test_what_cannot_grow_is_refused() -> None:
    codes = np.array([[0, 1] * 20], np.uint8)
    with pytest.raises(CapacityError, match="plan for as many"):
        new_tree(codes, np.arange(40.0), most=40 * MOST_WEIGHT).question()
    with pytest.raises(ConfigError, match="no row to grow"):
        new_tree(codes, np.arange(40.0), np.zeros(40))
    with pytest.raises(ConfigError, match="not finite"):
        new_tree(codes, np.full(40, np.nan))
    for wrong in ({"depth": 0}, {"depth": 8}, {"learning_rate": 0}, {"l2": -1}, {"least_rows": 0}):
        with pytest.raises(ConfigError, match="give a depth"):
            TreeSettings(**wrong)


def test_a_repr_tells_nothing_of_rows() -> None:
    codes = np.array([[0, 1] * 20], np.uint8)
    grown = new_tree(codes, np.arange(40.0), splits=splits_of(codes, 1, 2))
    hosts = grow_plain(grown, None)
    assert repr(grown.tree) == "GuestTree(depth=1)"
    assert repr(hosts) == "HostTree(nodes=1)"
