"""`psi.align` against Python's own sets and joins, over every kind of input."""

import datetime
import decimal
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import psi


def pairs(found: psi.Alignment) -> list[tuple[int, int]]:
    return list(zip(found.left_rows.tolist(), found.right_rows.tolist(), strict=True))


def all_pairs(left: Sequence[Any], right: Sequence[Any]) -> list[tuple[int, int]]:
    missing = (None, "")
    return [
        (i, j)
        for i, one in enumerate(left)
        for j, other in enumerate(right)
        if one == other and one not in missing
    ]


ids = st.one_of(
    st.lists(st.integers(-5, 5) | st.none(), max_size=12),
    st.lists(st.text("aéß", max_size=2), max_size=12),
    st.lists(st.binary(max_size=1), max_size=12),
)


@given(ids, ids)
@settings(max_examples=80, deadline=None)
def test_all_gives_every_pair(left: list[Any], right: list[Any]) -> None:
    found = psi.align(left, right, duplicates="all")
    assert pairs(found) == all_pairs(left, right)


@given(ids, ids)
@settings(max_examples=40, deadline=None)
def test_first_keeps_the_first_row_of_each(left: list[Any], right: list[Any]) -> None:
    found = psi.align(left, right, duplicates="first")
    expected = [
        (i, j)
        for i, j in all_pairs(left, right)
        if left.index(left[i]) == i and right.index(right[j]) == j
    ]
    assert pairs(found) == expected


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([], []),
        ([], [1]),
        ([1], [1]),
        (range(100), range(100)),
        (range(100), range(100, 200)),
        (range(100), range(20, 30)),
        ([7] * 30, [7] * 20),
        ([None] * 5, [None] * 5),
    ],
)
def test_adversarial_sizes(left: Sequence[Any], right: Sequence[Any]) -> None:
    assert pairs(psi.align(left, right, duplicates="all")) == all_pairs(left, right)


def test_a_repeated_id_is_an_error_by_default() -> None:
    with pytest.raises(psi.DuplicateIDError, match=r"right: 1 rows repeat.*rows 0 and 2"):
        psi.align(["secret-1"], ["secret-2", "x", "secret-2"])


def test_errors_name_rows_and_not_ids() -> None:
    with pytest.raises(psi.DuplicateIDError) as error:
        psi.align(["secret", "secret"], [])
    assert "secret" not in str(error.value)


DATE = datetime.date(2024, 5, 17)
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    "left",
    [
        [3, 5],
        (3, 5),
        np.array([3, 5]),
        np.array([3.0, 5.0]),
        np.array(["3", "5"]),
        np.array([3, "5"], dtype=object),
        [np.int8(3), np.float32(5)],
        [decimal.Decimal("3.0"), "5"],
        pd.Series([3, 5], index=[9, 9]),
        pd.Series([3, 5], dtype="Int64"),
        pd.Series(["3", "5"]),
        pd.Series(["3", "5"]).astype("category"),
        pd.Index([3, 5]),
        pa.array([3, 5]),
        pa.chunked_array([["3"], ["5"]]),
        pa.array(["3", "5"]).dictionary_encode(),
        range(3, 6, 2),
    ],
)
def test_one_column_of_any_container(left: Any) -> None:
    assert pairs(psi.align(left, ["5", "4"])) == [(1, 0)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (UUID, str(UUID)),
        (DATE, "2024-05-17"),
        (pd.Timestamp("2024-05-17"), "2024-05-17"),
        (datetime.datetime(2024, 5, 17, 12), "2024-05-17T12:00:00"),
        (-7.0, "-7"),
        (-0.0, "0"),
        (2**80, str(2**80)),
    ],
)
def test_values_are_compared_as_text(value: object, text: str) -> None:
    assert pairs(psi.align([value], [text])) == [(0, 0)]


def test_dates_in_arrays() -> None:
    for unit in ("D", "s", "ns"):
        dates = np.array(["2024-05-17", "NaT"], dtype=f"datetime64[{unit}]")
        assert pairs(psi.align(dates, ["2024-05-17"])) == [(0, 0)]


