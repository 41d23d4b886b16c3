"""Whole numbers of any width up to 64 bits as bytes, with no bit wasted but the last byte's.

Numbers are cut into planes of 32, 16, 8, 4, 2 and 1 bits, low bits first; each plane lies in one
piece. Machine types carry the wide planes, so packing costs little more than a copy.
"""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
_TYPES = {32: "<u4", 16: "<u2", 8: "u1"}


def _planes(width: int) -> list[int]:
    return ([32] if width >= 32 else []) + [
        size for size in (32, 16, 8, 4, 2, 1) if (width % 32) & size or (width == 64 and size == 32)
    ]


def size_bytes(count: int, width: int) -> int:
    """Return the bytes that ``count`` numbers of ``width`` bits take."""
    return sum(-(-count * plane // 8) for plane in _planes(width))


def encode(words: Words, width: int) -> bytes:
    """Return ``words``, each below 2^width, as ``size_bytes(len(words), width)`` bytes."""
    pieces, shift = [], 0
    for plane in _planes(width):
        bits = words >> np.uint64(shift) if shift else words
        if plane >= 8:
            pieces.append(bits.astype(_TYPES[plane]).tobytes())
        else:
            pieces.append(_join(bits.astype(np.uint8), plane))
        shift += plane
    return b"".join(pieces)


def decode(data: bytes | memoryview, count: int, width: int) -> Words:
    """Return the ``count`` numbers of ``width`` bits in ``data``; the caller checked its length."""
    words = np.zeros(count, np.uint64)
    start = shift = 0
    for plane in _planes(width):
        stop = start + -(-count * plane // 8)
        piece = data[start:stop]
        if plane >= 8:
            bits = np.frombuffer(piece, _TYPES[plane])
        else:
            bits = _split(np.frombuffer(piece, np.uint8), plane)[:count]
        if shift:
            words |= bits.astype(np.uint64) << np.uint64(shift)
        else:
            words[:] = bits
        start, shift = stop, shift + plane
    return words


def _join(bits: npt.NDArray[np.uint8], plane: int) -> bytes:
    """Return numbers whose low ``plane`` bits (1, 2 or 4) count, several in a byte."""
    bits = bits & np.uint8(2**plane - 1)
    while plane < 8:
        if len(bits) % 2:
            bits = np.append(bits, np.uint8(0))
        bits = bits[0::2] | bits[1::2] << np.uint8(plane)
        plane *= 2
    return bits.tobytes()


def _split(data: npt.NDArray[np.uint8], plane: int) -> npt.NDArray[np.uint8]:
    """Undo ``_join``; may return a few padding numbers more."""
    size = 8
    while size > plane:
        size //= 2
        low = data & np.uint8(2**size - 1)
        data = np.stack([low, data >> np.uint8(size)], axis=1).ravel()
    return data
