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
import psi.protocols.vole.layout
from psi.kernels.texts import Texts
from psi.tables.missing import MISSING_WORDS, MissingWords


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
CET = datetime.timezone(datetime.timedelta(hours=1))
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
        (pd.Timestamp("2024-05-17T12:00:00.000000007"), "2024-05-17T12:00:00.000000007"),
        (pd.Timestamp("2024-05-17T00:00:00.000000007"), "2024-05-17T00:00:00.000000007"),
        (np.datetime64("2024-05-17T12:00:00.120000000"), "2024-05-17T12:00:00.120000"),
        (np.datetime64("2024-05-17T12"), "2024-05-17T12:00:00"),
        (np.datetime64("2024-05"), "2024-05-01"),
        (np.datetime64("12024-05-17T12:00:00"), "12024-05-17T12:00:00"),
        (np.datetime64("1970-01-01T00:00:01.0000000000001"), "1970-01-01T00:00:01.000000000000100"),
        (datetime.datetime(2024, 5, 17, tzinfo=datetime.UTC), "2024-05-17T00:00:00+00:00"),
        (datetime.datetime(2024, 5, 17, 1, tzinfo=CET), "2024-05-17T00:00:00+00:00"),
        (decimal.Decimal(10**37 + 1), str(10**37 + 1)),
        (2.0**53 - 1, str(2**53 - 1)),
        (np.float32(2**24 - 1), str(2**24 - 1)),
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


INSTANTS: list[Any] = ["2024-05-17T12:00:00", "2024-05-17T12:00:00.000000001", None]


def in_every_container(texts: Sequence[str | None], unit: str) -> list[Any]:
    """The instants as columns of every kind that holds such a unit."""
    array = np.array(["NaT" if text is None else text for text in texts], f"datetime64[{unit}]")
    arrow = pa.array(array)
    series = pd.Series(array)
    return [
        array,
        list(array),
        np.array([*array], dtype=object),
        series,
        series.astype("category"),
        pd.Index(series),
        series.astype(object),
        series.astype(f"timestamp[{unit}][pyarrow]"),  # type: ignore[call-overload]  # any unit
        arrow,
        pa.chunked_array([arrow[:1], arrow[1:]]),
        arrow.dictionary_encode(),
        pa.chunked_array([arrow.dictionary_encode()]),
    ]


@pytest.mark.parametrize("kind", range(12))
def test_times_keep_their_nanoseconds_in_any_container(kind: int, tmp_path: Path) -> None:
    fine = in_every_container(INSTANTS, "ns")[kind]
    assert pairs(psi.align(fine, INSTANTS)) == [(0, 0), (1, 1)]
    for unit in ("s", "ms", "us"):
        for coarse in in_every_container(INSTANTS[:1], unit):
            assert pairs(psi.align(fine, coarse)) == [(0, 0)]
    if isinstance(fine, pa.Array | pa.ChunkedArray):
        pq.write_table(pa.table({"at": fine}), tmp_path / "t.parquet")
        read = psi.align(tmp_path / "t.parquet", {"at": INSTANTS}, on="at")
        assert pairs(read) == [(0, 0), (1, 1)]


def test_one_instant_in_two_time_zones() -> None:
    berlin = pd.Series(pd.to_datetime(INSTANTS[:2], format="ISO8601")).dt.tz_localize(
        "Europe/Berlin"
    )
    texts = ["2024-05-17T10:00:00+00:00", "2024-05-17T10:00:00.000000001+00:00"]
    elsewhere = berlin.dt.tz_convert("America/New_York")
    for one in (berlin, elsewhere, pa.array(berlin), pa.array(elsewhere), list(berlin)):
        assert pairs(psi.align(one, texts)) == [(0, 0), (1, 1)]
    assert pairs(psi.align(berlin, pd.to_datetime(INSTANTS, format="ISO8601"))) == []  # of no zone


