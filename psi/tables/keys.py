"""From a row's ID to the bytes that are matched: text, missing values, composites, duplicates.

IDs are compared as text: the integer 7, the float 7.0 of a column with gaps, and the "7" of a
CSV file are one ID. Bytes are compared as bytes and never equal text. An ID of several columns
is encoded with the length of each part, so that ("ab", "c") and ("a", "bc") differ.
"""

import contextlib
import datetime
import decimal
import secrets
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi import kernels
from psi.errors import ConfigError, DuplicateIDError
from psi.kernels.texts import TextKeys, Texts, text_key
from psi.tables.missing import MISSING_WORDS, MissingWords
from psi.tables.moments import moment_text
from psi.tables.normalise import Normaliser

__all__ = ["Duplicates", "KeyIndex", "index_keys"]

Duplicates: TypeAlias = Literal["error", "first", "all"]
_DIGITS = 76  # of Arrow's longest decimal; 10^10^9 as an integer would fill the memory
Rows: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, repr=False)
class KeyIndex:
    """The distinct IDs of a table and the rows of each.

    Attributes:
        keys: Distinct encoded IDs, in order of first appearance.
        rows: The row numbers of all kept rows, those of one key adjacent and ascending.
        starts: Shape (len(keys) + 1,): the rows of key k are rows[starts[k]:starts[k + 1]].
    """

    keys: Sequence[bytes]
    rows: Rows
    starts: Rows

    def counts(self) -> Rows:
        """Return how many rows each key has."""
        return np.diff(self.starts)

    def aligned_rows(self, matches: Rows, peer_counts: Rows | None, *, leads: bool) -> Rows:
        """Return the rows of matched keys, ordered so that both sides' i-th rows belong together.

        A key with m rows here and n there gives m·n pairs, ordered by the rows of the side that
        leads, then by those of the other side.

        Args:
            matches: Indices of keys, in the order common to both sides.
            peer_counts: How many rows the other side has of each; None returns this side's rows
                of each key once, whatever the other side has.
            leads: True on exactly one side, the same in both calls.
        """
        own = self.counts()[matches]
        pairs = own if peer_counts is None else own * peer_counts
        match = np.repeat(np.arange(len(matches)), pairs)
        place = np.arange(len(match)) - np.repeat(np.cumsum(pairs) - pairs, pairs)
        if peer_counts is not None:
            place = place // peer_counts[match] if leads else place % own[match]
        rows: Rows = self.rows[self.starts[matches][match] + place]
        return rows

    def __repr__(self) -> str:
        return f"KeyIndex({len(self.keys)} keys, {len(self.rows)} rows)"


def index_keys(
    columns: Sequence[Iterable[object]],
    *,
    duplicates: Duplicates,
    normalise: Sequence[Callable[[str], str]],
    name: str = "table",
) -> KeyIndex:
    """Return the IDs of a table, encoded and grouped.

    Args:
        columns: One iterable of values per key column, equally long.
        duplicates: "error" refuses a repeated ID, "first" keeps the first row of each, "all"
            keeps every row.
        normalise: One function per key column, applied to the text of each value.
        name: What to call the table in errors.

    Raises:
        ConfigError: A value is of a type that is no ID, or columns differ in length.
        DuplicateIDError: An ID is repeated under "error".
    """
    if duplicates not in ("error", "first", "all"):
        raise ConfigError('duplicates is "error", "first" or "all"')
    texts, words = _single_column_of_texts(columns, normalise), MissingWords()
    if texts is not None:
        keys, rows, numbers = _grouped(texts, words)
    else:
        keys, rows, numbers = _row_by_row(columns, normalise, name, words)
    words.warn(name)
    every = np.arange(len(keys) + 1, dtype=np.intp)
    if len(rows) == len(keys):
        return KeyIndex(keys, rows, every)
    order = np.argsort(numbers, kind="stable")
    rows, numbers = rows[order], numbers[order]
    starts = np.searchsorted(numbers, every).astype(np.intp)
    if duplicates == "error":
        repeated = int(np.flatnonzero(np.diff(starts) > 1)[0])
        first, second = (int(row) for row in rows[starts[repeated] : starts[repeated] + 2])
        raise DuplicateIDError(
            f"{name}: {len(rows) - len(keys)} rows repeat an ID (rows {first} and {second}, "
            'counted from 0, are the first pair): choose duplicates="first" or "all"'
        )
    if duplicates == "first":
        return KeyIndex(keys, rows[starts[:-1]], every)
    return KeyIndex(keys, rows, starts)


