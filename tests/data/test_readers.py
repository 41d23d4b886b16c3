"""psi and privfed read tables by one reader: what they agree on, and where they differ on purpose.

A right answer is the columns, or the words of the refusal.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import privfed.errors
import psi.errors
import psi.tables.files
from privfed.data.files import read_text_table
from psi.tables.files import load_table

Columns = dict[str, list[str]]
Answer = Columns | str


def by_psi(path: Path) -> Answer:
    """The answer of psi, which pyarrow changes nothing of."""
    answers: list[Answer] = []
    for arrow_from in (0, 1 << 40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(psi.tables.files, "_ARROW_FROM_BYTES", arrow_from)
            try:
                answers.append({name: list(cells) for name, cells in load_table(path).items()})
            except psi.errors.ConfigError as error:
                answers.append(str(error))
    assert answers[0] == answers[1]
    return answers[0]


def by_privfed(path: Path) -> Answer:
    try:
        frame = read_text_table(path).frame
    except privfed.errors.ConfigError as error:
        return str(error)
    return {name: frame[name].tolist() for name in frame.columns}


def check(found: Answer, right: Answer) -> None:
    if isinstance(right, str):
        assert isinstance(found, str)
        assert right in found
        assert "\n" not in found
    else:
        assert found == right


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.csv"


AGREED: dict[str, tuple[bytes, Answer]] = {
    "a table": (b"ID,x\n1,a\n2,\n", {"ID": ["1", "2"], "x": ["a", ""]}),
    "no line end at the end": (b"ID\n1\n2", {"ID": ["1", "2"]}),
    "a byte order mark, CR LF": (b"\xef\xbb\xbfID,x\r\n1,a\r\n", {"ID": ["1"], "x": ["a"]}),
    "CR alone": (b"ID,x\r1,a\r", {"ID": ["1"], "x": ["a"]}),
    "quoted": (b'ID,x\n1,"a,\n""b"""\n', {"ID": ["1"], "x": ['a,\n"b"']}),
    "empty lines": (b"\n\r\nID,x\n\n1,a\n\n\n", {"ID": ["1"], "x": ["a"]}),
    "words for nothing are texts": (b"ID\nNULL\nnan\n", {"ID": ["NULL", "nan"]}),
    "a line separator of Unicode": ("ID\na\u2028b\n".encode(), {"ID": ["a\u2028b"]}),
    "semicolons among commas": (b"ID,a;b\n1,2;3\n", {"ID": ["1"], "a;b": ["2;3"]}),
    "nothing": (b"", "t.csv is empty"),
    "nothing but a mark": (b"\xef\xbb\xbf", "t.csv is empty"),
    "nothing but empty lines": (b"\n\r\n\n", "t.csv is empty"),
    "Latin-1": (b"ID\n\xfc\n", "is not a CSV in UTF-8"),
    "UTF-16": ("ID\n1\n".encode("utf-16"), "is not a CSV in UTF-8"),
    "UTF-16 without a mark": ("ID\n1\n".encode("utf-16-le"), "is not a CSV in UTF-8"),
    "a NUL far behind": (b"ID\n" + b"1\n" * 9999 + b"\0\n", "is not a CSV in UTF-8"),
    "an open quote": (b'ID,x\n\n1,"a\n2,b\n', "line 3, is no well-formed CSV"),
    "a quote in the middle": (b'ID,x\n1,a\n2,"b"c\n', "line 3, is no well-formed CSV"),
    "a short row": (b'ID,x\n1,"a\nb"\n\n2\n', "line 5, has 1 cells but the header has 2"),
    "a long row": (b"ID,x\n1,2,3\n", "line 2, has 3 cells but the header has 2"),
    "a name twice": (b"ID,x,ID\n1,2,3\n", "has the column 'ID' twice"),
    "a long name twice": (
        b",".join([b"y" * 9999] * 2) + b"\n1,2\n",
        f"has the column '{'y' * 41} twice",
    ),
}

