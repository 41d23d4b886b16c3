"""From a CSV, XLSX or Parquet file, or a data frame, to a table of text; sizes are bounded."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import openpyxl
import pandas as pd

from privfed.errors import ConfigError
from psi.tables import TableReader, read_parquet

MAX_FILE_BYTES = 256 * 2**20
MAX_UNZIPPED_BYTES = 1024 * 2**20  # an .xlsx file is a zip: its unpacked size is bounded, too
MAX_CELLS = 2**27  # of a Parquet file, whose cells may cost it nothing
_ZIP, _OLD_EXCEL, _PARQUET = b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1"

_READER = TableReader(commas_only=True, tidy=True, refusal=ConfigError)


@dataclass(frozen=True)
class TextTable:
    """A table as written: every cell a string, stripped, "" where empty.

    Attributes:
        frame: (n, columns) strings under the file's own headers, rows in the file's order.
        lines: Where each row begins: its line in a CSV, its row in a sheet, whose first is the
            header's; else its number. The first is 1. Of several files a text names the file, too.
        sha256: Hash of the bytes read, in hexadecimal; of a data frame that of its CSV form.
    """

    frame: pd.DataFrame
    lines: tuple[int | str, ...]
    sha256: str


def read_text_table(path: str | os.PathLike[str]) -> TextTable:
    """Read a CSV (UTF-8, commas, BOM tolerated), the first sheet of an XLSX, or a Parquet file.

    The content decides which it is, not the file's name. Empty lines are skipped and columns
    without a header and without any value are left out; nothing else is dropped.

    Args:
        path: The file.

    Returns:
        The table, all cells text.

    Raises:
        ConfigError: The file is missing, unreadable, a directory, empty, too large, of another
            type, or not a rectangular table with a header and at least one row; or it is Parquet
            and pyarrow is missing.
    """
    source = Path(path)
    with _READER.opened(source) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{source} is too large: at most {MAX_FILE_BYTES} bytes are read")
    if content.startswith(_OLD_EXCEL):
        raise ConfigError(f"{source} is an old Excel file (.xls): save it as .xlsx or as CSV")
    digest = hashlib.sha256(content).hexdigest()
    if content.startswith(_ZIP):
        table = _READER.table(enumerate(_sheet(content, source), start=1), source)
    elif content.startswith(_PARQUET):
        table = _READER.table(enumerate(_arrow(content, source)), source)
    else:
        table = _READER.csv(io.BytesIO(content), source)
    return _text_table(table.header, table.rows, source, digest)


def text_table(frame: pd.DataFrame) -> TextTable:
    """Return a data frame's cells as text, as they are read from a file; its index is left out.

    Raises:
        ConfigError: It names a column twice, or has no columns or no rows.
    """
    names = [_cell(name) for name in frame.columns]
    columns = [map(_cell, frame.iloc[:, place]) for place in range(len(names))]
    where = "the data frame"
    table = _READER.table(enumerate([names, *map(list, zip(*columns, strict=True))]), where)
    found = _text_table(table.header, table.rows, where, "")
    return replace(found, sha256=frame_sha256(found.frame))


def _text_table(
    header: list[str], rows: Iterable[tuple[int, list[str]]], source: object, sha256: str
) -> TextTable:
    numbered = list(rows)
    if not numbered:
        raise ConfigError(f"{source} has no rows under its header: give a table with data")
    lines, cells = zip(*numbered, strict=True)
    return TextTable(pd.DataFrame(cells, columns=header, dtype=str), lines, sha256)


def frame_sha256(frame: pd.DataFrame) -> str:
    """Hash a table in its canonical CSV form (UTF-8, commas, one line feed per row)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    writer.writerows(frame.itertuples(index=False, name=None))
    return hashlib.sha256(text.getvalue().encode()).hexdigest()


def _sheet(content: bytes, source: Path) -> list[list[str]]:
    """Return the rows of the first sheet of an XLSX file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unzipped = sum(entry.file_size for entry in archive.infolist())
        if unzipped > MAX_UNZIPPED_BYTES:
            raise ConfigError(
                f"{source} unpacks to {unzipped} bytes; at most {MAX_UNZIPPED_BYTES} are read"
            )
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        grid = [[_cell(value) for value in row] for row in book.worksheets[0].values]
    except ConfigError:
        raise
    except Exception:  # zipfile, the XML parser and openpyxl raise anything on a damaged file
        raise ConfigError(
            f"{source} is a zip but not a readable XLSX file: save it again as .xlsx or as CSV"
        ) from None
    width = max((len(row) for row in grid), default=0)  # a sheet's rows end at their last value
    return [row + [""] * (width - len(row)) for row in grid]


def _arrow(content: bytes, source: Path) -> Iterator[list[str]]:
    """Yield the header and the rows of a Parquet file."""
    table = read_parquet(io.BytesIO(content), source, most_cells=MAX_CELLS, refusal=ConfigError)
    yield list(table.column_names)
    columns = [map(_cell, column.to_pylist()) for column in table.columns]
    yield from map(list, zip(*columns, strict=True))


def _cell(value: object) -> str:
    """Write a value as text; a whole number loses its `.0`, a moment what is below a second."""
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, datetime):
        there = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
        return there.isoformat(" ", "seconds")
    return str(value)
