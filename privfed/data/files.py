"""From the bytes of a CSV or XLSX file to a table of text; sizes are checked before parsing."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path

import openpyxl
import pandas as pd

from privfed.data.schema import shown
from privfed.errors import ConfigError
from psi.tables import csv_rows

MAX_FILE_BYTES = 256 * 2**20
MAX_UNZIPPED_BYTES = 1024 * 2**20  # an .xlsx file is a zip: its unpacked size is bounded, too
_ZIP, _OLD_EXCEL = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"

_Grid = list[tuple[int, list[str]]]
"""Rows of cells, each with the line on which it begins."""


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
    content = _read_bytes(source)
    if content.startswith(_OLD_EXCEL):
        raise ConfigError(f"{source} is an old Excel file (.xls): save it as .xlsx or as CSV")
    grid = _xlsx(content, source) if content.startswith(_ZIP) else _csv(content, source)
    return TextTable(*_frame(grid, source), hashlib.sha256(content).hexdigest())


def frame_sha256(frame: pd.DataFrame) -> str:
    """Hash a table in its canonical CSV form (UTF-8, commas, one line feed per row)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    writer.writerows(frame.itertuples(index=False, name=None))
    return hashlib.sha256(text.getvalue().encode()).hexdigest()


def _read_bytes(source: Path) -> bytes:
    try:
        mode = source.stat().st_mode
        content = b""
        if stat.S_ISREG(mode):  # a pipe or a device could go on for ever
            with source.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{source} does not exist: check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        path = repr(str(source))[-200:]
        raise ConfigError(f"{path} cannot be read ({reason}): check path and rights") from None
    if not stat.S_ISREG(mode):
        kind = "directory" if stat.S_ISDIR(mode) else "pipe or device"
        raise ConfigError(f"{source} is a {kind}: give the CSV or XLSX file itself")
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{source} is too large: at most {MAX_FILE_BYTES} bytes are read")
    if not content.strip():
        raise ConfigError(f"{source} is empty: give a CSV or XLSX file with a header and rows")
    return content


def _csv(content: bytes, source: Path) -> _Grid:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ConfigError(
            f"{source} is not a CSV in UTF-8: give a CSV (save as “CSV UTF-8”) or an XLSX file"
        )
    try:
        grid = list(csv_rows(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ConfigError(
            f"{source} is not a well-formed CSV ({error}): check its quotation marks"
        ) from None
    _, header = grid[0]
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise ConfigError(f"{source} is not separated by commas: save it as comma-separated CSV")
    return grid


def _xlsx(content: bytes, source: Path) -> _Grid:
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
    return [(number, row + [""] * (width - len(row))) for number, row in enumerate(grid, start=1)]


def _cell(value: object) -> str:
    """Write a spreadsheet's value as text; a whole number loses its `.0`."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _frame(grid: _Grid, source: Path) -> tuple[pd.DataFrame, tuple[int, ...]]:
    """Check that the grid is a rectangle under a header; return it with the rows' lines."""
    stripped = [(number, [cell.strip() for cell in row]) for number, row in grid]
    numbered = [(number, row) for number, row in stripped if any(row)]
    if len(numbered) < 2:
        raise ConfigError(f"{source} has no rows under its header: give a table with data")
    (_, header), *rows = numbered
    for number, row in rows:
        if len(row) < len(header) or any(row[len(header) :]):
            raise ConfigError(
                f"{source}, row {number}, has {len(row)} cells but the header has {len(header)}: "
                "check its commas and quotation marks"
            )
    frame = pd.DataFrame([row[: len(header)] for _, row in rows], dtype=str)
    kept = [i for i, name in enumerate(header) if name or (frame[i] != "").any()]
    names = [header[i] for i in kept]
    if "" in names:
        raise ConfigError(
            f"{source} has values in column {kept[names.index('')] + 1}, whose header is empty: "
            "name or remove it"
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"{source} has the column {shown(twice[0])} twice: remove one of them")
    return frame[kept].set_axis(names, axis=1), tuple(number for number, _ in rows)
