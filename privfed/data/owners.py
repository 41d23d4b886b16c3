"""Whose row it is, where a table says so: a column names the party, or each party has a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.data.files import TextTable, read_text_table
from privfed.data.schema import MISSING_WORDS, fold, named, shown
from privfed.errors import ConfigError

PathLike = str | os.PathLike[str]

_LONGEST_NAME = 60
_MOST_NAMED = 3  # of the files or columns in a sentence


@dataclass(frozen=True, eq=False)
class Owners:
    """The parties of a table.

    Attributes:
        names: The parties, in the order in which the table first names them.
        parties: (n,) each row's party, a place in `names`.
    """

    names: tuple[str, ...]
    parties: NDArray[np.intp] = field(repr=False)

    @property
    def rows(self) -> list[NDArray[np.intp]]:
        """Each party's rows, ascending."""
        return [np.flatnonzero(self.parties == party) for party in range(len(self.names))]


def read_owned_table(
    paths: Sequence[PathLike], party_column: str | None
) -> tuple[TextTable, Owners]:
    """Read a table of several parties.

    Args:
        paths: CSV, XLSX or Parquet: one file, or one of each party, which is named by the file.
        party_column: The column that names each row's party, where there is one file.

    Returns:
        The table without that column, and whose its rows are.

    Raises:
        ConfigError: A file cannot be read, files differ in their columns or have one name, the
            column is absent, names nobody in some row, or names fewer than two parties.
    """
    if len(paths) == 1:
        if party_column is None:
            raise ConfigError(
                "one file says nothing of parties: name its `party_column`, or give a file for each"
            )
        return _by_column(read_text_table(paths[0]), party_column, paths[0])
    if party_column is not None:
        raise ConfigError(
            "with a file for each party the files say whose a row is: leave `party_column` out, or "
            "give one file"
        )
    return _by_file([Path(each) for each in paths])


def _by_column(table: TextTable, column: str, path: PathLike) -> tuple[TextTable, Owners]:
    frame = table.frame
    if column not in frame.columns:
        raise ConfigError(
            f"{path} has no column {shown(column)}: give `party_column` one of "
            f"{named(list(frame.columns))}"
        )
    cells = list(frame[column])
    for cell, line in zip(cells, table.lines, strict=True):
        if fold(cell) in MISSING_WORDS:
            raise ConfigError(
                f"column {shown(column)} names no party in line {line}: complete or remove the row"
            )
    left = TextTable(frame.drop(columns=[column]), table.lines, table.sha256)
    return left, _owners(cells, f"column {shown(column)}")


def _by_file(paths: Sequence[Path]) -> tuple[TextTable, Owners]:
    names = [path.stem for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two files are called {shown(name)}, and a party is named by its file: rename one"
            )
    tables = [read_text_table(path) for path in paths]
    headers = list(tables[0].frame.columns)
    for path, table in zip(paths, tables, strict=True):
        _check_columns(headers, list(table.frame.columns), paths[0].name, path.name)
    whole = hashlib.sha256()
    for name, table in zip(names, tables, strict=True):
        whole.update(f"{name}\n{table.sha256}\n".encode())
    joined = TextTable(
        pd.concat([table.frame[headers] for table in tables], ignore_index=True),
        tuple(
            f"{line} of {path.name}"
            for path, table in zip(paths, tables, strict=True)
            for line in table.lines
        ),
        whole.hexdigest(),
    )
    cells = [name for name, table in zip(names, tables, strict=True) for _ in table.lines]
    return joined, _owners(cells, "the files")


def _check_columns(first: list[str], other: list[str], one: str, file: str) -> None:
    lacking = [header for header in first if header not in other]
    extra = [header for header in other if header not in first]
    if not lacking and not extra:
        return
    said = [
        f"{verb} {', '.join(map(shown, found[:_MOST_NAMED]))}"
        + (f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else "")
        for verb, found in (("lacks", lacking), ("has besides", extra))
        if found
    ]
    raise ConfigError(
        f"{file} {' and '.join(said)}: its columns must be those of {one}, in any order"
    )


def _owners(cells: Sequence[str], where: str) -> Owners:
    names = tuple(dict.fromkeys(cells))
    if len(names) < 2:
        raise ConfigError(
            f"{where} names one party only, {shown(names[0])}: name a column with two or more, or "
            "deal the rows out with `parties`"
        )
    for name in names:
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise ConfigError(
                f"{where} names a party {shown(name)}: give each a printable name of at most "
                f"{_LONGEST_NAME} letters"
            )
    numbers = {name: number for number, name in enumerate(names)}
    return Owners(names, np.array([numbers[cell] for cell in cells], np.intp))
