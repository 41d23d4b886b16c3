"""One company's table, and its common rows as training takes them."""

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
from privfed.vertical.encoding import BlockEncoder, own_schema
from privfed.vertical.labels import read_labels
from privfed.vertical.linear.rows import with_intercept
from privfed.vertical.linear.shapes import BlockShape
from privfed.vertical.linear.whitening import Whitening
from privfed.vertical.roles import Family, Role
from privfed.vertical.terms import VerticalChoice

__all__ = ["CommonRows", "CompanyTable", "LabelScale"]

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

    def labels(self, family: Family) -> tuple[Floats, tuple[str, ...]]:
        """Return all rows' labels as numbers, and what 0 and 1 are called; nothing at the host.

        Raises:
            ConfigError: They are not of the family.
        """
        if self.label is None:
            return np.empty(0), ()
        return read_labels([str(cell) for cell in self.frame[self.label]], family, self.label)

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


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CommonRows:
    """A company's common rows, as training takes them.

    Attributes:
        rows: Which of the table's they are, in the order that both sides have.
        tests: How many first ones are held out.
        encoder: Its table's columns, by the rows that train.
        whitening: What is done to these.
        block: All of the rows, standardised.
        whitened: Those that train, whitened; the guest's with its intercept.
        labels: The guest's, of all of them; empty at the host.
        classes: What its labels 0 and 1 are called.
        scale: How its labels are scaled.
    """

    rows: Rows
    tests: int
    encoder: BlockEncoder
    whitening: Whitening
    block: Floats
    whitened: Floats
    labels: Floats
    classes: tuple[str, ...]
    scale: LabelScale

    @classmethod
    def of(cls, table: CompanyTable, rows: Rows, choice: VerticalChoice) -> CommonRows:
        """Return what a table brings of these rows.

        Raises:
            ConfigError: It cannot train, or more rows are held out than may be answered.
        """
        guest = table.role == "guest"
        labels, classes = table.labels(choice.family)
        tests = len(rows) * choice.test_percent // 100
        if tests > choice.predictions:
            raise ConfigError(
                f"{tests} rows are held out, and the model may answer {choice.predictions} in all: "
                "allow more predictions at both companies, or hold out fewer rows"
            )
        features, train = table.features, rows[tests:]
        rows_of_fit = features.iloc[train].reset_index(drop=True)
        encoder = _fitted(rows_of_fit, table.described, choice, table.role)
        block = encoder.matrix(features.iloc[rows].reset_index(drop=True))
        ridge = choice.penalty * (4 if choice.family == "logistic" else 1)
        whitening = Whitening.fit(block[tests:], ridge)
        whitened = block[tests:] @ whitening.matrix
        return cls(
            rows=rows,
            tests=tests,
            encoder=encoder,
            whitening=whitening,
            block=block,
            whitened=with_intercept(whitened) if guest else whitened,
            labels=labels[rows] if guest else labels,
            classes=classes,
            scale=LabelScale.fit(labels[train], choice.family) if guest else LabelScale(),
        )

    @property
    def shape(self) -> BlockShape:
        """What the other side is told of them."""
        return BlockShape(len(self.whitened), self.block.shape[1], self.whitened.shape[1])

    @property
    def scaled_labels(self) -> Floats:
        """The labels that train, as they are trained on."""
        return self.scale.scaled(self.labels[self.tests :])


def _fitted(
    frame: pd.DataFrame, schema: Schema, choice: VerticalChoice, role: Role
) -> BlockEncoder:
    """Return the encoder of training rows; the host's columns tell apart enough rows each."""
    least = choice.least_rows if role == "host" and choice.coefficients == "own" else 0
    encoder = BlockEncoder.fit(frame, schema=schema, least_rows=least)
    rare = encoder.rare_columns(least)
    if rare:
        raise ConfigError(
            f"{', '.join(map(repr, rare))} differ from the commonest value in fewer than {least} "
            "of the common rows: their coefficients would tell these rows' labels; leave these "
            'columns out, or keep coefficients="shared" at both sides'
        )
    return encoder
