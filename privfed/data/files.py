"""From the bytes of a CSV or XLSX file to a table of text; sizes are checked before parsing."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import openpyxl
import pandas as pd

from privfed.errors import ConfigError
from psi.tables import TableReader

MAX_FILE_BYTES = 256 * 2**20
MAX_UNZIPPED_BYTES = 1024 * 2**20  # an .xlsx file is a zip: its unpacked size is bounded, too
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"

_READER = TableReader(commas_only=True, tidy=True, refusal=ConfigError)


@dataclass(frozen=True)
class TextTable:
    """A table as written: every cell a string, stripped, "" where empty.

    Attributes:
        frame: (n, columns) strings under the file's own headers, rows in the file's order.
        lines: Where each row begins: its line in a CSV, its row in a sheet; the first is 1.
        sha256: Hash of the bytes read, in hexadecimal.
    """

    frame: pd.DataFrame
    lines: tuple[int, ...]
    sha256: str


def read_text_table(path: str | os.PathLike[str]) -> TextTable:
    """Read a CSV (UTF-8, commas, BOM tolerated) or the first sheet of an XLSX file.

    The content decides which of the two it is, not the file's name. Empty lines are skipped and
    columns without a header and without any value are left out; nothing else is dropped.

    Args:
        path: The file.

    Returns:
        The table, all cells text.

    Raises:
        ConfigError: The file is missing, unreadable, a directory, empty, too large, of another
            type, or not a rectangular table with a header and at least one row.
    """
    source = Path(path)
    with _READER.opened(source) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{source} is too large: at most {MAX_FILE_BYTES} bytes are read")
    if content.startswith(_OLD_EXCEL):
        raise ConfigError(f"{source} is an old Excel file (.xls): save it as .xlsx or as CSV")
    if content.startswith(_ZIP):
        table = _READER.table(enumerate(_sheet(content, source), start=1), source)
    else:
        table = _READER.csv(io.BytesIO(content), source)
    numbered = list(table.rows)
    if not numbered:
        raise ConfigError(f"{source} has no rows under its header: give a table with data")
    lines, rows = zip(*numbered, strict=True)
    frame = pd.DataFrame(rows, columns=table.header, dtype=str)
    return TextTable(frame, lines, hashlib.sha256(content).hexdigest())


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


def _cell(value: object) -> str:
    """Write a spreadsheet's value as text; a whole number loses its `.0`."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
