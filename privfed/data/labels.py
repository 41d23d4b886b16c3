"""What a label column is: classes, or a number; and how a number becomes what a model learns.

A model learns a number by its place in the public range, from -1 to 1. Nothing of it is fitted on
rows: a mean or a spread of a party's labels would leave it outside of every ε.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privfed.data import guesses
from privfed.data.notation import Notation, parse_number
from privfed.data.schema import MISSING_WORDS, CategoricalColumn, NumericColumn, fold, shown
from privfed.data.understanding import IN_A_FILE, ColumnReading, described
from privfed.errors import ConfigError

MAX_CLASSES = 100
FEW_NUMBERS = 10
"""So many different numbers are classes; more than `MAX_CLASSES`, or with fractions, a number."""

_COMPLETE = "a label needs a number in every row: complete or remove the rows without one"
LARGEST = 1e12
"""A label that is a number lies between minus this and this."""


def classes_of(
    cells: Iterable[str], label: str, lines: Sequence[int | str] | None = None
) -> list[str]:
    """Return a label column's values: numbers by size, else alphabetically.

    Args:
        cells: The cells as written.
        label: The column's name, for messages.
        lines: Where each row begins, if a message is to say that, and not the row's number.

    Raises:
        ConfigError: A row has no label, there are more than 100 values, or they are dates.
    """
    cells = list(cells)
    counts = Counter(cells)
    if any(fold(cell) in MISSING_WORDS for cell in counts):
        row = next(row for row, cell in enumerate(cells) if fold(cell) in MISSING_WORDS)
        where = f"data row {row + 1}" if lines is None else f"line {lines[row]}"
        raise ConfigError(
            f"column {shown(label)} has no label in {where}: complete or remove the row"
        )
    if any(each.kind == "date" for each in guesses.notations(counts)[:1]):
        raise ConfigError(
            f"column {shown(label)} holds dates such as {shown(cells[0])}, which are no classes: "
            "name another column as `label`, or make classes of it, such as before and after a day"
        )
    if len(counts) > MAX_CLASSES:
        raise ConfigError(
            f"column {shown(label)} has {len(counts)} different values, at most {MAX_CLASSES} can "
            "be classes: name a column of classes as `label`, or make a few classes of its values"
        )

    def order(cell: str) -> tuple[bool, float, str]:
        number = parse_number(cell)
        is_word = math.isnan(number)
        return is_word, 0.0 if is_word else number, cell

    return sorted(counts, key=order)


def read_label(name: str, cells: Sequence[str], lines: Sequence[int | str]) -> ColumnReading:
    """Describe a label by its values.

    It is a number where every cell is one and there are more than `FEW_NUMBERS` different ones;
    but up to `MAX_CLASSES` different whole numbers may be classes as well, which is asked. All
    else are classes.

    Args:
        name: The column.
        cells: The cells as written.
        lines: Where each row begins.

    Returns:
        Its reading, with a question where it is doubtful or can be neither.
    """
    counts = Counter(cells)
    missing = sum(n for cell, n in counts.items() if fold(cell) in MISSING_WORDS)
    found = ColumnReading(
        name=name, role="label", kind="classes", values=len(cells) - missing, missing=missing
    )
    notations = [] if missing else guesses.notations(counts)
    if notations and notations[0].kind == "number":
        read = {cell: notations[0].read(cell) for cell in counts}
        known = {cell: number for cell, number in read.items() if not math.isnan(number)}
        several = len(set(known.values())) > FEW_NUMBERS
        if several and len(known) == len(read):
            return _number(found, counts, notations, read)
        if several and len(counts) > MAX_CLASSES and guesses.holds_numbers(counts, known):
            cell = next(each for each in cells if each not in known)
            return replace(
                found,
                question=f"column {shown(name)} holds numbers, but {shown(cell)} "
                f"(line {lines[cells.index(cell)]}) is none",
                remedy=_COMPLETE,
            )
    return _classes(found, cells, lines)


def described_label(
    name: str,
    cells: Sequence[str],
    lines: Sequence[int | str],
    classes: tuple[str, ...],
    number: NumericColumn | None,
) -> ColumnReading:
    """Describe a label of which a schema file says what it is.

    Args:
        name: The column.
        cells: The cells as written.
        lines: Where each row begins.
        classes: Its classes; empty where the file does not say them.
        number: What number it is; None: it is none.

    Returns:
        Its reading, with a question where a cell is none of that.
    """
    if number is not None:
        found = described(number, cells, lines)
        without = found.missing + found.odd
        cells_hold = "cell holds" if without == 1 else "cells hold"
        return replace(
            found, role="label", column=None, number=number, missing=without, odd=0, first_odd=(),
            warning="",
            question=f"column {shown(name)}: {without} {cells_hold} no number" if without else "",
            remedy=_COMPLETE if without else "",
        )  # fmt: skip
    counts = Counter(cells)
    missing = sum(n for cell, n in counts.items() if fold(cell) in MISSING_WORDS)
    found = ColumnReading(
        name=name, role="label", kind="classes", values=len(cells) - missing, missing=missing
    )
    return replace(found, classes=classes) if classes else _classes(found, cells, lines)


def read_numbers(
    cells: Sequence[str], number: NumericColumn, *, least: int = 2
) -> NDArray[np.float64]:
    """Return the numbers in a label's cells, those outside its range as the nearest in it.

    Args:
        cells: The cells as written.
        number: What the label is.
        least: How many different ones there have to be.

    Raises:
        ConfigError: A cell is no number, or there are too few different ones.
    """
    read = {cell: number.notation.read(cell) for cell in set(cells)}
    found = np.array([math.nan if number.is_missing(cell) else read[cell] for cell in cells])
    for row in np.flatnonzero(np.isnan(found))[:1].tolist():
        raise ConfigError(
            f"column {shown(number.name)} has {shown(cells[row])} in data row {row + 1}: a label "
            "that is a number needs one in every row"
        )
    clipped: NDArray[np.float64] = np.clip(found, number.low, number.high)
    if len(np.unique(clipped)) < least:
        raise ConfigError(
            f"all {len(cells)} rows have the label {shown(cells[0])} in column "
            f"{shown(number.name)}: training needs rows of at least two numbers"
        )
    return clipped


def scaled(numbers: NDArray[np.float64], between: tuple[float, float]) -> NDArray[np.float32]:
    """Return what a model learns of numbers: their places in a range, -1 to 1.

    Args:
        numbers: In the label's units.
        between: The label's public range.
    """
    low, high = between
    return ((2 * numbers - low - high) / (high - low)).astype(np.float32)


def unscaled(scores: NDArray[Any], between: tuple[float, float]) -> NDArray[np.float64]:
    """Return what a model's scores say, in the label's units; a score beyond ±1 leaves the range.

    Args:
        scores: As `scaled` returns them.
        between: The label's public range.
    """
    low, high = between
    return (low + high) / 2 + scores.astype(np.float64) * ((high - low) / 2)


def _number(
    found: ColumnReading,
    counts: Counter[str],
    notations: list[Notation],
    read: dict[str, float],
) -> ColumnReading:
    """Describe a label whose cells are all numbers, and more than a few."""
    ends = min(read.values()), max(read.values())
    if max(map(abs, ends)) > LARGEST:
        return replace(
            found,
            question=f"column {shown(found.name)} reaches from {ends[0]:g} to {ends[1]:g}, and a "
            f"label that is a number lies between ±{LARGEST:g}",
            remedy="say it in larger units",
        )
    number = NumericColumn(found.name, *ends, notation=notations[0])
    told = replace(
        found, kind="number", number=number,
        done=guesses.remark(notations[0], counts, read) or notations[0].words,
    )  # fmt: skip
    doubt = guesses.doubt(found.name, notations, read)
    whole = all(value % 1 == 0 for value in read.values())
    classes = CategoricalColumn(found.name, tuple(sorted(counts, key=read.__getitem__)))
    few = len(counts) <= MAX_CLASSES
    if doubt is None and not (whole and few):
        return told
    options: list[NumericColumn | CategoricalColumn] = [number]
    if doubt is not None and doubt.rival is not None:
        other = [x for cell in counts if not math.isnan(x := doubt.rival.read(cell))]
        options.append(NumericColumn(found.name, min(other), max(other), notation=doubt.rival))
    elif few:
        options.append(classes)
    if len(options) < 2:
        return told
    clause = (
        f"{len(counts)} different whole numbers may be classes, or an amount"
        if doubt is None
        else doubt.clause
    )
    return replace(
        told,
        question=f"column {shown(found.name)}: {clause}",
        remedy=f"say which in {IN_A_FILE}",
        options=tuple(options),
    )


def _classes(
    found: ColumnReading, cells: Sequence[str], lines: Sequence[int | str]
) -> ColumnReading:
    several = lines if isinstance(lines[0], str) else None  # files, whose rows have no one number
    try:
        return replace(found, classes=tuple(classes_of(cells, found.name, several)))
    except ConfigError as error:
        question, _, remedy = str(error).rpartition(": ")
        return replace(found, question=question, remedy=remedy)
