"""A cap on rows of a unit holds, drops by the unit's own rows alone, and is what is accounted."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privfed.dp import calibrate, placements_from_ids
from privfed.dp.units import CapOver, check_units
from privfed.errors import ConfigError

parties_ids = st.lists(
    st.lists(st.sampled_from("abcdef"), max_size=12), min_size=1, max_size=4
).filter(any)
caps = st.integers(1, 4)


def kept_of(ids: list[list[str]], **how: Any) -> list[list[tuple[int, str]]]:
    found = placements_from_ids(ids, **how)
    assert [len(mask) for mask in found.kept] == list(map(len, ids))
    assert found.rows == tuple(int(mask.sum()) for mask in found.kept)
    return [
        [(row, unit) for row, (unit, keep) in enumerate(zip(own, mask, strict=True)) if keep]
        for own, mask in zip(ids, found.kept, strict=True)
    ]


@given(parties_ids, caps)
def test_each_party_keeps_the_first_rows_of_a_unit(ids: list[list[str]], cap: int) -> None:
    for own, kept in zip(ids, kept_of(ids, cap=cap), strict=True):
        seen: Counter[str] = Counter()
        wanted = []
        for row, unit in enumerate(own):
            seen[unit] += 1
            if seen[unit] <= cap:
                wanted.append((row, unit))
        assert kept == wanted
        if own:
            check_units([unit for _, unit in kept], len(kept), cap)  # what a trainer asks for


@given(parties_ids, caps)
def test_over_all_parties_earlier_ones_keep_theirs_first(ids: list[list[str]], cap: int) -> None:
    seen: Counter[str] = Counter()
    for own, kept in zip(ids, kept_of(ids, cap=cap, over="all parties"), strict=True):
        wanted = []
        for row, unit in enumerate(own):
            seen[unit] += 1
            if seen[unit] <= cap:
                wanted.append((row, unit))
        assert kept == wanted


@pytest.mark.parametrize("over", ["each party", "all parties"])
@given(ids=parties_ids, cap=caps, data=st.data())
def test_what_is_kept_of_a_unit_does_not_depend_on_others(
    over: CapOver, ids: list[list[str]], cap: int, data: st.DataObject
) -> None:
    """Neighbours differ in one unit: other units keep the same rows of theirs."""
    gone = data.draw(st.sampled_from(sorted(set().union(*ids))))
    names = [
        [f"{unit}{row}" if unit == gone else unit for row, unit in enumerate(own)] for own in ids
    ]  # its rows are now strangers'
    before, after = (kept_of(each, cap=cap, over=over) for each in (ids, names))
    for one, other in zip(before, after, strict=True):
        assert [each for each in one if each[1] != gone] == [
            each for each in other if not each[1].startswith(gone)
        ]


@pytest.mark.parametrize("over", ["each party", "all parties"])
@given(ids=parties_ids, cap=caps)
def test_the_plan_counts_every_unit_that_is_kept(
    over: CapOver, ids: list[list[str]], cap: int
) -> None:
    found = placements_from_ids(ids, cap=cap, over=over)
    for unit in set().union(*ids):
        has = [
            sum(u == unit and keep for u, keep in zip(own, mask, strict=True))
            for own, mask in zip(ids, found.kept, strict=True)
        ]
        assert any(all(h <= p for h, p in zip(has, each, strict=True)) for each in found.placements)
    read = placements_from_ids(ids, cap=cap, over=over, placements_are_public=True)
    assert all(np.array_equal(a, b) for a, b in zip(read.kept, found.kept, strict=True))
    for each in read.placements:
        assert any(all(h <= p for h, p in zip(each, f, strict=True)) for f in found.placements)


def test_placements_are_those_of_the_cap_and_not_of_the_rows() -> None:
    one, other = (["a"] * 5, ["b"]), (["c", "d"], ["e"])
    for ids in (one, other):
        assert placements_from_ids(ids, cap=2).placements == ((2, 2),)
        assert placements_from_ids(ids, cap=[2, 1]).placements == ((2, 1),)
        assert placements_from_ids(ids, cap=2, over="all parties").placements == (
            (2, 0), (1, 1), (0, 2),
        )  # fmt: skip
    public = [placements_from_ids(i, cap=2, placements_are_public=True) for i in (one, other)]
    assert [each.placements for each in public] == [((2, 0), (0, 1)), ((1, 0), (0, 1))]


def test_a_unit_with_several_rows_costs_more_and_is_calibrated_for() -> None:
    """The placements go into a plan as they are; noise for (2, 2) is more than for one row."""
    ids = (["a", "a", "a", "b"] * 25, ["a", "c"] * 25)

    def sigma(cap: int) -> float:
        found = placements_from_ids(ids, cap=cap)
        plan = calibrate(
            2.0, 1e-5, noise="central", rows=found.rows, sampling_rates=[0.2, 0.2], rounds=10,
            l2_clip_norm=1.0, placements=found.placements, privacy_unit="one person",
        )  # fmt: skip
        assert plan.epsilon <= 2.0
        return plan.noise_multiplier

    assert sigma(1) < sigma(2) < sigma(3)


@pytest.mark.parametrize(
    ("ids", "how"),
    [
        ([], {"cap": 1}),
        ([["a"], [1]], {"cap": 1}),
        ([["a"], [b"a"]], {"cap": 1}),
        ([[float("nan")]], {"cap": 1}),
        ([["a", float("nan"), "b"]], {"cap": 1}),
        ([["1", 1.0]], {"cap": 1}),
        ([[1, "1"]], {"cap": 1}),
        ([[1, 1.0]], {"cap": 1}),
        ([[True, False]], {"cap": 1}),
        ([["p", 1], ["1.0", "p"]], {"cap": 1, "over": "all parties"}),
        ([np.ma.masked_array([1, 2], [False, True])], {"cap": 1}),
        ([[None]], {"cap": 1}),
        ([[["a"]]], {"cap": 1}),
        ([["a"]], {"cap": 0}),
        ([["a"]], {"cap": -1}),
        ([["a"]], {"cap": 1.5}),
        ([["a"], ["b"]], {"cap": [1]}),
        ([["a"], ["b"]], {"cap": [0, 0]}),
        ([["a"], ["b"]], {"cap": [1, 1], "over": "all parties"}),
        ([["a"], ["b"]], {"cap": 1, "over": "both"}),
        ([["a"]] * 12, {"cap": 9, "over": "all parties"}),
    ],
)
def test_what_is_no_cap_and_no_id_is_refused(ids: Any, how: Any) -> None:
    with pytest.raises(ConfigError):
        placements_from_ids(ids, **how)


def test_a_column_of_objects_that_are_texts_is_taken() -> None:
    kept = placements_from_ids([np.array(["a", "b", "a"], object)], cap=1).kept[0]
    assert kept.tolist() == [True, True, False]


def test_large_numbers_are_not_rounded_into_one_unit() -> None:
    ids = [np.array([2**53, 2**53 + 1, 2**53]), np.array([2**64 - 1, 2**53 + 1], np.uint64)]
    found = placements_from_ids(ids, cap=1, over="all parties")
    assert [mask.tolist() for mask in found.kept] == [[True, True, False], [True, False]]


def test_more_rows_of_a_unit_than_planned_are_refused_without_its_name() -> None:
    check_units(["ann", "bob", "ann"], 3, 2)
    with pytest.raises(ConfigError, match="placements_from_ids") as refused:
        check_units(["ann", "bob", "ann"], 3, 1)
    assert "ann" not in str(refused.value)
    with pytest.raises(ConfigError, match="2 rows have 3 IDs"):
        check_units(["ann", "bob", "ann"], 2, 2)
