"""What `psi.kernels.blocks.encode` draws from its seed: AES-128-CTR under four keys.

Both ways of computing it read these streams, so that both have one code. The draws are public.
"""

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["FACTORED_FROM", "FIXED_TAP", "SEGMENTS", "TAPS", "CodeDraws"]

TAPS = 24  # drawn for each row
FIXED_TAP = 25  # the row that is always added lies so far before
SEGMENTS = 21  # of rows, with one index each
FACTORED_FROM = 12  # sums of rows of the segments from here on are multiplied by factors

_WORDS = 4  # of 32 bits in a block


class CodeDraws:
    """The draws of one code.

    Attributes:
        keys: Four: of taps, the diagonal, indices and factors, each of which has its stream.
        bounds: Where each segment begins and the last ends, shape (`SEGMENTS` + 1,); some are empty
            if there are less rows than segments.
    """

    def __init__(
        self, seed: bytes, rows: int, stream: Callable[[bytes, int, int], NDArray[np.uint64]]
    ) -> None:
        """Take the seed, how many rows come out and `counter_blocks`."""
        names = b"taps", b"diagonal", b"indices", b"factors"
        self.keys = [hashlib.blake2s(seed, digest_size=16, person=one).digest() for one in names]
        self.bounds = np.arange(SEGMENTS + 1, dtype=np.int64) * rows // SEGMENTS
        self._rows, self._stream = rows, stream

    def taps(self) -> NDArray[np.uint32]:
        """Return 24 bits for each row: bit j says whether the row 24 - j before it is added."""
        return self._words(self.keys[0], 0) & np.uint32((1 << TAPS) - 1)

    def diagonal(self) -> NDArray[np.uint64]:
        """Return a field element for each row."""
        return self._stream(self.keys[1], self._rows, 0)

    def factors(self) -> NDArray[np.uint64]:
        """Return a field element for each row: it multiplies rows of the last segments."""
        return self._stream(self.keys[3], self._rows, 0)

    def indices(self, segment: int) -> NDArray[np.int64]:
        """Return for each row one of a segment: uniform but for 2^-32 of the segment's length."""
        first, end = map(int, self.bounds[segment : segment + 2])
        words = self._words(self.keys[2], segment * -(-self._rows // _WORDS))
        within = np.right_shift(words.astype(np.int64) * (end - first), 32)
        return np.add(within, first, dtype=np.int64)

    def _words(self, key: bytes, first: int) -> NDArray[np.uint32]:
        blocks = self._stream(key, -(-self._rows // _WORDS), first)
        return blocks.view("<u4").astype(np.uint32, copy=False).reshape(-1)[: self._rows]
