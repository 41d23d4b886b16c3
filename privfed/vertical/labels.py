"""The label holder's column as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privfed.data.labels import classes_of
from privfed.data.notation import parse_number
from privfed.data.schema import MISSING_WORDS, fold, shown
from privfed.errors import ConfigError
from privfed.vertical.references import check_labels
from privfed.vertical.roles import Family


def read_labels(
    cells: Sequence[str], family: Family, column: str
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Read labels: of two classes 0 or 1, else the number in the cell.

    Args:
        cells: The cells as written.
        family: What the label is.
        column: Its name, for messages.

    Returns:
        (n,) labels, and what the classes are called, the one that counts as 1 last: of numbers the
        greater, of words the later in the alphabet. No names where labels are numbers.

    Raises:
        ConfigError: A row has no label, classes are not two, or a number does not suit the family.
    """
    if family == "logistic":
        classes = classes_of(cells, column)
        if len(classes) != 2:
            raise ConfigError(
                f"column {shown(column)} has {len(classes)} "
                f"value{'' if len(classes) == 1 else 's'}: a logistic model tells two classes "
                "apart; choose another label or family"
            )
        return np.array([float(cell == classes[1]) for cell in cells]), tuple(classes)
    numbers = np.array([parse_number(cell) for cell in cells])
    for row in np.flatnonzero(np.isnan(numbers)).tolist():
        what = "no label" if fold(cells[row]) in MISSING_WORDS else shown(cells[row])
        raise ConfigError(
            f"column {shown(column)} has {what} in data row {row + 1}: a {family} model needs a "
            "number in every row"
        )
    check_labels(numbers, family)
    return numbers, ()


def read_classes(cells: Sequence[str], column: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Read labels of two classes or more: the number of each row's.

    Args:
        cells: The cells as written.
        column: Its name, for messages.

    Returns:
        (n,) numbers of classes, and what these are called: in the order of numbers or of the
        alphabet.

    Raises:
        ConfigError: A row has no label, or there are not 2 to 100 classes.
    """
    classes = classes_of(cells, column)
    if len(classes) < 2:
        raise ConfigError(
            f"column {shown(column)} has one value: choose another label, there is nothing to learn"
        )
    numbers = {name: float(number) for number, name in enumerate(classes)}
    return np.array([numbers[cell] for cell in cells]), tuple(classes)
