"""The key columns of whatever holds a table, without importing what made it.

Lists, arrays, Series and Arrow arrays are one column; data frames, Arrow tables and mappings of
columns have names; a path is a CSV file.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np

from psi.errors import ConfigError

__all__ = ["key_columns", "read_csv"]

Column: TypeAlias = Sequence[object]


def key_columns(table: Any, on: str | Sequence[str] | None, name: str) -> list[Column]:
    """The values of a table's key columns, one sequence a column, one value a row.

    Args:
        table: A list, tuple, one-dimensional array, Series or Arrow array (then `on` is None);
            or a data frame, Arrow table, mapping of columns or path of a CSV file.
        on: The name or names of the key columns.
        name: What to call the table in errors.

    Raises:
        ConfigError: The table is none of these, or lacks a column.
    """
    if isinstance(table, str | os.PathLike):
        table = read_csv(Path(table))
    names = _column_names(table)
    if names is None:
        if on is not None:
            raise ConfigError(f"{name} is one column of IDs: leave out `on`")
        return [_values(table, name)]
    if on is None:
        raise ConfigError(f"{name} is a table: say which columns hold the ID (`on`)")
    wanted = [on] if isinstance(on, str) else list(on)
    if not wanted or len(set(wanted)) != len(wanted):
        raise ConfigError("`on` names at least one column, and none twice")
    for column in wanted:
        if names.count(column) != 1:
            how_often = "no column" if column not in names else "more than one column"
            known = ", ".join(map(str, names))
            raise ConfigError(f"{name} has {how_often} {column!r}: it has {known}")
    return [_values(table[column], name) for column in wanted]


def read_csv(path: Path) -> dict[str, list[str]]:
    """Read a UTF-8 CSV file with a header into columns of text.

    Raises:
        ConfigError: It cannot be read, is empty, repeats a column or has rows of other lengths.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            rows = []
            for row in reader:
                if row and len(row) != len(header):
                    raise ConfigError(
                        f"{path}, line {reader.line_num}: {len(row)} fields, the header has "
                        f"{len(header)}"
                    )
                if row:
                    rows.append(row)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path} is no UTF-8 CSV file: {error}") from error
    if not header:
        raise ConfigError(f"{path} is empty: it needs a header")
    if len(set(header)) != len(header):
        raise ConfigError(f"{path} names a column twice in its header")
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in header]
    return dict(zip(header, columns, strict=True))


def _column_names(table: Any) -> list[object] | None:
    """The names of a table's columns, or None if it is a single column."""
    if isinstance(table, Mapping):
        return list(table)
    for attribute in ("column_names", "columns"):  # pyarrow; pandas and polars
        names = getattr(table, attribute, None)
        if names is not None:
            return list(names)
    return None


def _values(column: Any, name: str) -> Column:
    if isinstance(column, np.ndarray):
        if column.ndim != 1:
            raise ConfigError(f"{name}: an array of IDs has one dimension, not {column.ndim}")
        if column.dtype.kind == "M":  # finer units would come out as bare integers
            column = column.astype("datetime64[us]")
        return cast("Column", column.tolist())
    for method in ("to_pylist", "to_list"):  # Arrow; pandas and polars
        if hasattr(column, method):
            return cast("Column", getattr(column, method)())
    if isinstance(column, Sequence) and not isinstance(column, str | bytes):
        return column
    raise ConfigError(
        f"{name} is a {type(column).__name__}: pass a list, array, Series, data frame, Arrow table "
        "or the path of a CSV file"
    )
