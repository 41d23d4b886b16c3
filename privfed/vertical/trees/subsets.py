"""Weighted subsets of rows, said by a column's codes: what split scores are sums over.

No matrix of subsets by rows is ever in memory: sums are taken code by code, and what is multiplied
under encryption is made as polynomials, a few at a time.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import int64
from numpy.typing import NDArray

from privfed.errors import ConfigError
from psi.compiled.compiling import array, compiled

__all__ = ["MISSING", "Subsets"]

MISSING = 255  # the code of a row that lacks a column's value
_CODES = 256


@compiled(array("uint8", 2), array("int64", 2), array("int64", 3, write=True))
def _count(codes: Any, vectors: Any, out: Any) -> None:
    """Add up each vector by each column's codes."""
    for vector in range(len(vectors)):
        numbers = vectors[vector]
        for column in range(len(codes)):
            code, into = codes[column], out[vector, column]
            for row in range(len(numbers)):
                into[code[row]] += numbers[row]


@compiled(
    array("uint8", 2), array("int64", 1), array("uint8", 2), array("int64", 1), int64, int64,
    array("float64", 4, write=True),
)  # fmt: skip
def _lay(
    codes: Any, column: Any, ranges: Any, weight: Any, start: Any, width: Any, out: Any
) -> None:
    """Write polynomials (answers, ciphertexts, primes, degree) of subsets, from one on."""
    rows, primes, each = codes.shape[1], out.shape[2], out.shape[3] // width
    for answer in range(len(out)):
        for piece in range(out.shape[1]):
            first = piece * width
            length = min(width, rows - first)
            into = out[answer, piece, 0]
            for place in range(each):
                subset = start + answer * each + place
                part = into[place * width : place * width + width]
                if subset >= len(column):
                    part[:] = 0.0
                    continue
                part[: width - length] = 0.0
                code, entry = codes[column[subset], first : first + length], weight[subset]
                low, span, missing = ranges[0, subset], ranges[1, subset], ranges[2, subset]
                for row in range(length):
                    # Bytes wrap below `low`; the code of what is missing is in no range.
                    inside = (np.uint8(code[row] - low) < span) | ((code[row] == 255) & missing)
                    part[width - 1 - row] = np.float64(entry * inside)
            for prime in range(1, primes):
                out[answer, piece, prime] = into


@dataclass(frozen=True, eq=False, repr=False)
class Subsets:
    """Weighted subsets of rows, by the codes of one column each.

    Attributes:
        codes: The rows' codes (columns, rows); `MISSING` where a row lacks the value.
        column: For each subset, which column tells its rows.
        low: Its least code.
        high: Its greatest: a row is in it if its code is none before, none after, not `MISSING`.
        missing: Whether rows that lack the value are in it, too.
        weight: Its entry, 1 or more.

    Raises:
        ConfigError: Shapes or types differ, or there is no such column, or a weight is none.
    """

    codes: NDArray[np.uint8]
    column: NDArray[np.int64]
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]
    missing: NDArray[np.bool_]
    weight: NDArray[np.int64]

    def __post_init__(self) -> None:
        codes, shape = self.codes, self.column.shape
        if codes.ndim != 2 or codes.dtype != np.uint8 or not codes.flags.c_contiguous:
            raise ConfigError("codes are a contiguous matrix of bytes, a row for each column")
        said: list[tuple[NDArray[Any], type]] = [
            (self.column, np.int64),
            (self.low, np.uint8),
            (self.high, np.uint8),
            (self.missing, np.bool_),
            (self.weight, np.int64),
        ]
        if len(shape) != 1 or any(one.shape != shape or one.dtype != kind for one, kind in said):
            raise ConfigError(
                "a subset has a column, two codes, whether it takes missing, a weight"
            )
        if ((self.column < 0) | (self.column >= len(codes))).any():
            raise ConfigError(f"a subset's column is from 0 to {len(codes) - 1}")
        if (self.weight < 1).any():
            raise ConfigError("a subset's weight is 1 or more")

    @classmethod
    def histogram(cls, codes: NDArray[np.uint8], bins: int, *, missing: bool = False) -> "Subsets":
        """Return each column's bins as subsets of weight 1, column after column.

        Args:
            codes: As of the attribute.
            bins: How many codes a column has, from 0 on.
            missing: Whether rows that lack the value are one more bin of each.

        Raises:
            ConfigError: Bins are not from 1 to 255.
        """
        if not 1 <= bins <= MISSING:
            raise ConfigError(f"a column has 1 to {MISSING} bins, not {bins}")
        columns, each = len(codes), bins + missing
        place = np.tile(np.arange(each), columns)
        lacks = place == bins
        return cls(
            codes,
            np.repeat(np.arange(columns), each),
            np.where(lacks, MISSING, place).astype(np.uint8),
            np.where(lacks, 0, place).astype(np.uint8),
            lacks,
            np.ones(columns * each, np.int64),
        )

    def __len__(self) -> int:
        return len(self.column)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return int(self.codes.shape[1])

    @cached_property
    def squares(self) -> NDArray[np.int64]:
        """What each subset's squared entries sum to."""
        return np.asarray(self.sums(np.ones((1, self.rows), np.int64))[0] * self.weight)

    def matrix(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return the entries (subsets, rows) of some subsets."""
        part = slice(start, stop)
        own = self.codes[self.column[part]]
        inside = (own >= self.low[part, None]) & (own <= self.high[part, None]) & (own != MISSING)
        inside |= (own == MISSING) & self.missing[part, None]
        return np.asarray(inside * self.weight[part, None])

    def sums(self, vectors: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sum of each vector (vectors, rows) over each subset, times its weight.

        Raises:
            ConfigError: A vector has not a number a row.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.rows:
            raise ConfigError(f"a vector has {self.rows} numbers, one a row")
        by_code = np.zeros((len(vectors), len(self.codes), _CODES), np.int64)
        _count(self.codes, np.ascontiguousarray(vectors, np.int64), by_code)
        # Up to each code, and none at first; what lacks the value is apart.
        lacking = by_code[:, self.column, MISSING] * self.missing
        by_code[:, :, MISSING] = 0
        until = np.zeros((len(vectors), len(self.codes), _CODES + 1), np.int64)
        by_code.cumsum(axis=2, out=until[:, :, 1:])
        low = self.low.astype(np.int64)
        high = np.maximum(self.high.astype(np.int64) + 1, low)
        between = until[:, self.column, high] - until[:, self.column, low]
        return (between + lacking) * self.weight

    def lay(self, start: int, width: int, out: NDArray[np.float64]) -> None:
        """Write answers' plaintexts (answers, ciphertexts, primes, degree), from one answer on.

        Entry (i, j) of answer r and ciphertext c, which hold degree/width subsets and width rows,
        stands at coefficient i*width + width-1-j (`privfed.vertical.trees.sums`).
        """
        first = start * (out.shape[3] // width)
        _lay(self.codes, self.column, self._ranges, self.weight, first, width, out)

    @cached_property
    def _ranges(self) -> NDArray[np.uint8]:
        """For each subset its least code, how many follow each other, whether it takes missing."""
        low, high = self.low.astype(np.int64), self.high.astype(np.int64)
        span = np.clip(np.minimum(high, MISSING - 1) - low + 1, 0, None)
        return np.array((low, span, self.missing)).astype(np.uint8)
