"""What the columns of a table are, by the values in them; what is doubtful is asked."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

import pandas as pd

from privfed.data import guesses
from privfed.data.cleaning import Change
from privfed.data.notation import PLAIN
from privfed.data.schema import (
    MISSING_CODE,
    MISSING_WORDS,
    CategoricalColumn,
    Column,
    NumericColumn,
    Schema,
    fold,
    shown,
)
from privfed.errors import ConfigError, TableWarning

MAX_CATEGORIES = 1000  # more texts than this are names or sentences, not categories
_ODD_SHARE, _ODD_SURELY = 50, 20  # one odd cell of 50 is tolerated, and one of 20 to 50
_MOST_SHOWN = 5  # odd cells of one column
IN_A_FILE = "a schema file, which `inspect_table` makes with `schema_text` and `schema` names"

Role = Literal["feature", "label", "id", "ignore"]


@dataclass(frozen=True, kw_only=True)
class ColumnReading:
    """How one column of a table is understood. Its repr shows no cell.

    Attributes:
        name: The header.
        role: What it is for; "ignore" if it is left out, "party" if it says whose a row is.
        kind: "number", "date", "yes-no", "categories", "classes", "ID", "parties" or "text", for
            people.
        column: A feature's description, which is public; None of what is none.
        classes: A label's classes in order; empty where it is a number.
        number: What number a label is, whose range is public; None where it is classes.
        values: Cells with a value that is understood.
        missing: Cells that say that there is none.
        odd: Cells that are no number in a column of numbers; they count as missing.
        first_odd: Some of them, each with its line.
        done: What was done, and what may be meant otherwise, for people.
        warning: What to know before training; "" for nothing.
        question: Why it cannot be used as it is; "" if it can.
        remedy: What to do then.
        options: What it may be, where that has to be chosen.
    """

    name: str
    role: Role | Literal["party"] = "feature"
    kind: str = ""
    column: Column | None = field(default=None, repr=False)
    classes: tuple[str, ...] = ()
    number: NumericColumn | None = field(default=None, repr=False)
    values: int = 0
    missing: int = 0
    odd: int = 0
    first_odd: tuple[tuple[str, int | str], ...] = field(default=(), repr=False)
    done: str = ""
    warning: str = field(default="", repr=False)
    question: str = field(default="", repr=False)
    remedy: str = field(default="", repr=False)
    options: tuple[Column | Role, ...] = field(default=(), repr=False)


def understand(
    frame: pd.DataFrame, names: Iterable[str], lines: Sequence[int | str], *, suspect: bool = True
) -> tuple[ColumnReading, ...]:
    """Describe some columns of a table by the values in them.

    A column whose cells are numbers in one notation is numeric, with its least and greatest value
    as its range. Of its filled cells at most 2 % may be odd, or one of at least 20: they count as
    missing. With more of them it is refused, since numbers in text order are no categories. Other
    columns are text, with their values as categories; texts that nearly all differ are left out.

    Args:
        frame: Text cells.
        names: The columns.
        lines: Where each row begins, for messages: a line, or in which file it is as well.
        suspect: Whether to warn of whole numbers that may be an ID; else it is known which column
            that is.

    Returns:
        A reading of each. What it says of categories and ranges counts as public.
    """
    return tuple(_reading(name, list(frame[name]), lines, suspect) for name in names)


def usable(readings: Iterable[ColumnReading]) -> tuple[ColumnReading, ...]:
    """Return readings, after saying what has to be known of them before training.

    Raises:
        ConfigError: A column cannot be used, or it has to be said what it is.
    """
    readings = tuple(readings)
    asked = [reading for reading in readings if reading.question]
    if asked:
        more = f" ({len(asked) - 1} more are asked about: `inspect_table` shows all)"
        raise ConfigError(f"{asked[0].question}: {asked[0].remedy}" + more * (len(asked) > 1))
    for reading in readings:
        if reading.warning:
            warnings.warn(reading.warning, TableWarning, stacklevel=3)
    return readings


def schema_of(readings: Iterable[ColumnReading]) -> Schema:
    """Return the public description that readings come to.

    Raises:
        ConfigError: No column is a feature.
    """
    readings = tuple(readings)
    columns = tuple(each.column for each in readings if each.column is not None)
    if not columns:
        raise ConfigError(
            "the table has no column beside ID and label that can be learnt from: add what to "
            "learn from"
        )
    named = {each.role: each.name for each in readings}
    return Schema(
        columns,
        id_column=named.get("id"),
        label_column=named.get("label"),
        ignored=tuple(each.name for each in readings if each.role == "ignore"),
    )


def described(
    column: Column, cells: Sequence[str], lines: Sequence[int | str], done: str = ""
) -> ColumnReading:
    """Count what is in a column whose description is known.

    Args:
        column: The description, whose spellings are compared as written.
        cells: The cells as written.
        lines: Where each row begins.
        done: What is to be said of it besides.

    Returns:
        Its reading, with a question if it has too many odd cells.
    """
    counts = Counter(cells)
    if isinstance(column, CategoricalColumn):
        missing = sum(n for cell, n in counts.items() if _is_missing(column, cell))
        found = ColumnReading(
            name=column.name, kind="categories", column=column,
            values=len(cells) - missing, missing=missing,
        )  # fmt: skip
        known = {*column.categories, "other"}
        other = sum(n for c, n in counts.items() if c not in known and not _is_missing(column, c))
        taken = f"{_cells(other)} in none of the categories taken as other" if other else ""
        return replace(found, done=_joined(taken, done))
    read = {cell: column.notation.read(cell) for cell in counts if not column.is_missing(cell)}
    filled = sum(counts[cell] for cell in read)
    unread = {cell for cell, number in read.items() if math.isnan(number)}
    odd = sum(counts[cell] for cell in unread)
    outside = sum(counts[c] for c, x in read.items() if x < column.low or x > column.high)
    found = ColumnReading(
        name=column.name, kind=column.notation.kind, column=column, values=filled - odd,
        missing=len(cells) - filled, odd=odd, first_odd=_places(unread, cells, lines),
    )  # fmt: skip
    if odd > _allowed(filled):
        what, like = (
            ("dates", column.notation.date) if found.kind == "date" else ("numbers", "1200.5")
        )
        return replace(
            found,
            question=f"column {shown(found.name)} holds {what}, but {odd} of its {filled} values "
            f"cannot be read as one: {_listed(found)}",
            remedy=f"write them like {like}, leave them empty, or remove the column; if these are "
            f"categories, make each a word; or say what they are in {IN_A_FILE}",
        )
    taken = f"{odd} odd {'cell' if odd == 1 else 'cells'} taken as missing" if odd else ""
    clipped = f"{_cells(outside)} outside the range taken as the nearest in it" if outside else ""
    return replace(
        found,
        done=_joined(taken, clipped, column.notation.words, done),
        warning=f"column {shown(column.name)}: {taken}, of {filled}: {_listed(found)}" * (odd > 0),
    )


def counted(
    columns: Sequence[Column], changes: Sequence[Change], missing: Mapping[str, int], rows: int
) -> tuple[ColumnReading, ...]:
    """Describe cleaned columns by what cleaning counted.

    Args:
        columns: Their descriptions.
        changes: What was changed.
        missing: Column name to the number of its rows without a value.
        rows: How many there are.

    Returns:
        A reading of each.
    """
    found = []
    for column in columns:
        own = [each for each in changes if each.column == column.name]
        odd = sum(each.rows for each in own if not each.known and each.meaning == "missing")
        respelled = sum(each.rows for each in own if each.known and each.meaning != "missing")
        without = missing.get(column.name, 0)
        found.append(
            ColumnReading(
                name=column.name,
                kind="categories" if isinstance(column, CategoricalColumn) else "number",
                column=column,
                values=rows - without,
                missing=without - odd,
                odd=odd,
                done=f"{_cells(respelled)} respelled" if respelled else "",
            )
        )
    return tuple(found)


def _reading(
    name: str, cells: list[str], lines: Sequence[int | str], suspect: bool
) -> ColumnReading:
    counts = Counter(cells)
    values = Counter({cell: n for cell, n in counts.items() if fold(cell) not in MISSING_WORDS})
    found = guesses.notations(values)
    if not found and not guesses.holds_numbers(values, {}):
        return _text(name, values, len(cells))
    found = found or [PLAIN]
    read = {v: x for v in values if not math.isnan(x := found[0].read(v))}
    odd = sum(n for value, n in values.items() if value not in read)
    numbers = guesses.holds_numbers(values, {} if found[0].kind == "yes-no" else read)
    if not values or (odd > _allowed(values.total()) and not numbers):
        return _text(name, values, len(cells))
    ends = list(read.values()) if read and found[0].kind != "yes-no" else [0.0, 1.0]
    column = NumericColumn(name, min(ends), max(ends), notation=found[0])
    numeric = described(column, cells, lines, guesses.remark(found[0], values, read))
    options: tuple[Column | Role, ...] = (column, _as_categories(name, values))
    if numeric.question:
        return replace(numeric, options=options)
    doubt = guesses.doubt(name, found, read)
    if doubt is not None:
        if doubt.rival is not None:
            other = [x for v in values if not math.isnan(x := doubt.rival.read(v))]
            rival = NumericColumn(name, min(other), max(other), notation=doubt.rival)
            options = (column, rival)
        return replace(
            numeric,
            question=f"column {shown(name)}: {doubt.clause}",
            remedy=f"say which in {IN_A_FILE}",
            options=options,
        )
    whole = all(number % 1 == 0 for number in read.values())
    amount = column.notation.kind != "number" or column.notation.unit
    if suspect and whole and not amount and guesses.differ(values):
        warning = (
            f"column {shown(name)} has another whole number in nearly every row and is trained on: "
            "if it is an ID and no amount, name it as `id_column`, or leave it out by a schema file"
        )
        return replace(
            numeric,
            done=_joined(numeric.done, "nearly all differ: an ID, or an amount?"),
            warning=_joined(numeric.warning, warning),
        )
    return numeric


def _text(name: str, values: Counter[str], rows: int) -> ColumnReading:
    """Describe a column of words."""
    found = ColumnReading(name=name, values=values.total(), missing=rows - values.total())
    what = guesses.identifier(values)
    if what:
        warning = (
            f"column {shown(name)} is left out: {what}, of which nothing carries over to new rows; "
            f"name it as `id_column` if it is the ID, or give it another role in {IN_A_FILE}"
        )
        return replace(found, role="ignore", kind="text", done=f"left out: {what}", warning=warning)
    if len(values) > MAX_CATEGORIES:
        return replace(
            found,
            kind="text",
            question=f"column {shown(name)} has {len(values)} different texts, at most "
            f"{MAX_CATEGORIES} can be categories",
            remedy="join what is alike or remove the column, name it as `id_column` if it is the "
            f"rows' ID, or leave it out by {IN_A_FILE}",
            options=("ignore", "id"),
        )
    return replace(
        found,
        kind="categories",
        column=CategoricalColumn(name, tuple(sorted(values.keys() - {"other"}))),
        done="" if values else "no value in any row",
    )


def _allowed(filled: int) -> int:
    """Return how many odd cells so many filled ones may have among them."""
    return max(filled // _ODD_SHARE, int(filled >= _ODD_SURELY))


def _is_missing(column: CategoricalColumn, cell: str) -> bool:
    code = column.spellings.get(cell)
    if code is None:
        return cell not in column.categories and fold(cell) in MISSING_WORDS
    return code == MISSING_CODE


def _places(
    odd: set[str], cells: Sequence[str], lines: Sequence[int | str]
) -> tuple[tuple[str, int | str], ...]:
    """Return the first odd cells with their lines."""
    places = zip(cells, lines, strict=True) if odd else ()
    return tuple(islice(((cell, line) for cell, line in places if cell in odd), _MOST_SHOWN))


def _listed(found: ColumnReading) -> str:
    named = [f"{shown(cell)} (line {line})" for cell, line in found.first_odd]
    return ", ".join(named) + (" …" if found.odd > len(named) else "")


def _as_categories(name: str, values: Counter[str]) -> Column | Role:
    """Return what numbers are as categories; to be left out where they are too many."""
    found = tuple(sorted(values.keys() - {"other"}))
    return CategoricalColumn(name, found) if len(found) <= MAX_CATEGORIES else "ignore"


def _cells(count: int) -> str:
    return f"{count} {'cell' if count == 1 else 'cells'}"


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))
