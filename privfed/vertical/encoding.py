"""One company's table as the columns of a linear model; nothing here is sent to anybody.

The schema says what a column is: it counts as public, and is the table's own where none was agreed
on. A number becomes its value, and a flag "is missing" where rows of the fit lack it; a text column
one feature for each category that rows of the fit have, but the commonest, which is the reference.
Features are centred and scaled by the rows of the fit. So a number that is missing is 0 exactly,
and so is nothing else: a new row's number outside the schema's range is taken as the nearest in it,
and a category that no row of the fit had counts as the reference.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.data import CategoricalColumn, Encoder, NumericColumn, Schema
from privfed.data.cleaning import Cleaned, clean
from privfed.data.schema import named, shown
from privfed.data.understanding import schema_of, understand, usable
from privfed.errors import ConfigError, DecodeError

MOST_FEATURES = 4096
_FORMAT: Literal["privfed vertical encoder 1"] = "privfed vertical encoder 1"
_CONSTANT = 1e-12  # a share of the public range: what varies less is rounding

Finite = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
_Positive = Annotated[float, msgspec.Meta(gt=0.0, le=1e300)]


class BlockFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `BlockEncoder` as data only, to be kept in its owner's half of a model."""

    encoder: dict[str, Any]
    kept: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    middles: tuple[Finite, ...]
    scales: tuple[_Positive, ...]
    rows: Annotated[int, msgspec.Meta(ge=1)]
    support: tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
    format: Literal["privfed vertical encoder 1"] = _FORMAT


