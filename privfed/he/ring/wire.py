"""Residues as bytes: 50 bits each; read only if they are as many as expected, each below its prime."""

import numpy as np

from privfed.errors import DecodeError
from privfed.he import planes
from privfed.he.ring.floats import MAX_BITS
from privfed.he.ring.parameters import Numbers, Ring


def size_bytes(*shape: int) -> int:
    """Return the bytes that residues of this shape take."""
    return planes.size_bytes(int(np.prod(shape)), MAX_BITS)


def pack(words: Numbers) -> bytes:
    """Return residues (rows, primes, coefficients) as bytes."""
    return planes.encode(words.astype(np.uint64).reshape(-1), MAX_BITS)


def check_size(data: bytes | memoryview, size: int) -> None:
    """Check a length, before anything is read.

    Raises:
        DecodeError: It is another one.
    """
    if len(data) != size:
        raise DecodeError(f"{size} bytes were expected, not {len(data)}")


def unpack(data: bytes | memoryview, shape: tuple[int, int, int], ring: Ring) -> Numbers:
    """Return the residues that `pack` wrote; the caller checked the length.

    Raises:
        DecodeError: One is not below its prime.
    """
    words = planes.decode(data, int(np.prod(shape)), MAX_BITS).reshape(shape)
    if (words.max(axis=(0, 2), initial=0) >= ring.primes[: shape[1]]).any():
        raise DecodeError("a residue is not below its prime")
    return words.astype(np.float64)
