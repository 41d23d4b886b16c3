"""Bins hold enough rows, keep order and ties, take new rows, and are saved as data."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.data import CategoricalColumn, NumericColumn, Schema
from privfed.data.schema import MISSING_CODE
from privfed.errors import ConfigError, DecodeError
from privfed.vertical.trees.bins import Binning, BinningFields
from privfed.vertical.trees.columns import bin_ends
from privfed.vertical.trees.splits import LEAST_WEIGHT, MOST_WEIGHT, Splits
from privfed.vertical.trees.subsets import MISSING
from psi.storage import json_bytes, json_read

CITIES = ["Lyon"] * 9 + ["Turin"] * 6 + ["Ghent"] * 6 + ["Porto"] * 2 + ["Bonn"] * 1 + [""] * 6


def a_table(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """Numbers with and without gaps and ties, yes and no, categories."""
    rng = np.random.default_rng(seed)
    gaps = rng.random(rows) < 0.15
    return pd.DataFrame(
        {
            "income": [f"{x:.0f}" for x in np.exp(rng.normal(10, 1, rows))],
            "visits": rng.poisson(1.5, rows).astype(str),
            "savings": np.where(gaps, "", [f"{x:.2f}" for x in rng.normal(0, 100, rows)]),
            "late": rng.choice(["yes", "no"], rows, p=(0.3, 0.7)),
            "city": rng.choice(["Lyon", "Turin", "Ghent", "Porto", "Bonn", ""], rows),
        }
    )


def split_text(binning: Binning, number: int) -> str:
    """Which rows a split sends left, such as "income <= 1200 or missing"."""
    splits = binning.splits
    bins = binning.columns[int(splits.column[number])]
    low, high = int(splits.low[number]), int(splits.high[number])
    column, or_missing = bins.column, " or missing" if splits.missing_left[number] else ""
    if low == 0 and high >= bins.count - 1:
        return f"{column.name} is not missing"
    if not isinstance(column, CategoricalColumn):
        return f"{column.name} <= {column.notation.written(bins.edges[high])}{or_missing}"
    within = [
        column.meaning(code)
        for code, place in enumerate(bins.places)
        if low <= place <= high and code != MISSING_CODE
    ]
    return f"{column.name} is {' or '.join(within)}{or_missing}"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(1, 40), st.integers(1, 20)
)
def test_bins_are_few_and_hold_enough_rows(counts: list[int], most: int, least: int) -> None:
    ends = bin_ends(np.array(counts), most, least)
    assert ends[-1] == len(counts)
    assert (np.diff(ends, prepend=0) > 0).all()
    assert len(ends) <= most
    rows = np.diff(np.concatenate([[0], np.cumsum(counts)])[ends], prepend=0)
    assert len(ends) == 1 or rows.min() >= least
    if len(counts) <= most and min(counts) >= least:
        assert len(ends) == len(counts)


def test_bins_hold_about_as_many_rows_each() -> None:
    rows = np.diff(bin_ends(np.ones(1000, np.int64), 32, 10), prepend=0)
    assert len(rows) == 32
    assert set(rows.tolist()) <= {31, 32}
    # A share ends where it is nearest to an equal one.
    assert bin_ends(np.array([12, 8, 11]), 2, 1).tolist() == [1, 3]
    # One value of many rows takes no bins from the others.
    rows = np.diff(bin_ends(np.array([500, *[1] * 310]), 32, 10), prepend=0)
    assert rows.tolist() == [1, *[10] * 31]


def test_numbers_keep_order_and_ties() -> None:
    frame = a_table()
    codes = Binning.fit(frame, bins=8).codes(frame)
    for place, name in enumerate(("income", "visits")):
        numbers = frame[name].astype(float).to_numpy()
        order = np.argsort(numbers, kind="stable")
        sorted_codes = codes[place][order].astype(int)
        assert (np.diff(sorted_codes) >= 0).all()
        assert (np.diff(sorted_codes)[np.diff(numbers[order]) == 0] == 0).all()
    assert np.array_equal(codes[2] == MISSING, frame["savings"] == "")
    assert np.array_equal(codes[3], frame["late"] == "yes")


def test_categories_are_ordered_by_how_often_they_come_and_the_rare_ones_joined() -> None:
    frame = pd.DataFrame({"city": CITIES})
    codes = Binning.fit(frame, least_rows=3).codes(frame)[0]
    wanted = {"Lyon": 0, "Ghent": 1, "Turin": 2, "Porto": 3, "Bonn": 3, "": MISSING}
    assert codes.tolist() == [wanted[city] for city in CITIES]


def test_a_category_that_no_row_had_counts_as_the_rarest() -> None:
    binning = Binning.fit(pd.DataFrame({"city": CITIES}), least_rows=3)
    assert binning.codes(pd.DataFrame({"city": ["Atlantis", "", "Ghent"]})).tolist() == [
        [3, MISSING, 1]
    ]


def test_categories_with_an_order_keep_it_and_take_what_has_no_place_as_missing() -> None:
    sizes = CategoricalColumn("size", ("S", "M", "L", "XL"), ordinal=True)
    frame = pd.DataFrame({"size": ["XL"] * 12 + ["M"] * 3 + ["S"] * 6})
    binning = Binning.fit(frame, schema=Schema((sizes,)), least_rows=3)
    new = pd.DataFrame({"size": ["S", "M", "L", "XL", "huge"]})
    assert binning.codes(new).tolist() == [[0, 1, 2, 2, MISSING]]
    assert [split_text(binning, split) for split in range(len(binning.splits))] == [
        "size is S", "size is S or M",
    ]  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.integers(40, 150), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_no_splits_tell_few_rows_apart(rows: int, least: int, seed: int) -> None:
    frame = a_table(rows, seed)
    binning = Binning.fit(frame, bins=6, least_rows=least)
    codes, splits = binning.codes(frame), binning.splits
    sides = np.array([splits.left(codes, split) for split in range(len(splits))])
    for column in range(len(codes)):
        own = sides[splits.column == column]
        for left in own:
            assert least <= left.sum() <= rows - least
        for one, other in combinations(own, 2):
            assert least <= (one ^ other).sum() <= rows - least


def test_missing_values_are_tried_on_both_sides_where_enough_rows_lack_them() -> None:
    numbers = [str(number) for number in range(40)]
    many = Binning.fit(pd.DataFrame({"x": numbers + [""] * 10}), bins=2)
    texts = [split_text(many, split) for split in range(len(many.splits))]
    assert texts == ["x <= 19.5", "x <= 19.5 or missing", "x is not missing"]
    assert many.codes(pd.DataFrame({"x": ["19.5", "19.6", ""]})).tolist() == [[0, 1, MISSING]]
    few = Binning.fit(pd.DataFrame({"x": [*numbers, ""]}), bins=4)
    assert [split_text(few, split) for split in range(3)] == [
        "x <= 9.5", "x <= 19.5 or missing", "x <= 29.5 or missing",
    ]  # fmt: skip


def test_each_category_is_told_from_all_others() -> None:
    binning = Binning.fit(pd.DataFrame({"city": CITIES[:-6]}), least_rows=3)
    assert [split_text(binning, split) for split in range(len(binning.splits))] == [
        "city is Lyon", "city is Ghent or Lyon or missing",
        "city is Ghent or Lyon or Turin or missing", "city is Ghent", "city is Turin",
    ]  # fmt: skip


def test_a_category_is_told_from_missing_values_and_all_others() -> None:
    binning = Binning.fit(pd.DataFrame({"city": CITIES}), least_rows=3)
    texts = [split_text(binning, split) for split in range(len(binning.splits))]
    assert texts[:2] == ["city is Lyon", "city is Lyon or missing"]
    assert texts[-3:] == ["city is Ghent", "city is Turin", "city is not missing"]


def test_a_split_with_few_rows_on_a_side_is_none() -> None:
    codes = np.array([[0] * 2 + [1] * 9 + [2] * 3], np.uint8)
    splits = Splits.between(codes, [3], [True], 3)
    assert splits.high.tolist() == [1]


def test_new_rows_have_the_codes_of_old_ones() -> None:
    frame = a_table()
    binning = Binning.fit(frame)
    some = frame.iloc[[5, 180, 17]].assign(ID=["a", "b", "c"])
    with pytest.raises(ConfigError, match="unknown column"):
        binning.codes(some)
    assert np.array_equal(
        binning.codes(some.drop(columns="ID")), binning.codes(frame)[:, [5, 180, 17]]
    )


def test_a_split_s_subset_is_its_smaller_side_with_its_weight() -> None:
    frame = a_table(400)
    binning = Binning.fit(frame, least_rows=1)
    codes = binning.codes(frame)
    subsets = binning.splits.subsets(codes)
    weights = set()
    for split, entries in enumerate(subsets.matrix(0, len(binning.splits))):
        left = binning.splits.left(codes, split)
        inside = entries > 0
        assert np.array_equal(inside, left) or np.array_equal(inside, ~left)
        assert 2 * inside.sum() <= len(left)
        share = inside.mean()
        exact = 2 / np.sqrt(share * (1 - share))
        assert abs(entries.max() - min(max(exact, LEAST_WEIGHT), MOST_WEIGHT)) <= 0.5
        weights.add(int(entries.max()))
    assert {LEAST_WEIGHT, MOST_WEIGHT} <= weights


def test_bins_are_saved_as_data() -> None:
    frame = a_table()
    binning = Binning.fit(frame)
    fields = json_read(json_bytes(binning.to_fields()), BinningFields)
    again = Binning.from_fields(fields)
    assert again.to_fields() == binning.to_fields()
    assert np.array_equal(again.codes(frame), binning.codes(frame))
    texts = [
        [split_text(each, split) for split in range(len(each.splits))] for each in (binning, again)
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda fields: {"edges": fields.edges[1:]},
        lambda fields: {"edges": (fields.edges[0][::-1], *fields.edges[1:])},
        lambda fields: {"edges": (tuple(map(float, range(300))), *fields.edges[1:])},
        lambda fields: {"places": (*fields.places[:-1], fields.places[-1][1:])},
        lambda fields: {"places": ((0, 1), *fields.places[1:])},
        lambda fields: {"column": (99, *fields.column[1:])},
        lambda fields: {"low": fields.low[1:]},
        lambda fields: {"high": (200, *fields.high[1:])},
        lambda fields: {"low": (31, *fields.low[1:])},
        lambda fields: {"column": (), "low": (), "high": (), "missing_left": ()},
    ],
)  # fmt: skip
def test_bins_that_contradict_themselves_are_refused(
    spoil: Callable[[BinningFields], dict[str, object]],
) -> None:
    fields = Binning.fit(a_table()).to_fields()
    with pytest.raises(DecodeError, match="contradict"):
        Binning.from_fields(msgspec.structs.replace(fields, **spoil(fields)))


def test_tables_that_tell_nothing_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match="no column tells 10 rows"):
        Binning.fit(a_table(15))
    with pytest.raises(ConfigError, match="no rows"):
        Binning.fit(a_table(0))
    with pytest.raises(ConfigError, match="2 to 254 bins"):
        Binning.fit(a_table(), bins=255)
    with pytest.raises(ConfigError, match="no column 'ID'"):
        Binning.fit(a_table(), id_column="ID")
    with pytest.raises(ConfigError, match="beside ID and label"):
        Binning.fit(a_table(), schema=Schema(()))


def test_a_repr_shows_no_number_of_a_row() -> None:
    binning = Binning.fit(pd.DataFrame({"x": [str(number) for number in range(7000, 7100)]}))
    schema = repr(binning.schema)  # its range is public
    assert "70" not in repr(binning).replace(schema, "")


def test_a_column_of_few_values_is_left_without_a_split() -> None:
    frame = a_table().assign(one="7", flat="Lyon")
    column = NumericColumn("one", 7, 7)
    schema = Schema((column, CategoricalColumn("flat", ("Lyon",)), NumericColumn("income", 0, 1e6)))
    binning = Binning.fit(frame[["one", "flat", "income"]], schema=schema)
    assert set(binning.splits.column.tolist()) == {2}
    assert binning.names == ("one", "flat", "income")