def _single_column_of_texts(
    columns: Sequence[Iterable[object]], normalise: Sequence[Callable[[str], str]]
) -> Texts | None:
    """Return the normalised IDs of a table with one column that holds only texts, as most do.

    None for any other table, and for texts that are no Unicode: `_row_by_row` says in which row.
    """
    values: Any = columns[0] if len(columns) == 1 else None
    if not isinstance(values, Texts) and not (
        isinstance(values, list) and set(map(type, values)) == {str}
    ):
        return None
    exact = isinstance(normalise[0], Normaliser) and not normalise[0].steps
    if exact and isinstance(values, Texts):
        return values
    if not exact:
        values = [normalise[0](text) if text else text for text in values]
    try:
        return Texts.of_list(values)
    except UnicodeEncodeError:
        return None


def _grouped(texts: Texts, words: MissingWords) -> tuple[Sequence[bytes], Rows, Rows]:
    """Return what `_row_by_row` returns, many times faster and without an object per row.

    Texts are told apart by 128-bit digests under a secret key: of n texts, two would be taken for
    one with probability n^2 / 2^129.
    """
    rows = texts.filled_rows(words.see_chunk)
    keys, secret = TextKeys(texts, rows), secrets.token_bytes(32)
    if len(rows) < kernels.FAST_FROM and len({*texts.contents(), b""}) > len(rows):
        return keys, rows, rows  # numbers that nobody looks at, as there are as many keys
    heads, start = np.empty(len(keys), np.uint64), 0
    for batch in kernels.digest_batches(keys, secret):
        heads[start : start + len(batch)] = batch.view(np.uint64)[:, 0]
        start += len(batch)
    if kernels.all_distinct(heads):
        return keys, rows, rows
    digests = kernels.digest_items(keys, secret).view(np.uint64)
    order = np.lexsort(digests.T)  # stable: the rows of one ID stay in order
    ordered = digests[order]
    new = np.append(True, np.any(ordered[1:] != ordered[:-1], axis=1))
    first = order[new]
    by_appearance = np.argsort(first)
    number = np.empty(len(first), np.intp)
    number[by_appearance] = np.arange(len(first))
    numbers = np.empty(len(rows), np.intp)
    numbers[order] = number[np.cumsum(new) - 1]
    return TextKeys(texts, rows[first[by_appearance]]), rows, numbers


def _row_by_row(
    columns: Sequence[Iterable[object]],
    normalise: Sequence[Callable[[str], str]],
    name: str,
    words: MissingWords,
) -> tuple[Sequence[bytes], Rows, Rows]:
    """Return the distinct keys by first appearance, the rows that have one, and each one's key."""
    number_of: dict[bytes, int] = {}
    rows: list[int] = []
    numbers: list[int] = []
    try:
        for row, values in enumerate(zip(*columns, strict=True)):
            key = _encode(values, normalise, name, row, words)
            if key is not None:
                rows.append(row)
                numbers.append(number_of.setdefault(key, len(number_of)))
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{name}: the ID columns differ in length") from error
    return list(number_of), np.array(rows, np.intp), np.array(numbers, np.intp)


def _encode(
    values: tuple[object, ...],
    normalise: Sequence[Callable[[str], str]],
    name: str,
    row: int,
    words: MissingWords,
) -> bytes | None:
    parts, missing = [], []
    for value, function in zip(values, normalise, strict=True):
        if isinstance(value, bytes):
            parts.append(b"b" + len(value).to_bytes(8, "big") + value)
            continue
        raw = value if isinstance(value, str) else _text(value, name, row)
        text = function(raw) if raw else None
        if not text:  # missing, or empty once normalised
            return None
        if text in MISSING_WORDS:
            missing.append(text)
        try:
            parts.append(text_key(text.encode()))
        except UnicodeEncodeError as error:
            raise ConfigError(f"{name}: the ID in row {row} is not valid Unicode") from error
    if missing:
        words.see(*missing)
    return b"".join(parts)


def _text(value: object, name: str, row: int) -> str | None:
    """Return the text of a value that is not text; None if it is missing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    # From 2^bits on a float stands for several integers; a Decimal may have too many digits.
    exact_below = 2.0**53
    if isinstance(value, np.floating):
        exact_below = 2.0 ** (np.finfo(value).nmant + 1)
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        value = value.item()
    if isinstance(value, float):
        if value != value:
            return None
        if abs(value) < exact_below and value.is_integer():
            return str(int(value))
    elif isinstance(value, decimal.Decimal):
        if value.is_nan():
            return None
        if value.is_finite() and value.adjusted() < _DIGITS and value == int(value):
            return str(int(value))
    elif isinstance(value, int | uuid.UUID) and not isinstance(value, bool):
        return str(value)
    elif isinstance(value, datetime.date | np.datetime64):
        with contextlib.suppress(OverflowError):
            return moment_text(value)
    raise ConfigError(
        f"{name}: the ID in row {row} is a {type(value).__name__} that is no whole number, or "
        "stands for several: convert the column to text or integers first"
    )
