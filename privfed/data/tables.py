"""A user's own CSV or XLSX file, with its label column named."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from privfed.data.dataset import Dataset, assemble
from privfed.data.encoding import Encoder, Encoding
from privfed.data.files import TextTable, read_text_table
from privfed.data.schema import (
    MISSING_WORDS,
    CategoricalColumn,
    Column,
    NumericColumn,
    Schema,
    fold,
    parse_number,
    shown,
)
from privfed.errors import ConfigError

MAX_CATEGORIES = 1000  # more texts than this are names or sentences, not categories
MAX_CLASSES = 100
SCHEMA_IS_PUBLIC = (
    "columns, categories and ranges are read from the table: they count as public, outside every ε"
)
_MOST_SHOWN = 5  # odd cells of one column
# Such as 1200, 12,5 and 1 200.50: digits, in threes or not, and a fraction.
_WRITTEN_NUMBER = re.compile(r"(\d+|\d{1,3}([ .,'’]\d{3})+)([.,]\d+)?")


def load_own_table(
    path: str | os.PathLike[str] | TextTable,
    *,
    label: str | None,
    id_column: str | None = None,
    encoding: Encoding = "codes",
) -> Dataset:
    """Return the data set in a table whose columns nobody described beforehand.

    The schema is made from the whole file: a column whose every value is a number is numeric, with
    the file's least and greatest value as its range. A column that holds mostly numbers is refused,
    since a single odd cell would turn them into categories. Every other column is text, with the
    file's values as its categories in alphabetical order. **That schema counts as public**: parties
    that must not tell each other which values occur have to agree on a schema beforehand.

    Args:
        path: CSV or XLSX; or what was read of one.
        label: The label column; any two or more values (at most 100), which become the classes in
            order, numbers by size.
        id_column: The ID column, if the table has one. It is never a feature.
        encoding: "codes" or "onehot".

    Raises:
        ConfigError: The file cannot be read, a named column is absent, the label has one value
            only or too many, a number column has a cell that is no number, or a text column has
            more than 1000 values.
    """
    table = path if isinstance(path, TextTable) else read_text_table(path)
    path = "the table" if isinstance(path, TextTable) else path
    headers = list(table.frame.columns)
    if label is None:
        raise ConfigError(f"say which column is the label: `label`, one of {_names(headers)}")
    for option, column in (("label", label), ("id_column", id_column)):
        if column is not None and column not in headers:
            raise ConfigError(
                f"{path} has no column {shown(column)}: give `{option}` one of {_names(headers)}"
            )
    if label == id_column:
        raise ConfigError(f"column {shown(label)} cannot be both `label` and `id_column`: name two")
    features = [header for header in headers if header not in (label, id_column)]
    if not features:
        raise ConfigError(f"{path} has no column beside label and ID: add what to learn from")
    columns = own_columns(table.frame, features, table.lines)
    classes = classes_of(table.frame[label], label)
    return assemble(
        table.frame,
        Encoder(Schema(columns, id_column=id_column, label_column=label), encoding),
        kind="table",
        name=Path(path).stem,
        source=f"own table, {Path(path).name}",
        sha256=table.sha256,
        classes=classes,
        class_names=classes,
        where=str(path),
    )


def own_columns(
    frame: pd.DataFrame, names: Sequence[str], lines: Sequence[int]
) -> tuple[Column, ...]:
    """Describe some columns of a table by the values in them; the result counts as public.

    Args:
        frame: Text cells.
        names: The columns.
        lines: Where each row begins, for messages.

    Returns:
        A description of each.

    Raises:
        ConfigError: A number column has a cell that is no number, or a text column has more than
            1000 values.
    """
    return tuple(_column(name, list(frame[name]), lines) for name in names)


def _column(name: str, cells: list[str], lines: Sequence[int]) -> Column:
    """Describe a column by the values in it."""
    counts = Counter(cell for cell in cells if fold(cell) not in MISSING_WORDS)
    values = set(counts)
    numbers = [number for value in values if not math.isnan(number := parse_number(value))]
    if values and len(numbers) == len(values):
        return NumericColumn(name, min(numbers), max(numbers))
    if _holds_numbers(counts):
        odd = [
            f"{shown(cell)} (line {line})"
            for cell, line in zip(cells, lines, strict=True)
            if cell in values and math.isnan(parse_number(cell))
        ]
        more = " …" if len(odd) > _MOST_SHOWN else ""
        raise ConfigError(
            f"column {shown(name)} holds numbers, but {len(odd)} of its {counts.total()} values "
            f"cannot be read as one: {', '.join(odd[:_MOST_SHOWN])}{more}: write them like 1200.5, "
            "leave them empty, or remove the column; if these are categories, make each a word"
        )
    if len(values) > MAX_CATEGORIES:
        raise ConfigError(
            f"column {shown(name)} has {len(values)} different texts, at most {MAX_CATEGORIES} can "
            "be categories: remove the column, or name it as `id_column` if it is the rows' ID"
        )
    return CategoricalColumn(name, tuple(sorted(values - {"other"})))


def _holds_numbers(counts: Counter[str]) -> bool:
    """Return whether most cells of a column, or most of its different values, are numbers."""
    like = {value: n for value, n in counts.items() if _is_like_a_number(value)}
    return 2 * sum(like.values()) > counts.total() or 2 * len(like) > len(counts)


def _is_like_a_number(text: str) -> bool:
    """Return whether a text is a number in any notation, unlike 10-20, 3XL or 17.03.2025."""
    bare = unicodedata.normalize("NFKC", text)
    around = {mark for mark in bare if unicodedata.category(mark) in ("Sc", "Sm", "Zs")}
    bare = bare.strip("".join(around) + "%?*()-")
    return not math.isnan(parse_number(text)) or _WRITTEN_NUMBER.fullmatch(bare) is not None


def classes_of(cells: Iterable[str], label: str) -> list[str]:
    """Return a label column's values: numbers by size, else alphabetically.

    Args:
        cells: The cells as written.
        label: The column's name, for messages.

    Raises:
        ConfigError: A row has no label, or there are more than 100 values.
    """
    cells = list(cells)
    counts = Counter(cells)
    for row, cell in enumerate(cells, start=1):
        if fold(cell) in MISSING_WORDS:
            raise ConfigError(
                f"column {shown(label)} has no label in data row {row}: complete or remove the row"
            )
    if len(counts) > MAX_CLASSES:
        raise ConfigError(
            f"column {shown(label)} has {len(counts)} different values, at most {MAX_CLASSES} can "
            "be classes: name a column of classes as `label`"
        )

    def order(cell: str) -> tuple[bool, float, str]:
        number = parse_number(cell)
        is_word = math.isnan(number)
        return is_word, 0.0 if is_word else number, cell

    return sorted(counts, key=order)


def _names(headers: list[str]) -> str:
    return ", ".join(map(shown, headers[:12])) + (" …" if len(headers) > 12 else "")