# What, the file, what psi answers, what privfed does.
DELIBERATE: dict[str, tuple[bytes, Answer, Answer]] = {
    "an ID is what is written; a category is a word": (
        b" ID ,x\n 1,a \n",
        {" ID ": [" 1"], "x": ["a "]},
        {"ID": ["1"], "x": ["a"]},
    ),
    "semicolons": (b"ID;x\n1;2\n", {"ID": ["1"], "x": ["2"]}, "not separated by commas"),
    "tabs": (b"ID\tx\n1\t2\n", {"ID": ["1"], "x": ["2"]}, "not separated by commas"),
    "tabs at the edge, below an empty line": (
        b"\nID\t\n1\t2\n",
        {"ID": ["1"], "": ["2"]},
        "not separated by commas",
    ),
    "mostly semicolons": (
        b"ID;x;y,z\n1;2;3,4\n",
        {"ID": ["1"], "x": ["2"], "y,z": ["3,4"]},
        {"ID;x;y": ["1;2;3"], "z": ["4"]},
    ),
    "nothing to intersect is a set; nothing to learn from is none": (
        b"ID\n",
        {"ID": []},
        "has no rows under its header",
    ),
    "row numbers count every row; a row without a value teaches nothing": (
        b"ID,x\n1,a\n,\n , \n2,b\n",
        {"ID": ["1", "", " ", "2"], "x": ["a", "", " ", "b"]},
        {"ID": ["1", "2"], "x": ["a", "b"]},
    ),
    "white space in a row": (
        b"ID,x\n1,a\n \n",
        "line 3, has 1 cells but the header has 2",
        {"ID": ["1"], "x": ["a"]},
    ),
    "empty cells beyond the header": (
        b"ID,x\n1,a,, \n",
        "line 2, has 4 cells but the header has 2",
        {"ID": ["1"], "x": ["a"]},
    ),
    "an empty column without a name": (
        b"ID,,x\n1,,a\n",
        {"ID": ["1"], "": [""], "x": ["a"]},
        {"ID": ["1"], "x": ["a"]},
    ),
    "two of them": (b"ID,,\n1,,\n", "has the column '' twice", {"ID": ["1"]}),
    "a value without a name": (
        b"ID,\n1,\n2,b\n",
        {"ID": ["1", "2"], "": ["", "b"]},
        "line 3, has a value in column 2, whose header is empty",
    ),
    "names that white space tells apart": (
        b"ID,ID \n1,2\n",
        {"ID": ["1"], "ID ": ["2"]},
        "has the column 'ID' twice",
    ),
    "a header row without names": (b" ,\nID,x\n", {" ": ["ID"], "": ["x"]}, "no rows under"),
}


@pytest.mark.parametrize(("content", "right"), AGREED.values(), ids=AGREED)
def test_both_read_alike_and_refuse_in_the_same_words(
    content: bytes, right: Answer, path: Path
) -> None:
    path.write_bytes(content)
    check(by_psi(path), right)
    assert by_psi(path) == by_privfed(path)


@pytest.mark.parametrize(("content", "of_psi", "of_privfed"), DELIBERATE.values(), ids=DELIBERATE)
def test_where_they_differ_on_purpose(
    content: bytes, of_psi: Answer, of_privfed: Answer, path: Path
) -> None:
    path.write_bytes(content)
    check(by_psi(path), of_psi)
    check(by_privfed(path), of_privfed)


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path, "does not exist"),
        (lambda path: path.parent, "is a directory"),
        (pipe, "is a pipe or device"),
        (lambda path: Path("/dev/zero"), "is a pipe or device"),
        (lambda path: path / "a\0b", "cannot be read (embedded null byte)"),
        (lambda path: path.parent / ("x" * 5000), "cannot be read (File name too long)"),
        (lambda path: Path("/dev/null/x"), "cannot be read (Not a directory)"),
    ],
)
def test_what_is_no_file(make: Callable[[Path], Path], words: str, path: Path) -> None:
    named = make(path)
    check(by_psi(named), words)
    assert by_psi(named) == by_privfed(named)


def tidied(table: Columns) -> Columns:
    """What privfed makes of a table as it is written, said in another way than the reader's."""
    named = [(name.strip(), [cell.strip() for cell in cells]) for name, cells in table.items()]
    filled = [row for row in zip(*(cells for _, cells in named), strict=True) if any(row)]
    columns = list(zip(*filled, strict=True))
    return {name: list(columns[i]) for i, (name, _) in enumerate(named) if name}


texts = ["", " ", "a", "ID", "x y", " 1", "ä", "\u2003b"]
sheet_rows = st.lists(st.lists(st.sampled_from(texts), min_size=1, max_size=3), min_size=1)
quoted = [*texts, '"q,\n"', '""', "\x1f"]
csv_rows = st.lists(st.lists(st.sampled_from(quoted), min_size=2, max_size=2), min_size=1)


@given(csv_rows, st.sampled_from(["\n", "\r\n", "\n\n", "\r"]))
@settings(deadline=None, max_examples=400)
def test_privfed_reads_what_psi_reads_made_tidy(rows: list[list[str]], line_end: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_text(line_end.join(map(",".join, rows)), encoding="utf-8", newline="")
        as_written, tidy = by_psi(path), by_privfed(path)
    # Where the first row is of white space, the next one is privfed's header.
    if not isinstance(as_written, str) and any(map(str.strip, as_written)):
        assert isinstance(tidy, str) or tidy == tidied(as_written)


@given(sheet_rows)
@settings(deadline=None, max_examples=100)
def test_a_sheet_is_read_as_its_csv_is(rows: list[list[str]]) -> None:
    width = max(map(len, rows))  # a sheet has as many columns as its widest row
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append([cell or None for cell in row])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        book.save(path)
        of_sheet = by_privfed(path)
        path.write_text("".join(",".join(row + [""] * (width - len(row))) + "\n" for row in rows))
        assert of_sheet == by_privfed(path)
