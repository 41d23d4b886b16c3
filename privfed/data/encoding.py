"""Cleaned rows → features, by a schema that was public before anyone trained."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np
import pandas as pd
from msgspec import structs
from numpy.typing import NDArray

from privfed.data.cleaning import Cleaned, clean
from privfed.data.files import read_text_table
from privfed.data.notation import PLAIN, Notation
from privfed.data.schema import CategoricalColumn, Column, NumericColumn, Schema, shown
from privfed.errors import ConfigError, DecodeError
from psi.storage import json_as, json_read

Encoding = Literal["codes", "onehot"]

_FORMAT, _VERSION = "privfed-encoder", 1
_MAX_JSON_CHARACTERS = 2**26
# In `codes` a missing number becomes one outside the scaled range [0, 1].
_MISSING_NUMBER = -1.0


@dataclass(frozen=True)
class Encoder:
    """Turns raw rows into features; it is fitted on no rows, so every party has the same one.

    `codes` gives one feature per column (the paper's encoding): text columns their integer code,
    numeric ones their number scaled to [0, 1] by the public range, -1 where missing. A column
    with `raw_codes` keeps its number, and `missing_as` where missing.

    `onehot` gives a text column one feature for each code, missing and other included, and a
    numeric one its scaled number, followed by a 0/1 "is missing" where the column is optional.

    Attributes:
        schema: The public code table.
        encoding: "codes" or "onehot".
        centred: Whether `middles` are subtracted, as private training wants it.

    Raises:
        ConfigError: On construction, the encoding is unknown.
    """

    schema: Schema
    encoding: Encoding = "codes"
    centred: bool = False

    def __post_init__(self) -> None:
        if self.encoding not in get_args(Encoding):
            raise ConfigError(f"unknown encoding {shown(self.encoding)}: use codes or onehot")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The feature columns in order."""
        return self.schema.columns

    @property
    def feature_names(self) -> tuple[str, ...]:
        """One name per feature, such as "Rating" or "Season=summer"."""
        names: list[str] = []
        for column in self.columns:
            if self.encoding == "codes":
                names.append(column.name)
            elif isinstance(column, CategoricalColumn):
                codes = range(column.num_codes)
                names += [f"{column.name}={column.meaning(code)}" for code in codes]
            else:
                names += [column.name] + [f"{column.name}=missing"] * column.optional
        return tuple(names)

    @property
    def num_features(self) -> int:
        """The width of a row of features, whatever rows are given."""
        return len(self.feature_names)

    @property
    def middles(self) -> NDArray[np.float32]:
        """The middle of each feature's public range, by the schema alone, (num_features,).

        It is that of the values that are known: of a column's codes or numbers, and of the corners
        of a one-hot column, 1/k each. What says "missing" stands apart from numbers, and does not
        count; a flag of it has the middle 0.
        """
        return np.array([each for c in self.columns for each in self._middles(c)], np.float32)

    def _middles(self, column: Column) -> list[float]:
        if isinstance(column, CategoricalColumn):
            if self.encoding == "codes":
                return [column.other_code / 2]
            return [1 / column.num_codes] * column.num_codes
        span = column.high - column.low
        if self.encoding == "codes":
            return [column.low + span / 2 if column.raw_codes else _middle_scaled(span)]
        return [_middle_scaled(span)] + [0.0] * column.optional

    def encode(self, raw: pd.DataFrame) -> tuple[NDArray[np.float32], list[tuple[int, str, str]]]:
        """Clean and encode raw rows.

        Args:
            raw: Text cells (None and NaN are empty ones); headers as the schema reads them, ID and
                label columns optional.

        Returns:
            The features, (n, num_features) float32, and (row, column, value) for each value that
            the code table does not know or that is outside its public range; rows count from 0.

        Raises:
            ConfigError: A column is absent or unknown, or a needed number is missing.
        """
        names = self.schema.match_headers(list(raw.columns), label=False, where="the table")
        cleaned = clean(raw.rename(columns=names), self.schema)
        return self.features(cleaned), list(cleaned.unseen)

    def features(self, cleaned: Cleaned) -> NDArray[np.float32]:
        """Encode rows that this encoder's schema has cleaned, to (n, num_features) float32."""
        parts = [
            self._categorical(values, column)
            if isinstance(column, CategoricalColumn)
            else self._numeric(values, column)
            for values, column in zip(cleaned.values.T, self.columns, strict=True)
        ]
        features = np.concatenate([part.astype(np.float32) for part in parts], axis=1)
        return features - self.middles if self.centred else features

    def _categorical(self, codes: NDArray[Any], column: CategoricalColumn) -> NDArray[Any]:
        if self.encoding == "codes":
            return codes[:, None]
        return np.eye(column.num_codes, dtype=np.float32)[codes.astype(np.intp)]

    def _numeric(self, numbers: NDArray[Any], column: NumericColumn) -> NDArray[Any]:
        missing = np.isnan(numbers)
        span = column.high - column.low
        scaled = (numbers - column.low) / span if span > 0 else np.zeros_like(numbers)
        if self.encoding == "onehot":
            known = np.where(missing, 0.0, scaled)[:, None]
            return np.hstack([known, missing[:, None]]) if column.optional else known
        absent = _MISSING_NUMBER if column.missing_as is None else column.missing_as
        return np.where(missing, absent, numbers if column.raw_codes else scaled)[:, None]

    def to_json(self) -> str:
        """Return the encoder as JSON, from which `from_json` makes an equal one."""
        plain = {"format": _FORMAT, "version": _VERSION, **asdict(self)}
        # What an earlier version did not know is left out where nothing is said.
        for part, defaults in ((plain["schema"], _LATER_SCHEMA), *_later(plain["schema"])):
            for name, default in defaults.items():
                if part[name] == default:
                    del part[name]
        return json.dumps(plain, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Encoder:
        """Return the encoder that `to_json` wrote.

        Raises:
            DecodeError: The text is no encoder.
        """
        if len(text) > _MAX_JSON_CHARACTERS:
            raise DecodeError(f"an encoder of {len(text)} characters: {_MAX_JSON_CHARACTERS} max")
        try:
            found = json_read(text, _EncoderFields)
            columns = tuple(map(_column, found.schema.columns))
            return cls(
                Schema(**structs.asdict(found.schema) | {"columns": columns}),
                found.encoding,
                found.centred,
            )
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise DecodeError(
                f"not an encoder of {_FORMAT} version {_VERSION} ({type(error).__name__}): "
                "take the file that training wrote"
            ) from None


def width(column: Column, encoding: Encoding) -> int:
    """Return how many features a column becomes."""
    if encoding == "codes":
        return 1
    return column.num_codes if isinstance(column, CategoricalColumn) else 1 + column.optional


def coding(column: Column, encoding: Encoding) -> str:
    """Return in words what a column becomes."""
    if isinstance(column, CategoricalColumn):
        if encoding == "onehot":
            return f"{column.num_codes} features: categories, missing, other"
        order = "in order of size" if column.ordinal else "alphabetically"
        return f"0 missing, 1 to {column.other_code} {order}"
    low, high = map(column.notation.written, (column.low, column.high))
    scaled = f"{low} to {high} " + ("as it is" if column.raw_codes else "as 0 to 1")
    if column.notation.kind == "yes-no":
        scaled = "no 0, yes 1"
    if not column.optional:
        return scaled
    if encoding == "onehot":
        return f"{scaled}, and 0 or 1: missing"
    absent = _MISSING_NUMBER if column.missing_as is None else column.missing_as
    return f"{scaled}; missing {absent:g}"


def _middle_scaled(span: float) -> float:
    return 0.5 if span > 0 else 0.0  # where a range is one number, it is scaled to 0


def read_new_rows(path: str | os.PathLike[str], encoder: Encoder) -> pd.DataFrame:
    """Read rows without a label, to be judged by a trained model.

    Args:
        path: A CSV, XLSX or Parquet file with the encoder's columns; ID and label columns may be
            there.
        encoder: The encoder that the model was trained with.

    Returns:
        (n, columns) text cells under the schema's names: first the ID, where the file has it,
        then the feature columns, then the label, where the file has it.

    Raises:
        ConfigError: The file cannot be read, or its columns are not the encoder's.
    """
    frame, schema = read_text_table(path).frame, encoder.schema
    names = schema.match_headers(list(frame.columns), label=False, where=str(Path(path)))
    frame = frame.rename(columns=names)
    order = [schema.id_column, *(column.name for column in schema.columns), schema.label_column]
    return frame[[name for name in order if name in frame.columns]]


def _later(schema: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(each, _LATER_NUMERIC) for each in schema["columns"] if "notation" in each]


_LATER_SCHEMA: dict[str, Any] = {"ignored": ()}
_LATER_NUMERIC: dict[str, Any] = {"notation": asdict(PLAIN), "missing_words": ()}


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    """What JSON must hold, all of it and no more."""


class _CategoricalFields(_Fields):
    name: str
    categories: tuple[str, ...]
    spellings: dict[str, Any]
    ordinal: bool


class _NumericFields(_Fields):
    name: str
    low: int | float
    high: int | float
    optional: bool
    raw_codes: bool
    missing_as: int | float | None
    notation: Notation = PLAIN
    missing_words: tuple[str, ...] = ()


class _SchemaFields(_Fields):
    columns: list[dict[str, Any]]
    id_column: str | None
    label_column: str | None
    folded: bool
    aliases: dict[str, str]
    ignored: tuple[str, ...] = ()


class _EncoderFields(_Fields):
    format: Literal["privfed-encoder"]
    version: Literal[1]
    encoding: Encoding
    schema: _SchemaFields
    centred: bool = False  # older encoders do not say


def _column(plain: dict[str, Any]) -> Column:
    if "categories" in plain:
        return CategoricalColumn(**structs.asdict(json_as(plain, _CategoricalFields, "a column")))
    fields = json_as(plain, _NumericFields, "a column")
    return NumericColumn(**{name: getattr(fields, name) for name in fields.__struct_fields__})
