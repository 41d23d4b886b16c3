"""The contest of a level against plain integers: who wins a node, by which split, and no more."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.garbled import Lengths
from privfed.vertical.trees.contest import (
    Contest,
    contest,
    guest_values,
    host_values,
    outcome_of,
    splits_won,
    won_by_host,
)
from tests.garbled.runs import garbled, transfers

Shares = NDArray[np.uint64]


def unbeatable(plan: Contest) -> int:
    """What the guest's best is in a node that the host cannot win."""
    return (1 << (plan.plain_bits - 1)) - 1


def shared(plan: Contest, sums: NDArray[np.int64], seed: int) -> tuple[Shares, Shares]:
    ring = 1 << plan.plain_bits
    guest = np.random.default_rng(seed).integers(0, ring, sums.shape, np.uint64)
    return guest, (sums.astype(np.uint64) - guest) & np.uint64(ring - 1)


@st.composite
def contests(draw: st.DrawFn) -> tuple[Contest, NDArray[np.int64], NDArray[np.int64]]:
    """A plan, scores and the guest's best, many of them at their ends and many alike."""
    plain_bits = draw(st.integers(2, 40))
    plan = Contest(
        draw(st.integers(1, 5)), draw(st.integers(1, 20)), draw(st.integers(2, plain_bits)),
        plain_bits,
    )  # fmt: skip
    most = unbeatable(plan)
    score = st.one_of(
        st.integers(-most, most),
        st.sampled_from([-most, most, 0]),
        st.integers(max(-9, -most), min(9, most)),
    )
    each = st.lists(score, min_size=plan.splits, max_size=plan.splits)
    sums = draw(st.lists(each, min_size=plan.nodes, max_size=plan.nodes))
    best = draw(st.lists(score.map(abs), min_size=plan.nodes, max_size=plan.nodes))
    return plan, np.array(sums, np.int64), np.array(best, np.int64)


@settings(max_examples=300, deadline=None)
@given(case=contests(), seed=st.integers(0, 2**32))
def test_a_contest_is_that_of_integers(
    case: tuple[Contest, NDArray[np.int64], NDArray[np.int64]], seed: int
) -> None:
    plan, sums, best = case
    guest, host = shared(plan, sums, seed)
    own, theirs = contest(plan).compute(guest_values(plan, guest, best), host_values(plan, host))
    won, split = outcome_of(plan, guest, best, host)
    assert own.keys() == {"won"}
    assert won_by_host(own).tolist() == won.tolist()
    assert splits_won(theirs).tolist() == split.tolist()
    assert np.all(theirs["split"][~won] == 0)  # of a node that the guest won the host learns that


@settings(max_examples=300, deadline=None)
@given(case=contests(), seed=st.integers(0, 2**32))
def test_the_best_wins_to_the_last_bit_compared(
    case: tuple[Contest, NDArray[np.int64], NDArray[np.int64]], seed: int
) -> None:
    """By the definition: a size counts rounded, or one less; without shares just rounded."""
    plan, sums, best = case
    unit, top = 1 << plan.dropped, (1 << (plan.bits - 1)) - 1
    guest, host = shared(plan, sums, seed)
    half = Fraction(1, 2)
    for lost, (won, split) in (
        (0, outcome_of(plan, sums, best)),
        (1, outcome_of(plan, guest, best, host)),
    ):
        for node in range(plan.nodes):
            exact = [Fraction(abs(score), unit) for score in sums[node].tolist()]
            high = [min(floor(size + half), top) for size in exact]
            low = [max(size - 1, 0) if lost or score < 0 else size for size, score in zip(
                high, sums[node].tolist(), strict=True)]  # fmt: skip
            own = int(best[node]) // unit
            if won[node]:
                assert high[split[node]] > own
                assert high[split[node]] >= max(low)
            else:
                assert split[node] == -1
                assert max(low) <= own