@dataclass(frozen=True, eq=False)
class BlockEncoder:
    """Turns a company's rows into standardised features. Its repr shows no number of any row.

    Attributes:
        encoder: The public part: schema and one-hot features.
        kept: The encoder's features that the model has, by number.
        middles: The mean of each kept feature over the rows of the fit.
        scales: The standard deviation of each there.
        rows: The rows of the fit.
        support: How many rows of the fit differ from the commonest value of each.
    """

    encoder: Encoder
    kept: tuple[int, ...]
    middles: NDArray[np.float64] = field(repr=False)
    scales: NDArray[np.float64] = field(repr=False)
    rows: int
    support: tuple[int, ...] = field(repr=False)

    @classmethod
    def fit(
        cls,
        frame: pd.DataFrame,
        *,
        id_column: str | None = None,
        label_column: str | None = None,
        schema: Schema | None = None,
        least_rows: int = 0,
    ) -> BlockEncoder:
        """Fit an encoder to the rows that a company trains on.

        Args:
            frame: Text cells; ID and label columns may be there and are no features.
            id_column: The ID column; None: as the schema says.
            label_column: The label column; None: as the schema says.
            schema: What was agreed on in public; None: read from these rows.
            least_rows: A category that fewer rows have counts as the reference, and "is missing"
                of fewer rows as nothing: such a feature would tell of these few.

        Returns:
            The encoder.

        Raises:
            ConfigError: There is no row or no feature, columns do not fit the schema, a column has
                one value in all rows, a number column has a cell that is no number, or there are
                more than `MOST_FEATURES`.
        """
        if frame.empty:
            raise ConfigError("there are no rows to learn from: give a table with rows")
        schema = schema or read_schema(frame, id_column, label_column)
        if not schema.columns:
            raise ConfigError("the table has no column beside ID and label: add what to learn from")
        encoder = Encoder(schema, "onehot")
        cleaned = cleaned_features(frame, schema)
        dense = _filled(encoder, cleaned, None)
        spread, middles = dense.std(axis=0), dense.mean(axis=0)
        varies = spread > _CONSTANT * np.maximum(1.0, np.abs(middles))
        support = [
            _support(feature) if v else 0 for feature, v in zip(dense.T, varies, strict=True)
        ]
        constant, kept = [], list[int]()
        for column, own in zip(schema.columns, _places(encoder), strict=True):
            varying = [place for place in own if varies[place]]
            if not varying:
                constant.append(column.name)
                continue
            is_text = isinstance(column, CategoricalColumn)
            # Of yes and no, as of categories, few rows' would tell of these few.
            yes_no = isinstance(column, NumericColumn) and column.notation.kind == "yes-no"
            number = -1 if is_text or yes_no else own[0]
            reference = max(own, key=lambda place: middles[place]) if is_text else -1
            kept += [
                place
                for place in varying
                if place == number or (support[place] >= least_rows and place != reference)
            ]
        if constant:
            raise ConfigError(
                f"{'columns' if len(constant) > 1 else 'column'} "
                f"{', '.join(map(shown, constant))} {'have' if len(constant) > 1 else 'has'} one "
                f"value in all {len(frame)} rows: leave out what cannot tell rows apart"
            )
        if not kept:
            raise ConfigError(
                f"no column tells {least_rows} rows or more from the others: add such a column, or "
                "join categories"
            )
        if len(kept) > MOST_FEATURES:
            raise ConfigError(
                f"{len(kept)} features, at most {MOST_FEATURES} are learned from: join categories"
            )
        return cls(
            encoder,
            tuple(kept),
            middles[kept],
            spread[kept],
            len(frame),
            tuple(support[place] for place in kept),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """One name per feature, such as "income" or "city=Lyon"."""
        every = self.encoder.feature_names
        return tuple(every[place] for place in self.kept)

    def matrix(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Encode rows to (n, features), standardised as the rows of the fit were.

        Args:
            frame: Text cells; ID and label columns may be there or not.

        Returns:
            The features; all numbers are finite.

        Raises:
            ConfigError: A column of the schema is absent.
        """
        schema = self.encoder.schema
        filled = np.zeros(self.encoder.num_features)
        filled[list(self.kept)] = self.middles
        dense = _filled(self.encoder, cleaned_features(frame, schema), filled)
        standard: NDArray[np.float64] = (dense[:, list(self.kept)] - self.middles) / self.scales
        return standard

    def rare_columns(self, least: int) -> tuple[str, ...]:
        """Name the features whose commonest value all but fewer than so many rows of the fit have.

        The coefficient of such a feature says much about these few rows' labels.

        Args:
            least: The least number of rows.

        Returns:
            Their names.
        """
        pairs = zip(self.names, self.support, strict=True)
        return tuple(name for name, rows in pairs if rows < least)

    def to_fields(self) -> BlockFields:
        """Return the encoder as data, from which `from_fields` makes an equal one."""
        return BlockFields(
            json.loads(self.encoder.to_json()),
            self.kept,
            tuple(self.middles.tolist()),
            tuple(self.scales.tolist()),
            self.rows,
            self.support,
        )

    @classmethod
    def from_fields(cls, fields: BlockFields) -> BlockEncoder:
        """Return the encoder that `to_fields` wrote.

        Raises:
            DecodeError: The fields contradict each other.
        """
        encoder = Encoder.from_json(json.dumps(fields.encoder))
        lengths = {len(fields.kept), *map(len, (fields.middles, fields.scales, fields.support))}
        ascending = list(fields.kept) == sorted(set(fields.kept))
        if (
            encoder.encoding != "onehot"
            or encoder.centred
            or len(lengths) != 1
            or not ascending
            or not fields.kept
            or len(fields.kept) > MOST_FEATURES
            or fields.kept[-1] >= encoder.num_features
        ):
            raise DecodeError(
                "the saved columns of a vertical model contradict each other: take the file that "
                "training wrote"
            )
        middles, scales = np.array(fields.middles), np.array(fields.scales)
        return cls(encoder, fields.kept, middles, scales, fields.rows, fields.support)


def read_schema(frame: pd.DataFrame, id_column: str | None, label_column: str | None) -> Schema:
    """Return what the columns of rows are, by the values in them.

    Args:
        frame: Text cells.
        id_column: The ID column, if there is one; no feature.
        label_column: The label column, if there is one; no feature.

    Raises:
        ConfigError: There is no such column, one cannot be used, or it has to be said what it is.
    """
    for name in (id_column, label_column):
        if name is not None and name not in frame.columns:
            raise ConfigError(
                f"there is no column {shown(name)}: name one of "
                f"{named([str(column) for column in frame.columns])}"
            )
    known = {id_column, label_column}
    features = frame[[name for name in frame.columns if name not in known]]
    return replace(own_schema(features), id_column=id_column, label_column=label_column)


def own_schema(features: pd.DataFrame) -> Schema:
    """Return what the columns of a company's table are, by the values in them.

    Raises:
        ConfigError: A column cannot be used, or it has to be said what it is.
    """
    lines = range(2, len(features) + 2)
    names = [str(name) for name in features.columns]
    return schema_of(usable(understand(features, names, lines, suspect=False)))


def cleaned_features(frame: pd.DataFrame, schema: Schema) -> Cleaned:
    """Return the schema's columns of a table, cleaned; ID and label may be there or not.

    Raises:
        ConfigError: A column of the schema is absent.
    """
    known = {schema.normal(name) for name in (schema.id_column, schema.label_column) if name}
    features = [str(name) for name in frame.columns if schema.normal(str(name)) not in known]
    names = schema.match_headers(features, label=False, where="the table")
    return clean(frame[features].rename(columns=names), schema)


def _places(encoder: Encoder) -> list[Sequence[int]]:
    """Return each column's features, by their number."""
    found, start = list[Sequence[int]](), 0
    for column in encoder.columns:
        width = column.num_codes if isinstance(column, CategoricalColumn) else 1 + column.optional
        found.append(range(start, start + width))
        start += width
    return found


def _filled(
    encoder: Encoder, cleaned: Cleaned, middles: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return one-hot features whose missing numbers are the mean: given, or that of these rows."""
    dense = encoder.features(cleaned).astype(np.float64)
    for values, column, own in zip(
        cleaned.values.T, encoder.columns, _places(encoder), strict=True
    ):
        if isinstance(column, CategoricalColumn):
            continue
        missing = np.isnan(values)
        if not missing.any():
            continue
        known = dense[~missing, own[0]]
        own_mean = known.mean() if len(known) else 0.0
        dense[missing, own[0]] = own_mean if middles is None else middles[own[0]]
    return dense


def _support(feature: NDArray[np.float64]) -> int:
    """Count the rows that differ from the commonest value."""
    return len(feature) - int(np.unique(feature, return_counts=True)[1].max())
