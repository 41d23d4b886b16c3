"""Residues as bytes, 50 bits each: a plane for each byte of all of them, then two bits of each.

They are read only if there are as many as expected, each below its prime. (`privfed.he.planes`
writes any width in numpy; this is one pass, ten times as fast.)
"""

from typing import Any

import numpy as np
from numba import int64, uint64
from numpy.typing import NDArray

from privfed.errors import DecodeError
from privfed.he.ring.parameters import Numbers, Ring
from psi.compiled.compiling import array, compiled

_WHOLE = 6  # bytes of a residue; two bits more make `floats.PRIME_BITS`
_LATTER = 4  # pairs of bits in a byte


@compiled(array("float64", 1), array("uint8", 1, write=True))
def _pack(numbers: Any, out: Any) -> None:
    count = len(numbers)
    for plane in range(_WHOLE):
        into, shift = out[plane * count : (plane + 1) * count], np.uint64(8 * plane)
        for i in range(count):
            into[i] = np.uint8((np.uint64(np.int64(numbers[i])) >> shift) & np.uint64(255))
    last = out[_WHOLE * count :]
    last[:] = 0
    for i in range(count):
        pair = np.uint64(np.int64(numbers[i])) >> np.uint64(8 * _WHOLE)
        last[i // _LATTER] |= np.uint8(pair << np.uint64(2 * (i % _LATTER)))


@compiled(array("uint8", 1), uint64, array("uint64", 1, write=True), result=int64)
def _unpack(data: Any, limit: Any, out: Any) -> Any:
    count = len(out)
    last = data[_WHOLE * count :]
    for i in range(count):
        pair = (np.uint64(last[i // _LATTER]) >> np.uint64(2 * (i % _LATTER))) & np.uint64(3)
        out[i] = pair << np.uint64(8 * _WHOLE)
    for plane in range(_WHOLE):
        one, shift = data[plane * count : (plane + 1) * count], np.uint64(8 * plane)
        for i in range(count):
            out[i] |= np.uint64(one[i]) << shift
    wrong = 0
    for i in range(count):
        wrong += out[i] >= limit
    return wrong


def size_bytes(primes: int, count: int) -> int:
    """Return the bytes of so many residues mod each of the primes."""
    return primes * (_WHOLE * count - (-count // _LATTER))


def pack(words: Numbers, out: NDArray[np.uint8]) -> None:
    """Write residues (primes, coefficients) to `size_bytes` bytes."""
    pieces = out.reshape(len(words), -1)
    for row, piece in zip(words, pieces, strict=True):
        _pack(row, piece)


def unpack(data: NDArray[np.uint8], ring: Ring, out: Numbers) -> None:
    """Read residues (primes, coefficients) from `size_bytes` bytes.

    Raises:
        DecodeError: One is not below its prime.
    """
    words = np.empty(out.shape[1], np.uint64)
    for prime, row, piece in zip(ring.primes, out, data.reshape(len(out), -1), strict=False):
        if _unpack(piece, prime, words):
            raise DecodeError("a residue is not below its prime")
        row[:] = words


def checked(data: bytes | memoryview, size: int) -> NDArray[np.uint8]:
    """Return bytes as an array, after their length is checked and before anything is read.

    Raises:
        DecodeError: It is another one.
    """
    if len(data) != size:
        raise DecodeError(f"{size} bytes were expected, not {len(data)}")
    return np.frombuffer(data, np.uint8)