@pytest.mark.parametrize("kind", ["float16", "float32"])
def test_a_float_names_only_the_integers_that_its_bits_tell_apart(kind: str) -> None:
    most = {"float16": 2**11, "float32": 2**24}[kind]
    for column in (
        *(np.array([most], kind), pd.Series([most], dtype=kind), pa.array(np.array([most], kind))),
        *([pd.Series([most, None], dtype="Float32")] if kind == "float32" else []),
    ):
        with pytest.raises(psi.ConfigError, match="no whole number"):
            psi.align(column, [1])
    assert pairs(psi.align(np.array([most - 1], kind), [most - 1])) == [(0, 0)]


def test_durations_are_no_ids() -> None:
    for unit in ("s", "ns"):
        with pytest.raises(psi.ConfigError, match="no whole number"):
            psi.align(np.array([5], f"timedelta64[{unit}]"), [5])


@pytest.mark.parametrize("fast", [True, False])
def test_words_for_missing_values_are_ids_and_are_warned_of(fast: bool) -> None:
    left = ["NULL", "nan", "NULL", "1", "Nancy", "", "naught", "NA-7"]
    with pytest.warns(psi.MissingValueWarning) as warned:
        found = psi.align(left if fast else [*left, 7], ["nan", "N/A "], duplicates="first")
    assert pairs(found) == [(1, 0)]
    assert [str(one.message).partition(" and ")[0] for one in warned] == [
        "left: 3 IDs read like a missing value ('NULL' 2, 'nan' 1)",
        "right: 1 IDs read like a missing value ('nan' 1)",
    ]


def test_words_for_missing_values_in_composite_and_normalised_ids() -> None:
    table = {"a": ["x", "None", "y"], "b": ["n/a", "<NA>", "z"]}
    with pytest.warns(psi.MissingValueWarning, match=r"left: 2 IDs .*'n/a' 1") as warned:
        psi.align(table, {"a": ["y"], "b": ["z"]}, on=["a", "b"])
    assert len(warned) == 1
    with pytest.warns(psi.MissingValueWarning, match=r"2 IDs .*\('n/a' 2\)"):
        psi.align([" N/A ", "n/a"], ["x"], normalise="case,space", duplicates="all")


def test_every_word_is_found_in_any_place(tmp_path: Path) -> None:
    words = sorted(MISSING_WORDS)
    texts = Texts.of_list([part for word in words for part in (word, f"{word}x", "", word[:1])])
    seen = MissingWords()
    texts.filled_rows(seen.see_chunk)
    with pytest.warns(psi.MissingValueWarning) as warned:
        seen.warn("it")
    assert str(warned[0].message).startswith(f"it: {len(words)} IDs read")
    assert all(f"{word!r} 1" in str(warned[0].message) for word in words)


def test_a_table_without_such_words_is_not_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    psi.align(["Nancy", "none at all", "-", "NA1"], ["x", "1"])
    psi.align([1, None, float("nan")], ["", "1"])
    assert not recwarn.list


def test_bytes_never_equal_text() -> None:
    assert pairs(psi.align([b"a"], ["a"])) == []
    assert pairs(psi.align([b"a"], [b"a"])) == [(0, 0)]


@pytest.mark.parametrize(
    "missing", [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT, "", decimal.Decimal("nan")]
)
def test_missing_ids_never_match(missing: object) -> None:
    assert pairs(psi.align([missing, "a"], [missing, "a"])) == [(1, 1)]


@pytest.mark.parametrize(
    "value",
    [
        *(1.5, True, float("inf"), 2.0**60, [1], {}, 1j, "\ud800"),
        *(2.0**53, np.float32(2**24), np.float16(2**11)),  # the next integer is the same float
        *(decimal.Decimal("1.5"), decimal.Decimal("1e999999999"), decimal.Decimal("inf")),
        *(np.timedelta64(5, "ns"), datetime.datetime.min.replace(tzinfo=CET)),
    ],
)
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


def test_tables_in_one_hand_have_no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where a side would be counted for more than either table has: by its dummies."""
    monkeypatch.setattr(psi.protocols.vole.layout, "_BUCKET_ITEMS", 50)
    left, right = list(range(400)), list(range(350, 3000))
    tags = psi.protocols.vole.layout.SessionSizes.of(len(left), len(right)).tags
    assert tags > len(right)
    found = psi.align(left, right, protocol="vole")
    assert found.left_rows.tolist() == list(range(350, 400))
    assert found.right_rows.tolist() == list(range(50))
