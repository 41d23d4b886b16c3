"""Columns of millions of texts without a Python object for each: UTF-8 bytes and end offsets.

Arrow keeps texts in this way, so what a reader of files returns is used without a copy. `Texts` are
the texts themselves, `TextKeys` the keys that are matched: both read like lists.
"""

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["KEY_HEAD_BYTES", "Chunk", "TextKeys", "Texts", "text_key"]

KEY_HEAD_BYTES = 9
_OFFSETS = {"string": "=i4", "large_string": "=i8"}

Chunk: TypeAlias = tuple[NDArray[np.uint8], NDArray[Any]]


def text_key(content: bytes) -> bytes:
    """Return what is matched for a text: its kind, its length in 8 bytes, its UTF-8 bytes."""
    return b"t" + len(content).to_bytes(8, "big") + content


class Texts(Sequence[str]):
    """A column of texts, none missing."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        """Take chunks of valid UTF-8 with rising offsets."""
        self._chunks = [chunk for chunk in chunks if len(chunk[1]) > 1]
        sizes = (len(offsets) - 1 for _, offsets in self._chunks)
        self._starts = [0, *itertools.accumulate(sizes)]

    @property
    def chunks(self) -> Iterable[Chunk]:
        """Pairs of bytes and offsets: text i of a chunk is bytes[offsets[i]:offsets[i + 1]]."""
        return self._chunks

    @classmethod
    def of_arrow(cls, column: Any) -> Self | None:
        """Return an Arrow array's texts without copying; None if it holds anything else."""
        offset_type = _OFFSETS.get(str(column.type))
        if offset_type is None or column.null_count:
            return None
        chunks = []
        for chunk in getattr(column, "chunks", [column]):
            _, ends, content = chunk.buffers()
            if ends is not None and len(chunk):
                first = chunk.offset
                offsets = np.frombuffer(ends, offset_type)[first : first + len(chunk) + 1]
                chunks.append((np.frombuffer(content or b"", np.uint8), offsets))
        return cls(chunks)

    @classmethod
    def of_list(cls, values: Sequence[str]) -> Self:
        """Return the texts of a list.

        Raises:
            UnicodeEncodeError: One is not valid Unicode.
        """
        data = "".join(values).encode()
        pieces: Sequence[str | bytes] = values
        if not data.isascii():  # then a character may be several bytes
            pieces = [text.encode() for text in values]
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, pieces), np.int64, len(values)), out=offsets[1:])
        return cls([(np.frombuffer(data, np.uint8), offsets)])

    def content(self, index: int) -> bytes:
        """Return the UTF-8 bytes of a text."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect.bisect_right(self._starts, index) - 1
        data, offsets = self._chunks[number]
        place = index - self._starts[number]
        return data[offsets[place] : offsets[place + 1]].tobytes()

    def contents(self) -> Iterator[bytes]:
        """Yield the UTF-8 bytes of all texts."""
        for data, offsets in self.chunks:
            whole, ends = data.tobytes(), offsets.tolist()
            yield from map(whole.__getitem__, map(slice, ends, ends[1:]))

    def picked(self, rows: Sequence[int]) -> list[str]:
        """Return some of the texts in the given order; -1 stands for an empty one."""
        return ["" if row < 0 else self.content(row).decode() for row in rows]

    def filled_rows(self, see_chunk: Callable[[Chunk], None]) -> NDArray[np.intp]:
        """Return the numbers of the texts that are not empty; `see_chunk` is shown every chunk."""
        filled = []
        for chunk in self.chunks:
            see_chunk(chunk)
            filled.append(chunk[1][1:] > chunk[1][:-1])
        return np.flatnonzero(np.concatenate(filled)) if filled else np.empty(0, np.intp)

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self.content(index + len(self) if index < 0 else index).decode()

    def __iter__(self) -> Iterator[str]:
        return (content.decode() for content in self.contents())

    def __repr__(self) -> str:
        return f"Texts({len(self)})"


class TextKeys(Sequence[bytes]):
    """The keys of some texts of a column, no two the same.

    Attributes:
        texts: The column.
        rows: The numbers of the texts that have a key.
    """

    def __init__(self, texts: Texts, rows: NDArray[np.intp]) -> None:
        """Take the rows, in ascending order, of texts that the caller knows to be distinct."""
        self.texts, self.rows = texts, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return text_key(self.texts.content(int(self.rows[index])))

    def __iter__(self) -> Iterator[bytes]:
        wanted = np.zeros(len(self.texts), bool)
        wanted[self.rows] = True
        return map(text_key, itertools.compress(self.texts.contents(), wanted.tolist()))

    def __repr__(self) -> str:
        return f"TextKeys({len(self)})"