def test_all_bits_compared_the_contest_is_exact() -> None:
    plan = Contest(nodes=40, splits=13, bits=6, plain_bits=6)
    random = np.random.default_rng(3)
    sums = random.integers(-31, 32, (40, 13))
    best = random.integers(0, 32, 40)
    won, split = outcome_of(plan, sums, best)
    # A negative number counts one less: the price of a size without an AND.
    sizes = np.where(sums < 0, -sums - 1, sums)
    assert won.tolist() == (sizes.max(axis=1) > best).tolist()
    assert split.tolist() == np.where(won, sizes.argmax(axis=1), -1).tolist()
    assert 0 < won.sum() < 40


def test_every_pair_of_shares_of_a_small_ring() -> None:
    """All of it: 16 x 16 shares, each against every best, at each number of bits."""
    guest, host = (each.ravel()[:, None] for each in np.indices((16, 16)).astype(np.uint64))
    sums = ((guest + host).astype(np.int64) + 8) % 16 - 8
    for bits in (2, 3, 4):
        plan = Contest(nodes=256, splits=1, bits=bits, plain_bits=4)
        for best in range(8):
            bests = np.full(256, best)
            own, theirs = contest(plan).compute(
                guest_values(plan, guest, bests), host_values(plan, host)
            )
            won, split = outcome_of(plan, guest, bests, host)
            assert won_by_host(own).tolist() == won.tolist()
            assert splits_won(theirs).tolist() == split.tolist()
            size, unit = np.abs(sums[:, 0]), 1 << plan.dropped
            assert np.all(won[(size >= best + 2 * unit) & (size < 8)])
            assert not np.any(won[size <= best - (unit >> 1)])


def test_ties_go_to_the_guest_and_to_the_lowest_number() -> None:
    plan = Contest(nodes=3, splits=11, bits=8, plain_bits=8)
    sums = np.zeros((3, 11), np.int64)
    sums[:, [4, 7, 9]] = 50
    best = np.array([50, 49, unbeatable(plan)])
    for shares in (shared(plan, sums, seed) for seed in range(20)):
        won, split = outcome_of(plan, shares[0], best, shares[1])
        assert won.tolist() == [False, True, False]
        assert split.tolist() == [-1, 4, -1]


@settings(max_examples=100, deadline=None)
@given(case=contests(), seed=st.integers(0, 2**32))
def test_the_host_never_wins_a_node_that_cannot_be_won(
    case: tuple[Contest, NDArray[np.int64], NDArray[np.int64]], seed: int
) -> None:
    plan, sums, _ = case
    sums[0] = 0  # nor does a node without rows
    best = np.where(np.arange(plan.nodes) == 0, 0, unbeatable(plan))
    guest, host = shared(plan, sums, seed)
    assert not np.any(outcome_of(plan, guest, best, host)[0])


@settings(max_examples=20, deadline=None)
@given(case=contests(), seed=st.integers(0, 2**32))
def test_garbled_it_is_the_same(
    case: tuple[Contest, NDArray[np.int64], NDArray[np.int64]], seed: int
) -> None:
    plan, sums, best = case
    guest, host = shared(plan, sums, seed)
    own, theirs = garbled(
        contest(plan), guest_values(plan, guest, best), host_values(plan, host), transfers()
    )
    won, split = outcome_of(plan, guest, best, host)
    assert won_by_host(own).tolist() == won.tolist()
    assert splits_won(theirs).tolist() == split.tolist()


@pytest.mark.parametrize("bits", [14, 16, 18])
def test_a_split_takes_three_ands_a_bit(bits: int) -> None:
    plan = Contest(nodes=2, splits=1550, bits=bits, plain_bits=28)
    circuit = contest(plan)
    splits = plan.nodes * plan.splits
    assert (3 * bits - 2) * splits < circuit.ands < (3 * bits - 1) * splits
    # Two blocks for each AND, one for each bit of the host; about as much is asked for.
    lengths = Lengths.of(circuit)
    assert lengths.garbled < 16 * splits * (2 * (3 * bits - 1) + bits)
    assert lengths.request < 17 * splits * bits


@pytest.mark.parametrize(
    "plan", [(0, 1, 8, 8), (1, 0, 8, 8), (1, 1, 1, 8), (1, 1, 9, 8), (1, 1, 8, 63)]
)
def test_plans_that_cannot_be_are_refused(plan: tuple[int, int, int, int]) -> None:
    with pytest.raises(ConfigError, match="no contest"):
        Contest(*plan)