def test_bytes_never_equal_text() -> None:
    assert pairs(psi.align([b"a"], ["a"])) == []
    assert pairs(psi.align([b"a"], [b"a"])) == [(0, 0)]


@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT, "", decimal.Decimal("nan")]
)
def test_missing_ids_never_match(missing: object) -> None:
    assert pairs(psi.align([missing, "a"], [missing, "a"])) == [(1, 1)]


@pytest.mark.parametrize("value", [1.5, True, float("inf"), 2.0**60, [1], {}, 1j, "\ud800"])
def test_values_that_are_no_ids(value: object) -> None:
    with pytest.raises(psi.ConfigError, match="row 1"):
        psi.align([1, value], [1])


def test_composite_keys_do_not_run_together() -> None:
    left = {"first": ["ab", "a", None], "second": ["c", "bc", "d"]}
    right = {"second": ["bc", "x", "d"], "first": ["a", "a", None]}
    assert pairs(psi.align(left, right, on=["first", "second"])) == [(1, 0)]


def test_data_frames() -> None:
    left = pd.DataFrame({"ID": [1, 2, 3], "x": 0.5}, index=[7, 7, 7])
    right = pd.DataFrame({"y": "?", "ID": ["3", "1", None]})
    assert pairs(psi.align(left, right, on="ID")) == [(0, 1), (2, 0)]


class Stream:
    """Holds a table and shows nothing of it but the Arrow stream."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def test_arrow_tables_and_files(tmp_path: Path) -> None:
    table = pa.table({"ID": [3, None, 1], "day": [DATE, DATE, DATE]})
    pq.write_table(table, tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("day,ID\n2024-05-17,1\n2024-05-17,\n2024-05-18,3\n")
    batch = table.to_batches()[0]
    for left in (table, batch, Stream(table), table.to_pandas(), tmp_path / "t.parquet"):
        for right in (tmp_path / "t.csv", str(tmp_path / "t.csv")):
            assert pairs(psi.align(left, right, on=["ID", "day"])) == [(2, 0)]


def test_normalise_by_name() -> None:
    left = {"mail": ["A@X.org ", "b@x.org"], "name": ["Anna", "Bo"]}
    right = {"mail": ["a@x.org", "b@x.org"], "name": ["Anna", "bo"]}
    found = psi.align(left, right, on=["mail", "name"], normalise={"mail": "email"})
    assert pairs(found) == [(0, 0)]
    found = psi.align(left, right, on=["mail", "name"], normalise="case,space")
    assert pairs(found) == [(0, 0), (1, 1)]


def test_normalise() -> None:
    found = psi.align([" A ", "b"], ["a", "B"], normalise=lambda text: text.strip().lower())
    assert pairs(found) == [(0, 0), (1, 1)]
    assert pairs(psi.align(["  "], ["  "], normalise=str.strip)) == []


@pytest.mark.parametrize(
    ("left", "on", "words"),
    [
        (np.zeros((2, 2)), None, "one dimension"),
        ({"a", "b"}, None, "left is a set"),
        (7, None, "left is a int"),
        ([1], "ID", "leave out `on`"),
        ({"ID": [1]}, None, "say which columns"),
        ({"ID": [1]}, "id", "no column 'id'"),
        ({"ID": [1]}, [], "at least one"),
        ({"ID": [1], "b": [1, 2]}, ["ID", "b"], "differ in length"),
        (pd.DataFrame([[1, 2]], columns=["ID", "ID"]), "ID", "more than one column"),
    ],
)
def test_inputs_that_are_no_tables(left: Any, on: Any, words: str) -> None:
    with pytest.raises(psi.ConfigError, match=words):
        psi.align(left, left, on=on)


def test_an_unknown_policy() -> None:
    with pytest.raises(psi.ConfigError, match="duplicates"):
        psi.align([1], [1], duplicates="some")  # type: ignore[arg-type]


def test_the_result_says_what_it_took() -> None:
    found = psi.align(range(50), range(25, 75))
    assert found.protocol == "ecdh"
    assert found.left_rows.dtype == found.right_rows.dtype == np.intp
    # Per item: a point each way, a tag each way; the rest is fixed framing.
    assert 100 * (32 + 7) < found.bytes_exchanged < 100 * (32 + 7) + 1000
