"""A company's common rows as a linear model's training takes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.data import Schema
from privfed.errors import ConfigError
from privfed.vertical.company import CompanyTable, LabelScale
from privfed.vertical.encoding import BlockEncoder
from privfed.vertical.linear.rows import with_intercept
from privfed.vertical.linear.terms import BlockShape, LinearChoice
from privfed.vertical.linear.whitening import Whitening
from privfed.vertical.roles import Role

__all__ = ["CommonRows"]

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]


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
    def of(cls, table: CompanyTable, rows: Rows, choice: LinearChoice) -> CommonRows:
        """Return what a table brings of these rows.

        Raises:
            ConfigError: It cannot train, or more rows are held out than may be answered.
        """
        guest = table.role == "guest"
        labels, classes = table.labels(choice.family)
        tests = len(rows) * choice.test_percent // 100
        choice.check_tests(tests)
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


def _fitted(frame: pd.DataFrame, schema: Schema, choice: LinearChoice, role: Role) -> BlockEncoder:
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
