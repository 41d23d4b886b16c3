"""The one reader of tables of text: from a file to a header and rows of cells, checked.

What it decides for everyone: a CSV file is UTF-8, a byte order mark is fine, a NUL is not, and
quotation marks are in place. Empty lines are no rows. The first row is the header; it names no
column twice, and every row fits it. Faults are told with the line on which their row begins.
"""

import collections
import contextlib
import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from psi.errors import ConfigError
from psi.storage import regular_file

__all__ = ["TableReader", "TextRows", "unreadable"]

_Row = tuple[int, list[str]]
"""The line on which a row begins (the first is 1), and its cells."""

_SEPARATORS = ",;\t"


@dataclass(frozen=True)
class TextRows:
    """A table of text whose rows are read, and checked, as they are iterated.

    Attributes:
        header: The columns' names.
        rows: The rows below, each as long as the header.
        separator: What the header's cells are separated by.
    """

    header: list[str]
    rows: Iterator[_Row]
    separator: str = ","


@dataclass(frozen=True)
class TableReader:
    """How tables are read, where that is not the same for everyone.

    Attributes:
        commas_only: Whether semicolons and tabs are refused. Otherwise the separator is a comma,
            semicolon or tab, whichever is most frequent in the header.
        tidy: Whether cells lose the white space around them, and rows, nameless columns and cells
            beyond the header are left out where they are empty. Otherwise cells stay as written.
        refusal: The exception to raise.
    """

    commas_only: bool = False
    tidy: bool = False
    refusal: type[Exception] = ConfigError

    @contextlib.contextmanager
    def opened(self, path: Path) -> Iterator[BinaryIO]:
        """Open a regular file to read: a pipe or a device could go on for ever.

        Yields:
            The file.

        Raises:
            ConfigError: It is not there, no regular file, or cannot be read.
        """
        try:
            with regular_file(path) as file:
                yield file
        except OSError as error:
            raise self.refusal(unreadable(path, error)) from None

    def csv(self, file: BinaryIO, where: object) -> TextRows:
        """Return the table of a CSV file.

        Args:
            file: Its bytes; read while the rows are iterated.
            where: What to call the file in errors.

        Raises:
            ConfigError: It is no UTF-8, no CSV or no table with a header; of the rows when they
                are iterated.
        """
        first = next((line for line in self._lines(file, where) if line.strip("\r\n")), "")
        separator = max(_SEPARATORS, key=first.count)  # the comma if there is none
        if self.commas_only:
            if separator != "," and "," not in first:
                raise self.refusal(f"{where} is not separated by commas: save it with commas")
            separator = ","
        found = self.table(self._csv_rows(file, separator, where), where)
        return TextRows(found.header, found.rows, separator)

    def table(self, rows: Iterable[_Row], where: object) -> TextRows:
        """Return the table that rows of cells are, from a CSV file or from a sheet.

        Args:
            rows: Each with its line; an empty line has no cells.
            where: What to call the table in errors.

        Raises:
            ConfigError: There is no header, or it names a column twice; a row does not fit it, when
                the rows are iterated.
        """
        filled = self._filled(rows)
        _, header = next(filled, (1, []))
        if not header:
            raise self.refusal(f"{where} is empty: it has no header and no rows")
        names = [name for name in header if name or not self.tidy]
        name, times = collections.Counter(names).most_common(1)[0]
        if times > 1:
            raise self.refusal(f"{where} has the column {name!r:.42} twice: rename or remove one")
        return TextRows(names, self._fitting(filled, header, where))

    def _csv_rows(self, file: BinaryIO, separator: str, where: object) -> Iterator[_Row]:
        reader = csv.reader(self._lines(file, where), delimiter=separator, strict=True)
        begins = 1
        try:
            for row in reader:
                yield begins, row
                begins = reader.line_num + 1  # a quoted cell may span lines
        except csv.Error as error:
            raise self.refusal(
                f"{where}, line {begins}, is no well-formed CSV ({error}): "
                "check its quotation marks"
            ) from None

    def _lines(self, file: BinaryIO, where: object) -> Iterator[str]:
        file.seek(0)
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        try:
            for line in text:
                if "\0" in line:
                    raise UnicodeError
                yield line
        except UnicodeError:
            raise self.refusal(
                f"{where} is not a CSV in UTF-8: from a spreadsheet, save as “CSV UTF-8”"
            ) from None
        finally:
            if not file.closed:
                text.detach()  # or the file would be closed with it

    def _filled(self, rows: Iterable[_Row]) -> Iterator[_Row]:
        for line, row in rows:
            if self.tidy:
                row = [cell.strip() for cell in row]
            if any(row) if self.tidy else row:
                yield line, row

    def _fitting(self, rows: Iterable[_Row], header: list[str], where: object) -> Iterator[_Row]:
        width = len(header)
        nameless = {i for i, name in enumerate(header) if self.tidy and not name}
        for line, row in rows:
            if len(row) != width and (not self.tidy or len(row) < width or any(row[width:])):
                raise self.refusal(
                    f"{where}, line {line}, has {len(row)} cells but the header has {width}: "
                    "check its separators and quotation marks"
                )
            for i in sorted(nameless):
                if row[i]:
                    raise self.refusal(
                        f"{where}, line {line}, has a value in column {i + 1}, whose header is "
                        "empty: name or remove it"
                    )
            if nameless or len(row) > width:
                row = [cell for i, cell in enumerate(row[:width]) if i not in nameless]
            yield line, row


def unreadable(path: Path, error: OSError) -> str:
    """Return in words that a file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist: check the path"
    name = repr(str(path))[-200:]  # a name that is refused may be of any length
    return f"{name} cannot be read ({error.strerror or error}): check path and rights"
