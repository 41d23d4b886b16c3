"""What the values of a column say it is: identifiers, codes, wide tables, Parquet, data frames."""

from __future__ import annotations

import datetime
import sys
import uuid
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privfed.data import ColumnReading, inspect_table, load_dataset
from privfed.data.understood import rows_of, understood
from privfed.errors import ConfigError, TableWarning

LABELS = ["no", "yes"] * 50


def reading(cells: object, name: str = "x") -> ColumnReading:
    frame = pd.DataFrame({name: cells, "late": LABELS})
    return next(each for each in inspect_table(frame, label="late").columns if each.name == name)


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ([f"m{n % 50}@shop.example" for n in range(100)], "e-mail addresses"),  # each twice
        ([str(uuid.UUID(int=n)) for n in range(100)], "UUIDs"),
        ([f"order {n}" for n in range(100)], "texts that nearly all differ"),
    ],
)
def test_texts_that_are_an_identifier_are_left_out_and_said(cells: list[str], what: str) -> None:
    found = reading(cells)
    assert (found.role, found.column) == ("ignore", None)
    table = pd.DataFrame({"x": cells, "y": [1.5, 2.5] * 50, "late": LABELS})
    with pytest.warns(TableWarning, match=f"column 'x' is left out: {what}"):
        data = load_dataset("table", table, label="late")
    assert data.encoder.feature_names == ("y", "y=missing")
    named = load_dataset("table", table, label="late", id_column="x")  # without a warning
    assert named.ids is not None


def test_whole_numbers_that_nearly_all_differ_are_named_before_they_are_trained_on() -> None:
    table = pd.DataFrame({"customer": np.random.default_rng(1).permutation(100), "late": LABELS})
    with pytest.warns(TableWarning, match="column 'customer' has another whole number in nearly"):
        data = load_dataset("table", table, label="late")
    assert data.encoder.feature_names[0] == "customer"
    for amounts in ([f"${n}" for n in range(100)], [n + 0.5 for n in range(100)]):
        assert not reading(amounts).warning


@pytest.mark.parametrize(
    ("cells", "name", "asked"),
    [
        (["01234", "98765"] * 50, "area", "'01234' may be a code"),
        (["10115", "98765"] * 50, "zip", "by its name"),
        (["10115", "98765"] * 50, "ZipCode", "by its name"),
        (["10115", "98765"] * 50, "zipper", ""),
        (["1.050", "2.300", "3.100", "950"] * 25, "x", "may be 1.05 or 1050"),
        (["1.050", "2.300", "3.1", "950"] * 25, "x", ""),
    ],
)
def test_numbers_that_may_be_codes_or_thousands_are_asked_about(
    cells: list[str], name: str, asked: str
) -> None:
    assert asked in (question := reading(cells, name).question)
    assert bool(question) == bool(asked)


def test_few_different_numbers_are_remarked_on() -> None:
    assert "categories" in reading([1, 2, 3, 4] * 25).done
    assert not reading([0, 1] * 50).done


def test_too_many_categories_are_refused_and_those_that_all_differ_left_out() -> None:
    cells = [f"city {n}" for n in range(1001)] * 2
    table = pd.DataFrame({"x": cells, "late": ["no", "yes"] * 1001})
    with pytest.raises(ConfigError, match="1001 different texts, at most 1000"):
        load_dataset("table", table, label="late")
    differ = pd.DataFrame({"x": [f"city {n}" for n in range(20_000)], "late": ["1", "2"] * 10_000})
    (found,) = (each for each in inspect_table(differ, label="late").columns if each.name == "x")
    assert found.role == "ignore"


def test_features_that_would_not_fit_are_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privfed.data.tables.MAX_FEATURE_BYTES", 100 * 12 * 4)
    table = pd.DataFrame({"x": [f"c{n % 11}" for n in range(100)], "late": LABELS})
    with pytest.raises(ConfigError, match=r"13 features of 100 rows take .* of 'x' first"):
        load_dataset("table", table, label="late")
    assert load_dataset("table", table, label="late", encoding="codes").features.shape == (100, 1)


