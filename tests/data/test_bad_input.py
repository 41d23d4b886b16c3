"""What cannot be used is told in one line that says what to do."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privfed.data import load_dataset, read_sales
from privfed.data.files import read_text_table
from privfed.errors import ConfigError

WriteCSV = Callable[..., Path]


def refused(path: object, **options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_dataset(options.pop("dataset", "dresses"), str(path), **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


def zipped(**files: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writer:
        for name, content in files.items():
            writer.writestr(name, content)
    return archive.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\xef\xbb\xbf\n", "no rows"),
        (b"\x00\x01\x02\xff" * 100, "not a CSV in UTF-8"),
        (b"a,b\n1,\x00\n", "not a CSV in UTF-8"),
        ("a,b\nM\u00fctze,1\n".encode("latin-1"), "save as “CSV UTF-8”"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not a CSV in UTF-8"),
        (b"\xd0\xcf\x11\xe0rest", "save it as .xlsx"),
        (b"PK\x03\x04 cut off", "not a readable XLSX"),
        (zipped(hello=b"world"), "not a readable XLSX"),
        (b"Style,Price\n", "no rows under its header"),
        (b"Style;Price\nSexy;Low\n", "separated by commas"),
        (b"Style\tPrice\nSexy\tLow\n", "separated by commas"),
        (b"Style,Price\nSexy\n", "line 2, has 1 cells"),
        (b"Style,Price\nSexy,Low,High\n", "line 2, has 3 cells"),
        (b'Style,Price\n"Sexy,Low\n', "quotation marks"),
        (b"Style,Style\nSexy,Sexy\n", "twice"),
        (b"Style,\nSexy,Low\n", "header is empty"),
        (
            b"age,income\n1,2\n3,4\n",
            "the label: `label`, one of 'age', 'income'",
        ),
        (b"<html><body>404</body></html>\n<p>\n", "is not the dress data"),
    ],
)
def test_content_that_is_no_dress_table(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    assert says in refused(path)


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "absent.csv")
    assert "is a directory" in refused(tmp_path)
    assert "cannot be read" in refused("a\0b")
    assert "cannot be read" in refused("x" * 5000)
    assert "pipe or device" in refused("/dev/null")


def test_a_file_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.csv"
    path.write_text("a,b\n1,2\n")
    monkeypatch.setattr("privfed.data.files.MAX_FILE_BYTES", 4)
    assert "at most 4 bytes are read" in refused(path)


def test_a_zip_that_unpacks_to_too_much_is_not_unpacked(
    raw_dresses: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.xlsx"
    raw_dresses.head(3).to_excel(path, index=False)
    monkeypatch.setattr("privfed.data.files.MAX_UNZIPPED_BYTES", 100)
    assert "at most 100 are read" in refused(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop(columns="Season"), "no column Season"),
        (lambda t: t.drop(columns="Recommendation"), "no label column Recommendation"),
        (lambda t: t.assign(Colour="red"), "unknown column Colour"),
        (lambda t: t.assign(season="Summer"), "column Season twice"),
        (lambda t: t.assign(Recommendation="0"), "all 500 rows have the label '0'"),
        (lambda t: t.assign(Recommendation=["0", "2"] * 250), "'2' in data row 2"),
        (lambda t: t.assign(Recommendation=["0", "1"] * 249 + ["1", ""]), "'' in data row 500"),
        (lambda t: t.assign(Dress_ID=["17", ""] * 250), "no ID in data row 2"),
    ],
)
def test_a_dress_table_that_cannot_be_learnt_from(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    says: str,
    raw_dresses: pd.DataFrame,
    write_csv: WriteCSV,
) -> None:
    assert says in refused(write_csv(change(raw_dresses)))


def test_wrong_names_and_options(raw_dresses: pd.DataFrame, write_csv: WriteCSV) -> None:
    path = write_csv(raw_dresses)
    assert "unknown data set 'shoes'" in refused(path, dataset="shoes")
    assert "unknown encoding 'binary'" in refused(path, encoding="binary")
    assert "leave `data` out" in refused(path, dataset="digits")
    assert "leave `data` out" in refused("openml", dataset="breast-cancer")
    assert "`label`, `id_column`, `schema` and data frames belong" in refused(path, label="Season")
    assert "needs its path as `data`" in refused("surrogate", dataset="table", label="x")


def test_headers_from_a_hostile_file_stay_on_one_short_line(
    raw_dresses: pd.DataFrame, write_csv: WriteCSV
) -> None:
    hostile = raw_dresses.assign(**{"a\nb\x1b[31m": "1", "y" * 9000: "2"})
    message = refused(write_csv(hostile))
    assert "\x1b" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Style,29/8/2013\nSexy,3\n", "does not begin with Dress_ID"),
        ("Dress_ID,Monday\n17,3\n", "'Monday', which is no date"),
        ("Dress_ID,31/8/2013,30/8/2013\n17,3,4\n", "no date after the one before"),
        ("Dress_ID,31/31/2013\n17,3\n", "is no date"),
        ("Dress_ID\n17\n", "no column of sales"),
        ("Dress_ID,29/8/2013\n,3\n", "no ID in data row 1"),
    ],
)
def test_a_sales_table_that_is_none(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        read_sales(path)


@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_table_or_a_named_error(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        frame, refusal = pd.DataFrame({"a": ["1"]}), ""
        try:
            frame = read_text_table(path).frame
        except ConfigError as error:
            refusal = str(error)
    assert "\n" not in refusal
    assert len(frame) > 0
    assert "" not in list(frame.columns)
