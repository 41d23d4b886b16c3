"""Whole numbers of any width up to 64 bits as bytes, with at most seven bytes to spare.

Numbers are cut into planes, low bits first: one of 32, 16 and 8 bits each where the width has
them, then single bits, eight to a byte. Machine types carry the wide planes, so packing costs
little more than a copy.
"""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
_TYPES = {32: "<u4", 16: "<u2", 8: "u1"}


def _split(width: int) -> tuple[list[int], int]:
    """Return the wide planes, and how many single bits follow."""
    wide = [32] * (width // 32) + [plane for plane in (16, 8) if width & plane]
    return wide, width % 8


def size_bytes(count: int, width: int) -> int:
    """Return the bytes that `count` numbers of `width` bits take."""
    wide, bits = _split(width)
    return sum(wide) // 8 * count + bits * (-(-count // 8))


def encode(words: Words, width: int) -> bytes:
    """Return `words`, each below 2^width, as `size_bytes(len(words), width)` bytes."""
    pieces, shift = [], 0
    wide, bits = _split(width)
    for plane in wide:
        pieces.append((words >> np.uint64(shift)).astype(_TYPES[plane]).tobytes())
        shift += plane
    if bits:
        top = (words >> np.uint64(shift)).astype(np.uint8)
        for bit in range(bits):
            pieces.append(np.packbits(top & np.uint8(1 << bit), bitorder="little").tobytes())
    return b"".join(pieces)


def decode(data: bytes | memoryview, count: int, width: int) -> Words:
    """Return the `count` numbers of `width` bits in `data`; the caller checked its length."""
    if width < 32:
        return _decode_narrow(data, count, width).astype(np.uint64)
    low = np.frombuffer(data[: 4 * count], "<u4")
    if width == 64:
        words = np.frombuffer(data[4 * count :], "<u4").astype(np.uint64)
    else:
        words = _decode_narrow(data[4 * count :], count, width - 32).astype(np.uint64)
    words <<= np.uint64(32)
    words |= low
    return words


def _decode_narrow(data: bytes | memoryview, count: int, width: int) -> npt.NDArray[np.uint32]:
    words = np.zeros(count, np.uint32)
    start = shift = 0
    wide, bits = _split(width)
    for plane in wide:
        stop = start + count * plane // 8
        words |= np.frombuffer(data[start:stop], _TYPES[plane]).astype(np.uint32) << np.uint32(
            shift
        )
        start, shift = stop, shift + plane
    if bits:
        top = np.zeros(count, np.uint8)
        for bit in range(bits):
            stop = start + -(-count // 8)
            plane_bytes = np.frombuffer(data[start:stop], np.uint8)
            top |= np.unpackbits(plane_bytes, count=count, bitorder="little") << np.uint8(bit)
            start = stop
        words |= top.astype(np.uint32) << np.uint32(shift)
    return words
