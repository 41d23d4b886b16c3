"""Columns of texts without an object each: they read like the lists that they stand for."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import psi
import psi.tables.csvfiles
import psi.tables.files
from psi import ConfigError
from psi.kernels.texts import TextKeys, Texts, text_key
from psi.tables.columns import key_columns, whole_numbers
from psi.tables.csvfiles import FileTexts
from psi.tables.files import load_table, taken, write_table
from psi.tables.keys import Duplicates, index_keys
from psi.tables.normalise import normalisers

texts = st.lists(st.text(max_size=6), max_size=12)


def check_is(column: Texts, values: list[str]) -> None:
    assert list(column) == values
    assert len(column) == len(values)
    assert [column[index] for index in range(len(values))] == values
    assert [column[index - len(values)] for index in range(len(values))] == values
    assert column[1:] == values[1:]
    filled = [row for row, value in enumerate(values) if value]
    assert column.filled_rows(lambda chunk: None).tolist() == filled
    for outside in (len(values), -len(values) - 1):
        with pytest.raises(IndexError):
            column[outside]
    keys = TextKeys(column, column.filled_rows(lambda chunk: None))
    assert list(keys) == [text_key(values[row].encode()) for row in filled] == keys[:]
    assert [keys[index] for index in range(len(keys))] == list(keys)


@given(texts, st.integers(0, 12))
@settings(deadline=None)
def test_texts_read_like_lists(values: list[str], cut: int) -> None:
    check_is(Texts.of_list(values), values)
    two = [*Texts.of_list(values[:cut]).chunks, *Texts.of_list(values[cut:]).chunks]
    check_is(Texts(two), values)
    for kind in (pa.string(), pa.large_string()):
        array = pa.array(["in front", *values], kind)[1:]
        pieces = pa.chunked_array([array[:cut], array[cut:]], kind)
        for column in (array, pieces):
            of_arrow = Texts.of_arrow(column)
            assert of_arrow is not None
            check_is(of_arrow, values)


def test_what_is_no_plain_text_is_left_to_arrow() -> None:
    for column in (pa.array(["a", None]), pa.array([1, 2]), pa.array([b"a"]), pa.nulls(2)):
        assert Texts.of_arrow(column) is None
    assert repr(Texts.of_list(["secret"])) == "Texts(1)"
    assert repr(TextKeys(Texts.of_list(["secret"]), np.arange(1))) == "TextKeys(1)"
    with pytest.raises(UnicodeEncodeError):
        Texts.of_list(["\ud800"])


@pytest.mark.filterwarnings("ignore::psi.MissingValueWarning")  # any text is drawn, "nan" as well
@given(texts, st.sampled_from([None, "space", "case"]), st.sampled_from(["first", "all"]))
@settings(deadline=None)
def test_a_column_of_texts_is_indexed_as_a_list_is(
    values: list[str], steps: str | None, duplicates: Duplicates
) -> None:
    functions = normalisers(steps, [""])
    one, other = (
        index_keys([column], duplicates=duplicates, normalise=functions)
        for column in (values, Texts.of_list(values))
    )
    assert list(one.keys) == list(other.keys)
    assert np.array_equal(one.rows, other.rows)
    assert np.array_equal(one.starts, other.starts)


def check_every_way_reads_the_same(path: Path, patch: pytest.MonkeyPatch) -> None:
    """By the standard library, by numpy, by pyarrow into memory, by pyarrow block after block."""
    found: list[dict[str, list[str]] | str] = []
    by_numpy, nothing = psi.tables.csvfiles.read_plain, lambda *arguments: None
    ways = [(nothing, 1 << 40, 0), (by_numpy, 1 << 40, 0), (by_numpy, 0, 1 << 40), (by_numpy, 0, 0)]
    for plain, arrow_from, streamed_from in ways:
        patch.setattr(psi.tables.files, "read_plain", plain)
        patch.setattr(psi.tables.files, "_ARROW_FROM_BYTES", arrow_from)
        patch.setattr(psi.tables.csvfiles, "_STREAMED_FROM_BYTES", streamed_from)
        patch.setattr(
            psi.tables.csvfiles, "_BLOCK_BYTES", 64 if path.stat().st_size < 50 else 1 << 23
        )
        try:
            table = load_table(path)
            columns = {name: list(column) for name, column in table.items()}
            assert all(len(column) == len(table[name]) for name, column in columns.items())
            found.append(columns)
        except ConfigError as error:
            found.append(str(error))
    assert found[0] == found[1] == found[2] == found[3]


fields = st.text(st.characters(codec="utf-8", exclude_characters='"'), max_size=5)


@given(st.lists(st.lists(fields, min_size=2, max_size=2), max_size=8), st.sampled_from(",;\t"))
@settings(deadline=None, max_examples=200)
def test_large_files_read_as_small_ones(rows: list[list[str]], separator: str) -> None:
    # Fields may hold separators and line ends: then both ways refuse, with the same words.
    content = "\n".join(separator.join(row) for row in [["ID", "x"], *rows])
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "t.csv"
        path.write_text(content, encoding="utf-8", newline="")
        check_every_way_reads_the_same(path, patch)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfID,x\r\n1,a\r\n\r\n2,\r\n",
        b"ID\n\n \n1\r2\n",
        b"ID,x\nNULL,NaN\nnan,\n",
        b'ID,x\n1,"a,\nb"\n',
        b"ID,x\n1\n",
        b"ID,x\n1,2,3\n",
        b"ID,x\n\xff,1\n",
        b"ID,ID\n1,2\n",
        b"\nID\n1\n",
        b"\n\r\nID;x\n1;2,\n",
        b"ID\n1\n\0\n",
        b"",
    ],
)
def test_dirt_reads_the_same_in_large_files(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    check_every_way_reads_the_same(path, monkeypatch)


@pytest.mark.parametrize("streamed_from", [0, 1 << 40])
def test_a_large_file_from_end_to_end(
    streamed_from: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psi.tables.files, "_ARROW_FROM_BYTES", 0)
    monkeypatch.setattr(psi.tables.csvfiles, "_STREAMED_FROM_BYTES", streamed_from)
    left, right = tmp_path / "left.csv", tmp_path / "right.csv"
    left.write_text("ID,x\nb,1\na,2\nä,3\n")
    right.write_text("ID;y\nc;4\nä;5\na;6\n")
    tables = load_table(left), load_table(right)
    kind = Texts if streamed_from else FileTexts
    assert all(type(column) is kind for column in tables[0].values())
    found = psi.align(*tables, on="ID", protocol="vole")
    assert (found.left_rows.tolist(), found.right_rows.tolist()) == ([1, 2], [2, 1])
    assert taken(tables[0], np.array([2, -1, 0, 2])) == {
        "ID": ["ä", "", "b", "ä"],
        "x": ["3", "", "1", "3"],
    }
    assert whole_numbers(tables[0], "x", np.array([2, 0])) == [3, 1]
    write_table(tmp_path / "copy.csv", tables[0])
    assert (tmp_path / "copy.csv").read_text() == left.read_text()
    write_table(tmp_path / "rows.csv", {"row": found.left_rows, "other": found.right_rows})
    assert (tmp_path / "rows.csv").read_text() == "row,other\n1,2\n2,1\n"
    for ids in (["a", None], ["a", ""]):
        (column,) = key_columns(pa.table({"ID": ids}), "ID", "it")
        assert isinstance(column, Texts)
        assert list(column) == ["a", ""]


def test_a_file_that_changes_between_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psi.tables.files, "_ARROW_FROM_BYTES", 0)
    monkeypatch.setattr(psi.tables.csvfiles, "_STREAMED_FROM_BYTES", 0)
    path = tmp_path / "t.csv"
    path.write_text("ID\na\nb\n")
    column = load_table(path)["ID"]
    assert list(column) == list(column) == ["a", "b"]
    path.write_text("ID\na\nb\nc\n")
    with pytest.raises(ConfigError, match="changed"):
        list(column)
    path.unlink()
    with pytest.raises(ConfigError, match="moved"):
        list(column)
