"""One company's table, and how its labels become what is trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.data import Schema
from privfed.errors import ConfigError
from privfed.vertical.encoding import own_schema
from privfed.vertical.labels import read_classes, read_labels
from privfed.vertical.roles import Family, Role

__all__ = ["CompanyTable", "LabelScale"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True)
class LabelScale:
    """How labels become what is trained on: (label - middle) / unit.

    Attributes:
        middle: The mean of a linear model's training labels; else 0.
        unit: Their deviation; the mean of counts; 1 for classes.
    """

    middle: float = 0.0
    unit: float = 1.0

    @classmethod
    def fit(cls, labels: Floats, family: Family) -> LabelScale:
        """Return the scale of training labels."""
        if family == "linear":
            return cls(float(labels.mean()), float(labels.std()))
        return cls(unit=float(labels.mean())) if family == "poisson" else cls()

    def scaled(self, labels: Floats) -> Floats:
        """Return labels as they are trained on."""
        return (labels - self.middle) / self.unit

    def scores(self, trained: Floats, family: Family) -> Floats:
        """Return scores of the labels themselves, from those of scaled ones."""
        if family == "poisson":
            return trained + math.log(self.unit)
        return trained * self.unit + self.middle


@dataclass(frozen=True, kw_only=True)
class CompanyTable:
    """A company's table, and what in it is what. Its repr shows no cell.

    Attributes:
        role: Whether the company holds labels.
        frame: Text cells.
        id_columns: The ID.
        label: The label column; None at the host.
        normalise: Steps that make IDs comparable, as of `psi`; the same at both sides.
        duplicates: What to do with an ID that repeats, as of `psi`: "error" or "first".
        schema: What its columns are; None: what they are by the values in them.
    """

    role: Role
    frame: pd.DataFrame = field(repr=False)
    id_columns: tuple[str, ...]
    label: str | None = None
    normalise: str | None = None
    duplicates: Literal["error", "first"] = "error"
    schema: Schema | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in (*self.id_columns, *([self.label] if self.label else [])):
            if name not in self.frame.columns:
                raise ConfigError(
                    f"the table has no column {name!r}: its columns are "
                    f"{', '.join(map(repr, map(str, self.frame.columns)))}"
                )
        if not self.id_columns:
            raise ConfigError("name the column of the ID")
        if self.label in self.id_columns:
            raise ConfigError("the ID is no label: name another column")
        if (self.role == "guest") != (self.label is not None):
            raise ConfigError(
                "the guest is the side with the labels: name its label column, and none at the host"
            )

    def labels(self, family: Family, *, many: bool = False) -> tuple[Floats, tuple[str, ...]]:
        """Return all rows' labels as numbers, and what classes are called; nothing at the host.

        Args:
            family: What the label is.
            many: Whether there can be more than two classes.

        Raises:
            ConfigError: They are not of the family.
        """
        if self.label is None:
            return np.empty(0), ()
        cells = [str(cell) for cell in self.frame[self.label]]
        if many and family == "logistic":
            return read_classes(cells, self.label)
        return read_labels(cells, family, self.label)

    @cached_property
    def described(self) -> Schema:
        """What its columns are.

        Raises:
            ConfigError: A column cannot be used, or it has to be said what it is.
        """
        return self.schema or own_schema(self.features)

    @property
    def features(self) -> pd.DataFrame:
        """Its columns but ID and label.

        Raises:
            ConfigError: There is none.
        """
        named = {*self.id_columns, self.label}
        features = self.frame[[name for name in self.frame.columns if name not in named]]
        if not features.columns.size:
            raise ConfigError("the table has no column beside ID and label: there is no feature")
        return features
