"""One company's columns as codes of bins, and the splits between them; all of it stays at home.

Rows without a value are tried on both sides where there are `least_rows` of them, and else go with
the more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.data import CategoricalColumn, Encoder, Schema
from privfed.errors import ConfigError, DecodeError
from privfed.vertical.encoding import cleaned_features, read_schema
from privfed.vertical.trees.columns import ColumnBins
from privfed.vertical.trees.splits import Codes, Splits
from privfed.vertical.trees.subsets import MISSING

__all__ = ["MOST_BINS", "Binning", "BinningFields"]

MOST_BINS = 254
_CONTRADICTION = (
    "the saved bins of a vertical model contradict each other: take the file that training wrote"
)
_FORMAT: Literal["privfed vertical bins 1"] = "privfed vertical bins 1"

_Code = Annotated[int, msgspec.Meta(ge=0, le=MISSING)]
_Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]


class BinningFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `Binning` as data only, to be kept in its owner's half of a model."""

    encoder: dict[str, Any]
    edges: tuple[tuple[_Finite, ...], ...]
    places: tuple[tuple[_Code, ...], ...]
    column: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    low: tuple[_Code, ...]
    high: tuple[_Code, ...]
    missing_left: tuple[bool, ...]
    rows: Annotated[int, msgspec.Meta(ge=1)]
    format: Literal["privfed vertical bins 1"] = _FORMAT


@dataclass(frozen=True, eq=False)
class Binning:
    """Turns a company's rows into codes. Its repr shows no number of any row.

    Attributes:
        schema: What the columns are.
        columns: The bins of each.
        splits: The splits between bins.
        rows: The rows of the fit.
    """

    schema: Schema
    columns: tuple[ColumnBins, ...] = field(repr=False)
    splits: Splits = field(repr=False)
    rows: int

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        *,
        id_column: str | None = None,
        label_column: str | None = None,
        schema: Schema | None = None,
        bins: int = 32,
        least_rows: int = 10,
    ) -> Binning:
        """Fit bins to the rows that a company trains on.

        Args:
            frame: Text cells; ID and label columns may be there and are no features.
            id_column: The ID column; None: as the schema says.
            label_column: The label column; None: as the schema says.
            schema: What was agreed on in public; None: read from these rows.
            bins: How many a column has at most, beside that of missing values.
            least_rows: How many rows a bin holds at least.

        Returns:
            The bins.

        Raises:
            ConfigError: There is no row or no feature, columns do not fit the schema, there are too
                many bins, or no split has enough rows on both sides.
        """
        if frame.empty:
            raise ConfigError("there are no rows to learn from: give a table with rows")
        if not 2 <= bins <= MOST_BINS or least_rows < 1:
            raise ConfigError(
                f"{bins} bins of at least {least_rows} rows each: give 2 to {MOST_BINS} bins of "
                "1 row or more"
            )
        schema = schema or read_schema(frame, id_column, label_column)
        if not schema.columns:
            raise ConfigError("the table has no column beside ID and label: add what to learn from")
        values = cleaned_features(frame, schema).values
        columns = tuple(
            ColumnBins.fit(column, own, bins, least_rows)
            for column, own in zip(schema.columns, values.T, strict=True)
        )
        codes = _codes(columns, values)
        splits = Splits.between(
            codes,
            tuple(column.count for column in columns),
            tuple(column.ordered for column in columns),
            least_rows,
        )
        if not len(splits):
            raise ConfigError(
                f"no column tells {least_rows} rows or more from the others: add such a column, or "
                "join categories"
            )
        return cls(schema, columns, splits, len(frame))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.schema.columns)

    def codes(self, frame: pd.DataFrame) -> Codes:
        """Return rows as codes, (columns, rows).

        Args:
            frame: Text cells; ID and label columns may be there or not.

        Raises:
            ConfigError: A column of the schema is absent.
        """
        return _codes(self.columns, cleaned_features(frame, self.schema).values)

    def to_fields(self) -> BinningFields:
        """Return the bins as data, from which `from_fields` makes equal ones."""
        return BinningFields(
            json.loads(Encoder(self.schema).to_json()),
            tuple(column.edges for column in self.columns),
            tuple(column.places for column in self.columns),
            tuple(self.splits.column.tolist()),
            tuple(self.splits.low.tolist()),
            tuple(self.splits.high.tolist()),
            tuple(self.splits.missing_left.tolist()),
            self.rows,
        )

    @classmethod
    def from_fields(cls, fields: BinningFields) -> Binning:
        """Return the bins that `to_fields` wrote.

        Raises:
            DecodeError: The fields contradict each other.
        """
        schema = Encoder.from_json(json.dumps(fields.encoder)).schema
        if not len(schema.columns) == len(fields.edges) == len(fields.places):
            raise DecodeError(_CONTRADICTION)
        parts = zip(schema.columns, fields.edges, fields.places, strict=True)
        columns = tuple(ColumnBins(*part) for part in parts)
        if not all(map(_whole, columns)):
            raise DecodeError(_CONTRADICTION)
        lengths = {*map(len, (fields.column, fields.low, fields.high, fields.missing_left))}
        ranges = zip(fields.column, fields.low, fields.high, strict=False)
        if len(lengths) != 1 or not fields.column or not all(
            column < len(columns) and low <= high < columns[column].count
            for column, low, high in ranges
        ):  # fmt: skip
            raise DecodeError(_CONTRADICTION)
        splits = Splits(
            np.array(fields.column, np.int64),
            np.array(fields.low, np.uint8),
            np.array(fields.high, np.uint8),
            np.array(fields.missing_left, np.bool_),
        )
        return cls(schema, columns, splits, fields.rows)


def _whole(bins: ColumnBins) -> bool:
    """Tell whether a column's edges or places are such as a fit makes."""
    if bins.count > MOST_BINS:
        return False
    if isinstance(bins.column, CategoricalColumn):
        return not bins.edges and len(bins.places) == bins.column.num_codes
    ascending = all(a < b for a, b in zip(bins.edges, bins.edges[1:], strict=False))
    return not bins.places and ascending


def _codes(columns: tuple[ColumnBins, ...], values: NDArray[np.float64]) -> Codes:
    pairs = zip(columns, values.T, strict=True)
    return np.ascontiguousarray([column.codes(own) for column, own in pairs], dtype=np.uint8)
