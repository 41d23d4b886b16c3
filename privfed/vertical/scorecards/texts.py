"""What columns and their bins are called, for who may know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from privfed.data import CategoricalColumn
from privfed.data.schema import MISSING_CODE
from privfed.errors import DecodeError
from privfed.vertical.scorecards.plan import MOST_COLUMNS
from privfed.vertical.trees.bins import MOST_BINS
from privfed.vertical.trees.columns import ColumnBins
from psi.storage import json_bytes, json_read

__all__ = ["LACKING", "MOST_TEXT_BYTES", "ColumnTexts", "texts_from", "texts_of", "unnamed"]

LACKING = "missing"
MOST_TEXT_BYTES = 1 << 22
_MOST_NAMED, _MOST_CATEGORY = 6, 40  # categories in a bin's words, and letters of one

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]


class ColumnTexts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column's name, and those of its bins in order, but for that of missing values."""

    name: _Text
    bins: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=MOST_BINS)]


def texts_of(columns: Sequence[ColumnBins]) -> tuple[ColumnTexts, ...]:
    """Return what columns and bins are called at their owner."""
    return tuple(
        ColumnTexts(
            _short(column.column.name),
            tuple(_bin_text(column, number) for number in range(column.count)),
        )
        for column in columns
    )


def unnamed(columns: int, bins: int) -> tuple[ColumnTexts, ...]:
    """Return numbers instead, for who is not told more."""
    numbers = tuple(f"bin {number + 1}" for number in range(bins))
    return tuple(ColumnTexts(f"column {number + 1}", numbers) for number in range(columns))


def texts_to_bytes(texts: tuple[ColumnTexts, ...]) -> bytes:
    """Return texts for the other company."""
    return json_bytes(texts)


def texts_from(data: bytes | memoryview, columns: int, bins: int) -> tuple[ColumnTexts, ...]:
    """Return the texts that the host sent.

    Args:
        data: Measured before.
        columns: How many columns there are.
        bins: How many bins each has at most.

    Raises:
        DecodeError: They are no texts of so many columns and bins.
    """
    try:
        texts = json_read(bytes(data), _Texts)
    except ValueError:
        texts = ()
    printable = all(text.isprintable() for column in texts for text in (column.name, *column.bins))
    if len(texts) != columns or not printable or any(len(each.bins) > bins for each in texts):
        raise DecodeError("the other side sent no names of its columns and bins")
    return texts


_Texts = Annotated[tuple[ColumnTexts, ...], msgspec.Meta(max_length=MOST_COLUMNS)]


def _bin_text(column: ColumnBins, number: int) -> str:
    if isinstance(column.column, CategoricalColumn):
        within = [
            _short(column.column.meaning(code), _MOST_CATEGORY)
            for code, place in enumerate(column.places)
            if place == number and code != MISSING_CODE
        ]
        more = len(within) - _MOST_NAMED
        return " or ".join(within[:_MOST_NAMED]) + (f" or {more} more" if more > 0 else "")
    edges = [column.column.notation.written(edge) for edge in column.edges]
    if not edges:
        return "any value"
    if column.column.notation.kind == "yes-no":
        return ("no", "yes")[number]
    if number == 0:
        return f"up to {edges[0]}"
    if number == len(edges):
        return f"above {edges[-1]}"
    return f"{edges[number - 1]} to {edges[number]}"


def _short(text: str, most: int = 200) -> str:
    """Return a text that can be printed, and is not too long."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text).strip() or "–"
    return plain if len(plain) <= most else f"{plain[: most - 1]}…"