@pytest.mark.parametrize("days", [2, 100])
def test_a_date_is_no_label(days: int) -> None:
    first = datetime.date(2025, 1, 1)
    table = pd.DataFrame({"x": LABELS, "due": [
        first + datetime.timedelta(days=n % days) for n in range(100)
    ]})  # fmt: skip
    with pytest.raises(ConfigError, match="column 'due' holds dates such as '2025-01-01', which"):
        load_dataset("table", table, label="due")
    assert inspect_table(table, label="due").columns[1].question


TYPES = pd.DataFrame(
    {
        "whole": [1, 2, None, 4] * 5,
        "real": [0.5, 1.25, np.nan, 2.0] * 5,
        "flag": [True, False, None, True] * 5,
        "day": pd.to_datetime(["2025-03-17", "2025-03-18", "", "2025-03-20"] * 5),
        "moment": pd.to_datetime(["2025-03-17 10:30:00.25"] * 20, utc=True),
        "kind": pd.Categorical(["a", "b", None, "a"] * 5),
        "late": ["no", "yes"] * 10,
    }
)


def test_parquet_csv_and_a_frame_are_one_table(tmp_path: Path) -> None:
    TYPES.to_parquet(tmp_path / "own.parquet")
    TYPES.to_csv(tmp_path / "own.csv", index=False)
    frame, parquet, text = (
        load_dataset("table", table, label="late")
        for table in (TYPES, tmp_path / "own.parquet", tmp_path / "own.csv")
    )
    assert [each.kind for each in frame.readings] == [
        "number", "number", "yes-no", "date", "date", "categories", "classes",
    ]  # fmt: skip
    assert np.array_equal(frame.features, parquet.features)
    assert frame.encoder == parquet.encoder
    same = [0, 1, 2, 3, 4, 5]  # of a moment a CSV keeps what a date does not
    assert np.array_equal(frame.features[:, same], text.features[:, same])
    assert [each.missing for each in frame.readings] == [5, 5, 5, 5, 0, 5, 0]
    assert parquet.source == "own table, own.parquet"
    assert frame.source == "own table, a data frame"
    assert len(frame.sha256) == 64


def test_parquet_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.parquet"
    path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(ConfigError, match=r"own\.parquet is no Parquet file"):
        load_dataset("table", path, label="late")
    TYPES.to_parquet(path)
    monkeypatch.setattr("privfed.data.files.MAX_CELLS", 100)
    with pytest.raises(ConfigError, match="unpacks to 140 cells; at most 100 are read"):
        load_dataset("table", path, label="late")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'privfed\[psi-tables\]'"):
        load_dataset("table", path, label="late")


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame({"x": []}), "the data frame has no rows"),
        (pd.DataFrame(), "the data frame is empty"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "the data frame has the column 'a' twice"),
    ],
)
def test_frames_that_cannot_be_used(frame: pd.DataFrame, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_dataset("table", frame, label="x")


def test_what_is_told_of_columns_holds_no_cell_of_a_row() -> None:
    odd = "ask Mr Smith"
    frame = pd.DataFrame(
        {
            "price": [f"{n},{n % 90 + 10}" for n in range(99)] + [odd],
            "mail": [f"c{n}@shop.example" for n in range(100)],
            "late": LABELS,
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        data = load_dataset("table", frame, label="late")
    told = understood(data.readings, "onehot")
    assert (told[0].name, told[0].missing, told[0].odd) == ("price", 0, 1)
    assert told[0].done == "1 odd cell taken as missing; decimal comma"
    assert told[2].coding == "no 0, yes 1"
    shown = repr(rows_of(told)) + repr(data.readings)
    assert "Smith" not in shown
    assert "shop.example" not in shown


@pytest.mark.parametrize("name", ["dresses", "digits"])
def test_known_data_are_told_of_too(name: str) -> None:
    data = load_dataset(name)
    told = understood(data.readings, data.encoder.encoding)
    assert [each.name for each in told] == [column.name for column in data.encoder.columns]
    assert all(each.values + each.missing + each.odd == len(data) for each in told)
    if name == "dresses":
        rating = told[2]
        assert rating.coding == "0 to 5 as it is; missing 0"
        assert told[1].coding == "0 missing, 1 to 6 in order of size"
