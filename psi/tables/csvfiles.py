"""CSV files without a quote, many times faster than row by row; the largest stay on the disk.

Small ones by numpy, large ones by pyarrow. Both read files without a quote and a NUL like
`TableReader` (a test compares the ways).
"""

import codecs
import csv
import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError
from psi.kernels.texts import Chunk, Texts

__all__ = ["FileTexts", "read_plain", "read_unquoted", "write_numbers"]

_STREAMED_FROM_BYTES = 1 << 28
_BLOCK_BYTES, _STREAMED_BLOCK_BYTES = 1 << 20, 1 << 22  # a streamed one goes to all buckets


def read_plain(path: Path, separator: str, header: list[str]) -> Mapping[str, Texts] | None:
    """Return a small CSV file's columns by numpy; None where `TableReader` might read otherwise.

    Args:
        path: The file.
        separator: Between fields.
        header: The names in its first line.

    Raises:
        OSError: The file cannot be read.
    """
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if any(one in data for one in b'"\0\r') or not _is_utf8(data):
        return None
    cells = np.frombuffer(data if data.endswith(b"\n") else data + b"\n", np.uint8)
    line_end, width = ord("\n"), len(header)
    ends = np.flatnonzero((cells == ord(separator)) | (cells == line_end))
    lasts = cells[ends] == line_end  # each row's last cell, and no other, is to end a line
    if len(ends) % width or np.any(lasts != (np.arange(len(ends)) % width == width - 1)):
        return None
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends - starts
    if lengths.max() > csv.field_size_limit() or (width == 1 and not lengths.all()):
        return None  # an empty line is no row
    columns = {}
    for number, name in enumerate(header):
        own = slice(width + number, None, width)
        offsets = np.append(0, np.cumsum(lengths[own]))
        places = np.repeat(starts[own] - offsets[:-1], lengths[own]) + np.arange(offsets[-1])
        columns[name] = Texts([(cells[places], offsets)])
    return columns


def read_unquoted(path: Path, separator: str, header: list[str]) -> Mapping[str, Texts] | None:
    """Return a CSV file's columns; None without pyarrow, or where the two ways might differ.

    Args:
        path: The file, not empty.
        separator: Between fields.
        header: The names in its first line.

    Raises:
        OSError: The file cannot be read.
    """
    if importlib.util.find_spec("pyarrow") is None:
        return None
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(1 << 20), b"")
        if any(b'"' in block or b"\0" in block for block in blocks):
            return None
    arrow, reader = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.csv"))
    streamed = path.stat().st_size >= _STREAMED_FROM_BYTES
    block_bytes = _STREAMED_BLOCK_BYTES if streamed else _BLOCK_BYTES
    options = {
        # Several threads would take more processor time in all.
        "read_options": reader.ReadOptions(use_threads=False, block_size=block_bytes),
        "parse_options": reader.ParseOptions(delimiter=separator),
        "convert_options": reader.ConvertOptions(
            column_types=dict.fromkeys(header, arrow.string()), strings_can_be_null=False
        ),
    }
    try:
        if streamed:
            return _streamed(path, header, options)
        table = reader.read_csv(path, **options)
        arrow.default_memory_pool().release_unused()
    except arrow.ArrowInvalid:  # the slow way says what is wrong, and in which line
        return None
    if table.column_names != header:
        return None
    columns = zip(header, map(Texts.of_arrow, table.columns), strict=True)
    return {name: column for name, column in columns if column is not None}


def write_numbers(file: BinaryIO, columns: Mapping[str, NDArray[np.int64]]) -> bool:
    """Write columns of numbers as lines of a CSV file; without pyarrow write nothing: False."""
    if importlib.util.find_spec("pyarrow") is None:
        return False
    arrow, writer = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.csv"))
    # From buffers, as pyarrow's own conversion of arrays imports pandas, if that is installed.
    arrays = [
        arrow.Array.from_buffers(
            arrow.int64(), len(column), [None, arrow.py_buffer(np.ascontiguousarray(column))]
        )
        for column in columns.values()
    ]
    table = arrow.Table.from_arrays(arrays, names=list(columns))
    writer.write_csv(table, file, writer.WriteOptions(include_header=False))
    return True


class FileTexts(Texts):
    """A column that is read from its file again, block by block, whenever it is iterated.

    Each look at a single text would need a whole reading, so the first one loads the column.
    """

    def __init__(self, path: Path, name: str, length: int, options: Mapping[str, Any]) -> None:
        """Take a column of a file that was read before."""
        self._path, self._name, self._length, self._options = path, name, length, options
        self._version = _version(path)
        self._loaded: Texts | None = None

    @property
    def chunks(self) -> Iterator[Chunk]:
        """The chunks of `Texts`, read from the file.

        Yields:
            A chunk, as `Texts` has them.

        Raises:
            ConfigError: The file has changed meanwhile, or is gone.
        """
        if self._loaded is not None:
            yield from self._loaded.chunks
            return
        try:
            version = _version(self._path)
        except OSError:
            version = None
        if version != self._version:
            raise ConfigError(f"{self._path} was changed or moved while it was read: start again")
        options = dict(self._options)
        convert = options["convert_options"]
        options["convert_options"] = type(convert)(
            column_types=convert.column_types,
            strings_can_be_null=False,
            include_columns=[self._name],
        )
        with importlib.import_module("pyarrow.csv").open_csv(self._path, **options) as batches:
            for batch in batches:
                texts = Texts.of_arrow(batch.column(0))
                assert texts is not None  # noqa: S101 - of strings that can't be null
                yield from texts.chunks

    def content(self, index: int) -> bytes:
        """Return a text, as `Texts` does; the first call loads the column."""
        if self._loaded is None:
            self._loaded = Texts(list(self.chunks))
        return self._loaded.content(index)

    def picked(self, rows: Sequence[int]) -> list[str]:
        """Return some of the texts, as `Texts` does, by one reading of the file."""
        wanted = sorted(set(rows) - {-1})
        found, start, place = {-1: ""}, 0, 0
        for data, offsets in self.chunks:
            while place < len(wanted) and wanted[place] < start + len(offsets) - 1:
                first, last = offsets[wanted[place] - start : wanted[place] - start + 2]
                found[wanted[place]] = data[first:last].tobytes().decode()
                place += 1
            start += len(offsets) - 1
        return [found[row] for row in rows]

    def __len__(self) -> int:
        return self._length


def _streamed(path: Path, header: list[str], options: dict[str, Any]) -> Mapping[str, Texts] | None:
    """Read a file once to find its faults; return columns that read it again."""
    length = 0
    with importlib.import_module("pyarrow.csv").open_csv(path, **options) as batches:
        if batches.schema.names != header:
            return None
        for batch in batches:
            length += len(batch)
    return {name: FileTexts(path, name, length, options) for name in header}


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _version(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns
