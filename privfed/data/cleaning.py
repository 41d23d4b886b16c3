"""The one cleaning step: each spelling to its code. No row is dropped, no value is guessed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.data.schema import (
    MISSING_CODE,
    MISSING_WORDS,
    CategoricalColumn,
    NumericColumn,
    Schema,
    fold,
    shown,
)
from privfed.errors import ConfigError


@dataclass(frozen=True)
class Change:
    """One spelling of one column that cleaning changed."""

    column: str
    spelling: str  # as written
    meaning: str  # the category, "missing", "other" or the number it was taken for
    code: int | None  # None in a numeric column
    rows: int
    known: bool  # False where neither code table nor public range has it


@dataclass(frozen=True)
class CleaningReport:
    """What the cleaning step changed; rows are only counted, and none is dropped."""

    rows: int
    renamed_columns: dict[str, str]  # as written -> the column's name
    missing: dict[str, int]  # column -> rows without a value
    changes: tuple[Change, ...]
    repeated_ids: int | None = None  # IDs in more than one row; None where rows have no ID
    conflicting_ids: int | None = None  # of those, the ones with more than one label

    @property
    def unknown(self) -> tuple[Change, ...]:
        """The values that the public code table does not know."""
        return tuple(change for change in self.changes if not change.known)

    def summary(self) -> str:
        """Return the report in one line."""
        respelled = sum(c.rows for c in self.changes if c.known and c.meaning != "missing")
        text = (
            f"{self.rows} rows kept, none dropped; {respelled} cells respelled, "
            f"{sum(self.missing.values())} missing, {sum(c.rows for c in self.unknown)} unknown"
        )
        if self.repeated_ids is not None:
            text += (
                f"; {self.repeated_ids} IDs repeat, {self.conflicting_ids} disagree on the label"
            )
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON."""
        return {
            "rows": self.rows,
            "dropped_rows": 0,
            "renamed_columns": dict(self.renamed_columns),
            "missing": dict(self.missing),
            "changes": [vars(change).copy() for change in self.changes],
            "repeated_ids": self.repeated_ids,
            "conflicting_ids": self.conflicting_ids,
        }


@dataclass(frozen=True)
class Cleaned:
    """A cleaned table.

    Attributes:
        values: (n, columns) float64: codes of text columns, numbers of numeric ones, clipped to
            their public range, NaN where missing.
        missing: Column name to the number of its rows without a value, where there are any.
        changes: Every spelling that was changed.
        unseen: (row, column, value as written) for each value that the schema does not know;
            rows count from 0.
    """

    values: NDArray[np.float64]
    missing: dict[str, int]
    changes: tuple[Change, ...]
    unseen: tuple[tuple[int, str, str], ...]


def clean(raw: pd.DataFrame, schema: Schema) -> Cleaned:
    """Map every spelling of every feature column to what it means.

    Args:
        raw: Text cells, with the schema's column names.
        schema: The public code table.

    Returns:
        The codes and numbers, as many rows as `raw` has, and what was changed.

    Raises:
        ConfigError: A column that needs a number in every row lacks one.
    """
    values = np.empty((len(raw), len(schema.columns)), dtype=np.float64)
    missing: dict[str, int] = {}
    changes: list[Change] = []
    unseen: list[tuple[int, str, str]] = []
    for i, column in enumerate(schema.columns):
        cells = ["" if pd.isna(cell) else str(cell) for cell in raw[column.name]]
        counts = Counter(cells)
        # Each spelling means the same in every row, so it is looked up once.
        if isinstance(column, CategoricalColumn):
            meanings = {text: _category(schema, column, text) for text in counts}
        else:
            meanings = {text: _number(column, text) for text in counts}
        values[:, i] = [meanings[cell][0] for cell in cells]
        for text, (_, change) in meanings.items():
            if change is not None:
                changes.append(Change(column.name, text, *change[:2], counts[text], change[2]))
        unknown = {text for text, (_, change) in meanings.items() if change and not change[2]}
        unseen += [(row, column.name, cell) for row, cell in enumerate(cells) if cell in unknown]
        is_text = isinstance(column, CategoricalColumn)
        empty = values[:, i] == MISSING_CODE if is_text else np.isnan(values[:, i])
        if empty.any():
            missing[column.name] = int(empty.sum())
        if empty.any() and isinstance(column, NumericColumn) and not column.optional:
            row = int(np.flatnonzero(empty)[0])
            raise ConfigError(
                f"column {column.name} has {shown(cells[row])} in data row {row + 1}: "
                "give it a number in every row"
            )
    return Cleaned(values, missing, tuple(changes), tuple(sorted(unseen)))


def clean_ids(cells: Sequence[str], column: str) -> NDArray[np.str_]:
    """Return the IDs, after checking that each row has one.

    Raises:
        ConfigError: A row has no ID.
    """
    for row, cell in enumerate(cells, start=1):
        if fold(cell) in MISSING_WORDS:
            raise ConfigError(
                f"column {column} has no ID in data row {row}: give each row one, or remove the "
                "column (splits by ID are then refused)"
            )
    return np.array([cell.strip() for cell in cells], dtype=np.str_)


def clean_labels(cells: Sequence[str], classes: Sequence[str], column: str) -> NDArray[np.int64]:
    """Turn label cells into class numbers.

    Args:
        cells: The cells as written.
        classes: What a cell of class 0, 1, … says; a whole number may carry `.0`.
        column: The label column's name, for the message.

    Returns:
        (n,) class numbers.

    Raises:
        ConfigError: A cell names no class, or all rows have the same class.
    """
    numbers = {text: number for number, text in enumerate(classes)}
    labels = np.empty(len(cells), dtype=np.int64)
    for row, cell in enumerate(cells):
        number = numbers.get(cell, numbers.get(cell.removesuffix(".0")))
        if number is None:
            raise ConfigError(
                f"column {column} has {shown(cell)} in data row {row + 1}: each row needs a "
                f"label, one of {', '.join(map(shown, classes[:8]))}"
            )
        labels[row] = number
    if len(np.unique(labels)) < 2:
        raise ConfigError(
            f"all {len(cells)} rows have the label {shown(cells[0])} in column {column}: "
            "training needs rows of at least two classes"
        )
    return labels


def report(
    cleaned: Cleaned,
    renamed: dict[str, str],
    ids: NDArray[np.str_] | None,
    labels: NDArray[Any],
) -> CleaningReport:
    """Sum up a cleaned table: `renamed` maps headers as written to column names."""
    repeated = conflicting = None
    if ids is not None:
        seen: dict[str, set[float]] = {}
        for row_id, label in zip(ids.tolist(), labels.tolist(), strict=True):
            seen.setdefault(row_id, set()).add(label)
        repeated = sum(count > 1 for count in Counter(ids.tolist()).values())
        conflicting = sum(len(classes) > 1 for classes in seen.values())
    return CleaningReport(
        rows=len(labels),
        renamed_columns={old: new for old, new in renamed.items() if old != new},
        missing=cleaned.missing,
        changes=cleaned.changes,
        repeated_ids=repeated,
        conflicting_ids=conflicting,
    )


_Meaning = tuple[float, tuple[str, int | None, bool] | None]


def _category(schema: Schema, column: CategoricalColumn, text: str) -> _Meaning:
    code, known = schema.code(column, text)
    meaning = column.meaning(code)
    unchanged = text == meaning or (code == MISSING_CODE and text == "")
    return code, None if unchanged else (meaning, code, known)


def _number(column: NumericColumn, text: str) -> _Meaning:
    if column.is_missing(text):
        return math.nan, None if text == "" else ("missing", None, True)
    number = column.notation.read(text)
    if math.isnan(number):
        return math.nan, ("missing", None, False)
    if number == column.missing_as:
        return math.nan, None
    inside = min(max(number, column.low), column.high)
    return inside, None if inside == number else (column.notation.written(inside), None, False)
