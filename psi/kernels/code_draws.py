"""What `psi.kernels.blocks.encode` draws from its seed: AES-128-CTR under three keys.

Both ways of computing it read these streams, so that both have one code.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIXED_TAP", "SEGMENTS", "TAPS", "CodeDraws", "segment_start"]

TAPS = 24  # drawn for each row
FIXED_TAP = 25  # the row that is always added lies so far before
SEGMENTS = 21  # of rows, with one index each

_WORDS = 4  # of 32 bits in a block


def segment_start(segment: int, rows: int) -> int:
    """Return the first row of a segment; that of the segment after the last is how many there are.

    Some of less than 21 rows are empty.
    """
    return segment * rows // SEGMENTS


class CodeDraws:
    """The draws of one code."""

    def __init__(
        self, seed: bytes, rows: int, stream: Callable[[bytes, int, int], NDArray[np.uint64]]
    ) -> None:
        """Take the seed, how many rows come out and `counter_blocks`."""
        self._seed, self._rows, self._stream = seed, rows, stream

    def taps(self) -> NDArray[np.uint32]:
        """Return 24 bits for each row: bit j says whether the row 24 - j before it is added."""
        return self._words(b"taps", 0) & np.uint32((1 << TAPS) - 1)

    def diagonal(self) -> NDArray[np.uint64]:
        """Return a field element for each row."""
        return self._stream(self._key(b"diagonal"), self._rows, 0)

    def indices(self, segment: int) -> NDArray[np.int64]:
        """Return for each row a row of a segment, counted from its first: within 2^-32 uniform."""
        length = segment_start(segment + 1, self._rows) - segment_start(segment, self._rows)
        words = self._words(b"indices", segment * self._blocks).astype(np.int64)
        return words * length >> 32

    @property
    def _blocks(self) -> int:
        return -(-self._rows // _WORDS)

    def _words(self, name: bytes, first: int) -> NDArray[np.uint32]:
        blocks = self._stream(self._key(name), self._blocks, first)
        return blocks.view("<u4").astype(np.uint32, copy=False).reshape(-1)[: self._rows]

    def _key(self, name: bytes) -> bytes:
        return hashlib.blake2s(self._seed, digest_size=16, person=name).digest()
