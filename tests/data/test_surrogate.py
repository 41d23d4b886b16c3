"""The embedded surrogate and the sales tables: made up, always the same, and dirty as the real."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from privfed.data import load_dataset, parse_sales, read_sales, surrogate_tables
from privfed.data.files import frame_sha256

DATES = tuple(date(2013, 8, 29 + 2 * i) for i in range(2)) + tuple(
    date.fromordinal(date(2013, 9, 2).toordinal() + 2 * i) for i in range(21)
)


def test_it_is_the_same_everywhere_and_always() -> None:
    random.seed(1)
    attributes, sales = surrogate_tables()
    # Pinned: another Python, numpy or pandas must not change what the benchmark runs on.
    assert frame_sha256(attributes) == load_dataset().sha256
    assert (frame_sha256(attributes)[:16], frame_sha256(sales)[:16]) == (
        "32a729838edeca09",
        "12fc25b695c1a887",
    )


def test_it_has_the_real_files_shape_and_dirt(raw_dresses: pd.DataFrame) -> None:
    dataset = load_dataset()
    assert np.bincount(dataset.labels).tolist() == [290, 210]
    report = dataset.cleaning
    assert report is not None
    assert report.repeated_ids == 25
    assert 10 <= (report.conflicting_ids or 0) <= 20
    assert not report.unknown
    assert raw_dresses["Dress_ID"].nunique() == 475
    dirt = {("Season", "Automn"), ("SleeveLength", "sleevless"), ("Material", "null")}
    dirt |= {("FabricType", "shiffon"), ("Style", "Sexy"), ("Price", "Low")}
    assert dirt <= {(change.column, change.spelling) for change in report.changes}


def test_spellings_are_about_as_frequent_as_in_the_real_file(raw_dresses: pd.DataFrame) -> None:
    real = {"Style": ("Casual", 232), "Season": ("Automn", 61), "Rating": ("0", 120)}
    real |= {"FabricType": ("null", 265), "Size": ("free", 173)}
    for column, (spelling, rows) in real.items():
        deviation = (rows * (1 - rows / 500)) ** 0.5
        assert abs((raw_dresses[column] == spelling).sum() - rows) < 4 * deviation


def test_a_repeated_dress_is_nearly_the_same_twice(raw_dresses: pd.DataFrame) -> None:
    attributes = raw_dresses.drop(columns="Recommendation")
    twins = attributes[attributes.duplicated("Dress_ID", keep=False)]
    differences = [
        int((pair.iloc[0] != pair.iloc[1]).sum()) for _, pair in twins.groupby("Dress_ID")
    ]
    assert len(differences) == 25
    assert max(differences) <= 3
    assert max(differences) > 0


def test_callers_cannot_spoil_the_next_callers_tables() -> None:
    spoilt = surrogate_tables()[0]
    spoilt.loc[:, "Style"] = "spoilt"
    assert "spoilt" not in set(surrogate_tables()[0]["Style"])


def test_sales_are_cleaned_and_the_dirt_is_reported(tmp_path: Path) -> None:
    raw = surrogate_tables()[1]
    raw.to_csv(tmp_path / "sales.csv", index=False)
    sales = read_sales(tmp_path / "sales.csv")
    assert sales.dates == DATES
    assert sales.cumulative.shape == (500, 23)
    assert load_dataset().ids.tolist() == sales.ids.tolist()  # type: ignore[union-attr]
    assert sales.cleaning.renamed_columns["8/10/2010"] == "2013-10-08"
    words = Counter(change.spelling for change in sales.cleaning.changes)
    assert words == {"Removed": 1, "removed": 2, "Orders": 1}
    assert int(np.isnan(sales.cumulative).sum()) == sum(sales.cleaning.missing.values()) > 1000
    assert np.nanmin(sales.cumulative) >= 0
    assert np.array_equal(parse_sales(raw).cumulative, sales.cumulative, equal_nan=True)
    assert sales.ids[0] not in repr(sales)


def test_first_and_last_day_are_never_missing_and_sales_carry_a_signal() -> None:
    sales = parse_sales(surrogate_tables()[1])
    first, last = sales.cumulative[:, 0], sales.cumulative[:, -1]
    assert not np.isnan(first).any()
    assert not np.isnan(last).any()
    high = last > np.median(last)
    started = first > np.median(first)
    assert (high == started).mean() > 0.6  # the seller's column says something
    unrated = load_dataset().features[:, 2] == 0
    assert high[unrated].mean() < 0.35 < high[~unrated].mean()  # and so does the manufacturer's


def test_a_spreadsheets_exchanged_and_serial_dates_are_read() -> None:
    headers = ["Dress_ID", "31/8/2013", "2013-02-09 00:00:00", "41373", "2013-09-30"]
    raw = pd.DataFrame([["17", "1", "2", "3.0", "x"]], columns=headers, dtype=str)
    sales = parse_sales(raw)
    # 41373 is Excel's 9 April, exchanged: 4 September.
    assert [day.isoformat() for day in sales.dates] == [
        *("2013-08-31", "2013-09-02", "2013-09-04", "2013-09-30")
    ]
    assert sales.cumulative[0, :3].tolist() == [1, 2, 3]
    assert np.isnan(sales.cumulative[0, 3])
