"""A user's own table, from a CSV, XLSX or Parquet file or a data frame, with its label named."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from privfed.data.dataset import Dataset, assemble
from privfed.data.encoding import Encoder, Encoding, width
from privfed.data.files import TextTable, read_text_table, text_table
from privfed.data.labels import described_label, read_label
from privfed.data.schema import MISSING_WORDS, fold, named, shown
from privfed.data.schema_file import SchemaFile
from privfed.data.understanding import ColumnReading, described, schema_of, understand, usable
from privfed.defaults import OWN_ENCODING
from privfed.errors import ConfigError

MAX_FEATURE_BYTES = 2**31  # of all rows' features: one-hot columns can be very wide
SCHEMA_IS_PUBLIC = (
    "columns, categories and ranges, which are read from the table where no schema file says them, "
    "count as public, outside every ε"
)

Table = str | os.PathLike[str] | pd.DataFrame | TextTable
"""A user's own table: the path of its file, a data frame, or what was read of one."""

SchemaPath = str | os.PathLike[str] | SchemaFile
"""A schema file, or what was read of one."""


@dataclass(frozen=True, kw_only=True)
class TableReading:
    """How a table is understood.

    Attributes:
        name: The file's name without its ending.
        source: The file's name.
        rows: How many.
        columns: Each of its columns, in order.
    """

    name: str
    source: str
    rows: int
    columns: tuple[ColumnReading, ...]

    def name_of(self, role: str) -> str | None:
        """Return the name of the first column of a role; None where there is none."""
        return next((each.name for each in self.columns if each.role == role), None)


def inspect_table(
    table: Table,
    *,
    label: str | None = None,
    id_column: str | None = None,
    schema: SchemaPath | None = None,
) -> TableReading:
    """Say how the columns of a table are understood; what is doubtful is a question in it.

    Args:
        table: A CSV, XLSX or Parquet file, or a data frame.
        label: The label column, if it is known.
        id_column: The ID column, if the table has one.
        schema: A schema file that describes all columns; None: they are read from the values.

    Returns:
        A reading of each column.

    Raises:
        ConfigError: The table or the schema file cannot be read or do not fit, or a named column
            is absent.
    """
    return _inspect(_text(table), _source(table), label, id_column, schema)


def load_own_table(
    table: Table,
    *,
    label: str | None,
    id_column: str | None = None,
    encoding: Encoding = OWN_ENCODING,
    schema: SchemaPath | None = None,
) -> Dataset:
    """Return the data set in a table whose columns are understood as `inspect_table` says.

    **What is read from the rows counts as public**: parties that must not tell each other which
    values occur have to agree on a schema file beforehand.

    Args:
        table: A CSV, XLSX or Parquet file, or a data frame.
        label: The label column: two or more values (at most 100), which become the classes in
            order, numbers by size; or a number, as `privfed.data.labels` tells them apart. None: as
            the schema file says.
        id_column: The ID column, if the table has one. It is never a feature.
        encoding: "onehot" or "codes".
        schema: A schema file, as of `inspect_table`.

    Raises:
        ConfigError: As of `inspect_table`; the label is not named, has one value only, too many,
            or dates; a cell of it is none of these; a column cannot be used or is doubtful; or the
            features are too many to hold.
    """
    text, source = _text(table), _source(table)
    found = _inspect(text, source, label, id_column, schema)
    if found.name_of("label") is None:
        names = named(list(text.frame.columns))
        raise ConfigError(f"say which column is the label: `label`, one of {names}")
    usable(found.columns)
    encoder = Encoder(schema_of(found.columns), encoding)
    size = encoder.num_features * len(text.frame) * np.dtype(np.float32).itemsize
    if size > MAX_FEATURE_BYTES:
        widest = max(encoder.columns, key=lambda column: width(column, encoding))
        raise ConfigError(
            f"{encoder.num_features} features of {len(text.frame)} rows take {size / 2**30:.1f} "
            f"GiB: join rare categories, of {shown(widest.name)} first, or leave columns out"
        )
    target = next(each for each in found.columns if each.role == "label")
    return assemble(
        text.frame,
        encoder,
        kind="table",
        name=found.name,
        source="own table, a data frame" if isinstance(table, pd.DataFrame)
        else f"own table, {source}",
        sha256=text.sha256,
        classes=target.classes,
        class_names=target.classes,
        number=target.number,
        where=source,
        readings=found.columns,
    )  # fmt: skip


def _inspect(
    text: TextTable,
    source: str,
    label: str | None,
    id_column: str | None,
    schema: SchemaPath | None,
) -> TableReading:
    frame, headers = text.frame, list(text.frame.columns)
    for option, column in (("label", label), ("id_column", id_column)):
        if column is not None and column not in headers:
            raise ConfigError(
                f"{source} has no column {shown(column)}: give `{option}` one of {named(headers)}"
            )
    if label is not None and label == id_column:
        raise ConfigError(f"column {shown(label)} cannot be both `label` and `id_column`: name two")
    if schema is not None:
        file = schema if isinstance(schema, SchemaFile) else SchemaFile.load(schema)
        file.check(headers, source, label=label, id_column=id_column)
        columns = [_as_described(file, name, list(frame[name]), text) for name in headers]
    else:
        features = [name for name in headers if name not in (label, id_column)]
        read = {each.name: each for each in understand(frame, features, text.lines)}
        for name in headers:
            if name == label:
                read[name] = read_label(name, list(frame[name]), text.lines)
            elif name == id_column:
                read[name] = _id(name, list(frame[name]))
        columns = [read[name] for name in headers]
    return TableReading(
        name=Path(source).stem, source=source, rows=len(frame), columns=tuple(columns)
    )


def _as_described(file: SchemaFile, name: str, cells: list[str], text: TextTable) -> ColumnReading:
    role, column = file.roles[name], file.columns.get(name)
    if column is not None:
        return described(column, cells, text.lines)
    if role == "ignore":
        return ColumnReading(name=name, role=role, kind="text", values=len(cells), done="left out")
    if role == "label":
        return described_label(name, cells, text.lines, file.classes, file.number)
    return _id(name, cells)


def _id(name: str, cells: list[str]) -> ColumnReading:
    missing = sum(fold(cell) in MISSING_WORDS for cell in cells)
    repeated = len(cells) - len(set(cells))
    return ColumnReading(
        name=name, role="id", kind="ID", values=len(cells) - missing, missing=missing,
        done=f"{repeated} rows repeat one" if repeated else "",
    )  # fmt: skip


def _text(table: Table) -> TextTable:
    if isinstance(table, TextTable):
        return table
    return text_table(table) if isinstance(table, pd.DataFrame) else read_text_table(table)


def _source(table: Table) -> str:
    if isinstance(table, pd.DataFrame):
        return "the data frame"
    return "the table" if isinstance(table, TextTable) else Path(table).name
