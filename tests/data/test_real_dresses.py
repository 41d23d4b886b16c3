"""What was measured on UCI's file; runs where PRIVFED_DRESSES names the folder that has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from privfed.data import load_dresses, read_sales, split_parties, surrogate_tables
from privfed.data.files import read_text_table

ATTRIBUTES, SALES = "Attribute DataSet.csv", "Dress Sales.csv"


def test_every_row_and_every_spelling_is_known(real_dresses: Path) -> None:
    dataset = load_dresses(real_dresses / ATTRIBUTES)
    assert dataset.features.shape == (500, 12)
    assert np.bincount(dataset.labels).tolist() == [290, 210]
    report = dataset.cleaning
    assert report is not None
    assert not report.unknown
    assert (report.repeated_ids, report.conflicting_ids) == (25, 15)
    empty = {name: rows for name, rows in report.missing.items() if name != "Rating"}
    assert sum(empty.values()) == 837  # 835 empty or null, and two collars among the sleeves


def test_the_surrogates_frequencies_are_the_files(real_dresses: Path) -> None:
    from privfed.data.surrogate import _FREQUENCIES

    frame = read_text_table(real_dresses / ATTRIBUTES).frame
    for column, text in _FREQUENCIES.items():
        words = text.split()
        counted = frame[column].replace("", "-").value_counts().to_dict()
        assert counted == {w: int(n) for w, n in zip(words[::2], words[1::2], strict=True)}


def test_the_surrogate_repeats_no_id_of_the_file(real_dresses: Path) -> None:
    frame = read_text_table(real_dresses / ATTRIBUTES).frame
    assert not set(frame["Dress_ID"]) & set(surrogate_tables()[0]["Dress_ID"])


@pytest.mark.parametrize("seed", range(5))
def test_shared_ids_of_the_papers_split(real_dresses: Path, seed: int) -> None:
    dataset = load_dresses(real_dresses / ATTRIBUTES)
    assert dataset.ids is not None
    guest, host = (
        set(dataset.ids[party.rows].tolist())
        for party in split_parties(dataset, "overlapping", seed=seed)
    )
    assert len(guest) in range(385, 395)
    assert len(host) in range(432, 438)
    assert len(guest & host) in range(346, 352)
    left, right = split_parties(dataset, "disjoint", seed=seed)
    assert len(left.rows) in range(233, 240)
    assert len(right.rows) in range(261, 268)


def test_sales_are_of_the_same_dresses(real_dresses: Path) -> None:
    dataset, sales = load_dresses(real_dresses / ATTRIBUTES), read_sales(real_dresses / SALES)
    assert dataset.ids is not None
    assert sales.ids.tolist() == dataset.ids.tolist()
    assert (len(sales.dates), sales.cumulative.shape) == (23, (500, 23))
    assert (sales.dates[0].isoformat(), sales.dates[-1].isoformat()) == ("2013-08-29", "2013-10-12")
    assert (np.diff([day.toordinal() for day in sales.dates]) == 2).all()
    assert int(np.isnan(sales.cumulative).sum()) == 1607
    assert np.median(sales.cumulative[:, -1]) == 222
