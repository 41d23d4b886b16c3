"""Tables in files: read CSV and Parquet, write what was joined."""

import contextlib
import csv
import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError
from psi.kernels.texts import Texts
from psi.storage import whole_file
from psi.tables.csvfiles import read_plain, read_unquoted, write_numbers
from psi.tables.reader import TableReader, unreadable

__all__ = ["joined", "load_table", "read_parquet", "taken", "with_rows", "write_table"]

_PARQUET = (".parquet", ".pq")
_ARROW_FROM_BYTES = 1 << 21  # below, importing pyarrow costs more than it saves


def load_table(path: Path) -> Any:
    """Return a file's table: a mapping of columns of text (CSV), or an Arrow table (.parquet, .pq).

    A CSV file is read as `TableReader` says, its cells as they are written.

    Raises:
        ConfigError: The file cannot be read as such; or pyarrow is missing for Parquet.
    """
    return _read_parquet(path) if path.suffix.lower() in _PARQUET else _read_csv(path)


def taken(table: Any, rows: NDArray[np.intp]) -> dict[str, Any]:
    """Return the given rows of a table from `load_table`, in the given order; -1 is a blank row."""
    numbers = rows.tolist()
    if isinstance(table, Mapping):
        return {
            name: column.picked(numbers)
            if isinstance(column, Texts)
            else ["" if row < 0 else column[row] for row in numbers]
            for name, column in table.items()
        }
    part = table.take(_arrow().array([None if row < 0 else row for row in numbers], "int64"))
    return {name: part.column(name) for name in table.column_names}


def joined(left: Mapping[str, Any], right: Mapping[str, Any], on: Sequence[str]) -> dict[str, Any]:
    """Return columns of equal length side by side: the left ones, then the right ones but the ID.

    A right column whose name is taken gets "_right" behind it.
    """
    result = dict(left)
    for name, column in right.items():
        if name in on:
            continue
        while name in result:
            name += "_right"
        result[name] = column
    return result


def with_rows(columns: Mapping[str, Any], table: Any) -> dict[str, Any]:
    """Return columns with a table's rows in place of their numbers, which the column `row` has."""
    if "row" not in columns:
        return dict(columns)
    others = {name: column for name, column in columns.items() if name != "row"}
    return joined(others, taken(table, columns["row"]), on=())


def write_table(path: Path | None, columns: Mapping[str, Any], *, replace: bool = False) -> None:
    """Write columns as Parquet (.parquet, .pq) or CSV (anything else), by `psi.storage`.

    Without a path they go to standard output as CSV.

    Raises:
        ConfigError: The file is there and not to be replaced, or cannot be written; or pyarrow is
            missing for Parquet.
    """
    if path is None:
        try:
            _write_csv(sys.stdout, columns)
            sys.stdout.flush()
        except OSError as error:
            _silence(sys.stdout)
            raise ConfigError(
                f"standard output cannot be written: {error.strerror or error}"
            ) from error
        return
    if path.suffix.lower() in _PARQUET:
        table = _arrow().table(dict(columns))
        with whole_file(path, replace=replace) as file:
            # Parquet records positions, which a pipe cannot tell.
            sink = file if file.seekable() else io.BytesIO()
            importlib.import_module("pyarrow.parquet").write_table(table, sink)
            if isinstance(sink, io.BytesIO):
                file.write(sink.getbuffer())
        return
    with whole_file(path, replace=replace) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            _write_csv(text, columns)
        finally:
            text.detach()


def _silence(file: TextIO) -> None:
    """Let nothing more be tried with an output that failed: at exit Python would, once again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, file.fileno())
        os.close(nothing)


def _write_csv(file: TextIO, columns: Mapping[str, Any]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    file.flush()
    if _rows_only(columns) and write_numbers(file.buffer, columns):
        return
    lists = (
        column.to_pylist() if hasattr(column, "to_pylist") else column
        for column in columns.values()
    )
    writer.writerows(zip(*lists, strict=True))


def _rows_only(columns: Mapping[str, Any]) -> bool:
    """Return whether there is nothing but row numbers, and many of them."""
    numbers = [c for c in columns.values() if isinstance(c, np.ndarray) and c.dtype == np.int64]
    return len(numbers) == len(columns) and sum(c.nbytes for c in numbers) >= _ARROW_FROM_BYTES


def _read_csv(path: Path) -> Mapping[str, Sequence[str]]:
    reader = TableReader()
    with reader.opened(path) as file:
        table = reader.csv(file, path)
        read = read_unquoted if path.stat().st_size >= _ARROW_FROM_BYTES else read_plain
        quick = read(path, table.separator, table.header)
        if quick is not None:
            return quick
        rows = [row for _, row in table.rows]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in table.header]
    return dict(zip(table.header, columns, strict=True))


def _read_parquet(path: Path) -> Any:
    try:
        return read_parquet(path, path)
    except OSError as error:
        raise ConfigError(unreadable(path, error)) from None


def read_parquet(
    source: Path | BinaryIO,
    where: object,
    *,
    most_cells: int | None = None,
    refusal: type[Exception] = ConfigError,
) -> Any:
    """Return the Arrow table of a Parquet file.

    Args:
        source: Its path, or its bytes.
        where: What to call the file in errors.
        most_cells: A file that says it has more is not unpacked.
        refusal: The exception to raise.

    Raises:
        ConfigError: It is no Parquet file, or too large; or pyarrow is missing.
    """
    arrow = _arrow(refusal)
    try:
        file = importlib.import_module("pyarrow.parquet").ParquetFile(source)
        cells = file.metadata.num_rows * file.metadata.num_columns
        if most_cells is not None and cells > most_cells:
            raise refusal(f"{where} unpacks to {cells} cells; at most {most_cells} are read")
        return file.read()
    except arrow.ArrowException as error:
        raise refusal(f"{where} is no Parquet file") from error


def _arrow(refusal: type[Exception] = ConfigError) -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise refusal(
            "Parquet files need the package pyarrow: pip install 'privfed[psi-tables]'"
        ) from error
