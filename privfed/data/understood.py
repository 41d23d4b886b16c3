"""What is told of how a table was understood: plain values, without a cell of any row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from privfed.data.encoding import Encoding, coding
from privfed.data.schema import NumericColumn, shown
from privfed.data.understanding import ColumnReading

HEAD = ("Column", "Kind", "Becomes", "What was done", "Values", "Missing", "Odd")
WORDS = 4  # the first of them; the others are numbers
_Cells = Annotated[int, msgspec.Meta(ge=0)]
_MOST_CLASSES = 4  # that are named


class UnderstoodColumn(msgspec.Struct, frozen=True):
    """A column, as results.json keeps it.

    Attributes:
        name: The header.
        role: "feature", "label", "id", "party" or "ignore".
        kind: "number", "date", "yes-no", "categories", "classes", "ID", "parties" or "text".
        values: Cells with a value.
        missing: Cells without.
        odd: Cells that are no number in a column of numbers; taken as missing.
        coding: What it becomes, in words.
        done: What was done to it, in words.
    """

    name: str
    role: str
    kind: str
    values: _Cells
    missing: _Cells
    odd: _Cells
    coding: str
    done: str


def understood(readings: Iterable[ColumnReading], encoding: Encoding) -> list[UnderstoodColumn]:
    """Return what is told of readings.

    Args:
        readings: The readings of a table's columns.
        encoding: How they become features.
    """
    return [
        UnderstoodColumn(
            each.name, each.role, each.kind, each.values, each.missing, each.odd,
            _coding(each, encoding), "" if each.question else each.done,
        )
        for each in readings
    ]  # fmt: skip


def rows_of(columns: Sequence[UnderstoodColumn]) -> list[tuple[str, ...]]:
    """Return the rows of a table under `HEAD`."""
    return [
        (
            _name(each),
            each.kind,
            each.coding,
            each.done,
            *(f"{cells:,}" for cells in (each.values, each.missing, each.odd)),
        )
        for each in columns
    ]


def _name(column: UnderstoodColumn) -> str:
    name = column.name if column.name.isprintable() else shown(column.name)
    role = {"label": "label", "id": "ID", "party": "party", "ignore": "left out"}.get(column.role)
    return f"{name} ({role})" if role else name


def _ends(number: NumericColumn) -> tuple[float, float]:
    return number.low, number.high


def _coding(reading: ColumnReading, encoding: Encoding) -> str:
    if reading.question:
        return "asked: see below"
    if reading.column is not None:
        return coding(reading.column, encoding)
    if reading.role == "party":
        return "whose a row is"
    if reading.number is not None:
        low, high = (reading.number.notation.written(each) for each in _ends(reading.number))
        return f"{low} to {high} as -1 to 1"
    if reading.role == "label":
        more = " …" if len(reading.classes) > _MOST_CLASSES else ""
        pairs = enumerate(reading.classes[:_MOST_CLASSES])
        return ", ".join(f"{name} {number}" for number, name in pairs) + more
    return "nothing"
