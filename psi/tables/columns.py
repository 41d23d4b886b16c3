"""The key columns of any kind of table, without importing the library that made it."""

import decimal
import importlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError
from psi.kernels.texts import Texts
from psi.tables.files import load_table
from psi.tables.moments import arrow_moments, moment_texts, polars_moments

__all__ = ["Column", "key_columns", "key_names", "whole_numbers"]

Column: TypeAlias = Sequence[object]

# Types of fewer bits, by the name that pandas, Arrow or polars gives them.
_NARROW: dict[str, type[np.floating[Any]]] = {
    **dict.fromkeys(("float16", "Float16", "halffloat"), np.float16),
    **dict.fromkeys(("float32", "Float32", "float"), np.float32),
}


def key_names(on: str | Sequence[str] | None) -> list[str]:
    """Return the names of the key columns as a list; a nameless column's is "".

    Raises:
        ConfigError: There is no name, or one stands twice.
    """
    names = [""] if on is None else [on] if isinstance(on, str) else list(on)
    if not names or len(set(names)) != len(names):
        raise ConfigError("`on` names at least one column, and none twice")
    return names


def key_columns(table: Any, on: str | Sequence[str] | None, name: str) -> list[Column]:
    """Return the values of a table's key columns, one sequence per column, one value per row.

    Args:
        table: A list, tuple, range, one-dimensional array, Series or Arrow array (then `on` is
            None); or a data frame, Arrow table, mapping of columns, anything that exports an
            Arrow stream, or the path of a CSV or Parquet file.
        on: The name or names of the key columns.
        name: What to call the table in errors.

    Raises:
        ConfigError: The table is none of these, or lacks a column.
    """
    if isinstance(table, str | os.PathLike):
        table = load_table(Path(table))
    known = _column_names(table)
    is_column = hasattr(table, "to_list") or hasattr(table, "to_pylist")
    if known is None and hasattr(table, "__arrow_c_stream__") and not is_column:
        table = importlib.import_module("pyarrow").table(table)
        known = _column_names(table)
    wanted = key_names(on)
    if known is None:
        if on is not None:
            raise ConfigError(f"{name} is one column of IDs: leave out `on`")
        return [_values(table, name)]
    if on is None:
        raise ConfigError(f"{name} is a table: say which columns hold the ID (`on`)")
    for column in wanted:
        if known.count(column) != 1:
            how_often = "no column" if column not in known else "more than one column"
            raise ConfigError(f"{name} has {how_often} {column!r}: it has {', '.join(known)}")
    return [_values(table[column], name) for column in wanted]


def whole_numbers(table: Any, column: str, rows: NDArray[np.intp]) -> list[int]:
    """Return the whole numbers from 0 in some rows of a table's column.

    Args:
        table: As for `key_columns`.
        column: The name of the column.
        rows: The row numbers.

    Raises:
        ConfigError: There is no such column, or it holds something else; names rows, no values.
    """
    (values,) = key_columns(table, column, "the table")
    numbers = []
    for row in rows.tolist():
        try:
            number = decimal.Decimal(str(values[row]).strip())
        except decimal.InvalidOperation:
            number = decimal.Decimal("NaN")
        # Compare with 2^64 first: 1e999999999 as an integer would fill the memory.
        if not (number.is_finite() and 0 <= number < 1 << 64 and number == int(number)):
            raise ConfigError(
                f"column {column!r}, row {row}: a sum takes whole numbers from 0 (cents, not euros)"
            )
        numbers.append(int(number))
    return numbers


def _column_names(table: Any) -> list[str] | None:
    """Return the names of a table's columns, or None if it is a single column."""
    if isinstance(table, Mapping):
        return [str(name) for name in table]
    for attribute in ("column_names", "columns"):  # pyarrow; pandas and polars
        names = getattr(table, attribute, None)
        if names is not None:
            return [str(name) for name in names]
    return None


def _values(column: Any, name: str) -> Column:
    if isinstance(column, np.ndarray):
        if column.ndim != 1:
            raise ConfigError(f"{name}: an array of IDs has one dimension, not {column.ndim}")
        if column.dtype.kind == "M":  # Python's own type would lose digits
            return moment_texts(column)
        # Python's own types would hide how few bits a float has, and turn durations into numbers.
        exact = column.dtype.kind in "OUSiubc" or column.dtype == np.float64
        return cast("Column", column.tolist() if exact else list(column))
    if hasattr(column, "to_pylist"):
        return _arrow_values(column)
    if hasattr(column, "to_list"):  # pandas and polars
        kind = str(getattr(column, "dtype", ""))
        if hasattr(column, "to_physical") and kind.startswith("Datetime"):
            return polars_moments(column)
        return _floats_told_apart(column.to_list(), kind)
    if isinstance(column, Sequence) and not isinstance(column, str | bytes):
        return column
    raise ConfigError(
        f"{name} is a {type(column).__name__}: pass a list, array, Series, data frame, Arrow table "
        "or the path of a CSV or Parquet file"
    )


def _arrow_values(column: Any) -> Column:
    if str(column.type).startswith("dictionary<"):
        column = column.cast(column.type.value_type)
    kind = str(column.type)
    if kind.startswith("timestamp["):
        return arrow_moments(column)
    if kind in ("string", "large_string"):
        # A missing ID is an empty one: both match nothing.
        texts = Texts.of_arrow(column.fill_null("") if column.null_count else column)
        if texts is not None:
            return texts
    return _floats_told_apart(column.to_pylist(), kind)


def _floats_told_apart(values: Sequence[object], kind: str) -> Column:
    """Return floats with fewer bits than Python's in their own type: they name fewer integers."""
    narrow = _NARROW.get(kind)
    if narrow is None:
        return values
    return [narrow(value) if isinstance(value, float) else value for value in values]
