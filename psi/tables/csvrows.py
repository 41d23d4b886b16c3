"""The rows of a CSV text, for every reader of one."""

import csv
from collections.abc import Iterator
from typing import TextIO

__all__ = ["csv_rows"]


def csv_rows(text: TextIO, separator: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield each row with the line on which it begins; the first is 1, an empty line is no cells.

    Args:
        text: Opened with `newline=""`, so that a quoted cell keeps its line ends.
        separator: Between fields.

    Raises:
        csv.Error: A quotation mark is out of place.
    """
    reader = csv.reader(text, delimiter=separator, strict=True)
    begins = 1
    for row in reader:
        yield begins, row
        begins = reader.line_num + 1  # a quoted cell may span lines
