"""Trees of two sessions that see nothing of each other are those that who sees all would grow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from privfed.vertical.roles import Family
from tests.vertical.trees.machines import TreesJob, follow, hold, trees_job
from tests.vertical.trees.plain import boost

SETTINGS: dict[str, dict[str, Any]] = {
    **{f"depth {depth}": {"depth": depth, "trees": 2} for depth in (1, 2, 3, 4)},
    "missing": {"missing": 0.2, "trees": 3, "depth": 3},
    "three classes": {"outputs": 3, "trees": 2, "rows": 200},
    "weights": {"weighted": True, "trees": 2, "depth": 3},
    "held back": {"validation": 40, "trees": 8},
    "one column": {"columns": 1, "rows": 40},
    "missing and classes": {"missing": 0.3, "outputs": 4, "validation": 30, "weighted": True},
}


def check_grown(job: TreesJob) -> None:
    """Check that trees are those of what the host chose, and that it chose well."""
    guest, host = job.sides()
    hold(guest, host)
    whole = follow(job, list(host.state.trees), job.boosting())
    assert list(guest.state.trees) == whole.trees
    assert np.array_equal(np.frombuffer(guest.state.scores[-1]), whole.scores.ravel())
    assert list(guest.state.losses) == whole.losses
    assert host.trees == host.state.trees[: len(whole.best_trees)]
    assert guest.model == host.model
    for own, theirs in zip(guest.state.trees, host.state.trees, strict=True):
        assert [owner == "host" for owner in own.owners] == [split >= 0 for split in theirs.splits]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_trees_are_those_of_the_clear(settings: dict[str, Any]) -> None:
    """In the contest the lowest bits of scores do not count, so near ties may go either way."""
    check_grown(trees_job(**settings))


@pytest.mark.parametrize("family", ["linear", "poisson"])
def test_trees_of_each_family_are_those_of_the_clear(family: Family) -> None:
    check_grown(trees_job(family, weighted=True, missing=0.1, trees=2))


def test_both_sides_win_nodes_somewhere() -> None:
    """Or the tests above compare nothing."""
    guest, host = trees_job(depth=3, trees=2).sides()
    hold(guest, host)
    owners = {owner for tree in guest.state.trees for owner in tree.owners}
    assert owners >= {"guest", "host"}


@pytest.mark.parametrize(
    "settings",
    [
        {"depth": 3, "trees": 3},
        {"outputs": 3, "missing": 0.2, "trees": 2},
        {"validation": 40, "trees": 8, "weighted": True},
    ],
)
def test_where_histograms_are_revealed_the_best_splits_win(settings: dict[str, Any]) -> None:
    """Of equal ones any, as their order is drawn."""
    check_grown(trees_job(reveal="histograms", **settings))


@pytest.mark.parametrize("reveal", ["sides", "histograms"])
def test_trees_are_exactly_those_of_the_reference(reveal: str) -> None:
    """Where no two scores are nearly equal, as in roots of distinct residuals."""
    job = trees_job("linear", depth=1, trees=6, columns=3, rows=300, reveal=reveal)
    guest, host = job.sides()
    hold(guest, host)
    boosting = job.boosting()
    assert list(host.state.trees) == boost(boosting, job.plain_host)
    assert list(guest.state.trees) == boosting.trees
    assert {tree.owners[0] for tree in guest.state.trees} == {"guest", "host"}


def test_the_order_in_which_histograms_open_is_drawn_anew() -> None:
    job = trees_job(reveal="histograms", seed=5)
    orders = []
    for _ in range(2):
        guest, host = job.sides()
        hold(guest, host)
        orders.append(host._order.tolist())  # noqa: SLF001
        assert sorted(orders[-1]) == list(range(job.plan.host_splits))
    assert orders[0] != orders[1]
    guest, host = trees_job(seed=5).sides()
    hold(guest, host)
    assert host._order.tolist() == sorted(orders[0])  # noqa: SLF001


def test_what_the_guest_collected_is_counted() -> None:
    """The host knows nodes, and of rows the most that they can be."""
    job = trees_job(depth=3, trees=3)
    guest, host = job.sides()
    hold(guest, host)
    won, rows = [], []
    boosting = job.boosting()
    follow(job, list(host.state.trees), boosting)
    for tree in host.state.trees:
        won.append(sum(split >= 0 for split in tree.splits))
        levels = [tree.splits[2**level - 1 : 2 ** (level + 1) - 1] for level in range(3)]
        rows.append(job.plan.rows * sum(max(level) >= 0 for level in levels))
    own, theirs = guest.state.collected, host.state.collected
    assert list(own.nodes) == list(theirs.nodes) == won
    assert list(theirs.rows) == rows
    assert all(one <= most for one, most in zip(own.rows, theirs.rows, strict=True))
    assert sum(own.rows) > 0
    assert own.asked == theirs.asked == (7, 7, 7)
