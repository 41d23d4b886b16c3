"""What columns and their bins are called, for who may know.

A schema has categories of the host's whole table. The guest is told those alone that enough of the
common rows have: others would say what rows have that are not common, or few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from privfed.data import CategoricalColumn
from privfed.data.schema import MISSING_CODE
from privfed.errors import DecodeError
from privfed.vertical.scorecards.plan import MOST_COLUMNS
from privfed.vertical.trees.bins import MOST_BINS
from privfed.vertical.trees.columns import ColumnBins
from psi.storage import json_bytes, json_read

__all__ = ["LACKING", "MOST_TEXT_BYTES", "ColumnTexts", "texts_from", "texts_of", "unnamed"]

LACKING = "missing"
_OTHERS = "others"
MOST_TEXT_BYTES = 1 << 22
_MOST_NAMED, _MOST_CATEGORY = 6, 40  # categories in a bin's words, and letters of one

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=400)]


class ColumnTexts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column's name, and those of its bins in order, but for that of missing values."""

    name: _Text
    bins: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=MOST_BINS)]


def texts_of(
    columns: Sequence[ColumnBins], values: NDArray[np.float64], least_rows: int
) -> tuple[ColumnTexts, ...]:
    """Return what columns and bins are called.

    Args:
        columns: Their bins.
        values: The common rows, cleaned: (rows, columns).
        least_rows: How many of them have a category that is named; 0 where it is told to nobody.
    """
    return tuple(
        ColumnTexts(
            _short(column.column.name),
            tuple(_bin_text(column, number, own, least_rows) for number in range(column.count)),
        )
        for column, own in zip(columns, values.T, strict=True)
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


def _bin_text(column: ColumnBins, number: int, values: NDArray[np.float64], least_rows: int) -> str:
    if isinstance(column.column, CategoricalColumn):
        within = [
            code
            for code, place in enumerate(column.places)
            if place == number and code != MISSING_CODE
        ]
        often = [code for code in within if np.count_nonzero(values == code) >= least_rows]
        named = [_short(column.column.meaning(code), _MOST_CATEGORY) for code in often]
        named = named[:_MOST_NAMED]
        return " or ".join(named if len(named) == len(within) else [*named, _OTHERS])
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
