"""Whole numbers of any width up to 64 bits as bytes, with at most seven bytes to spare.

Numbers are cut into planes, low bits first: one of 32, 16 and 8 bits each where the width has
them, then single bits, eight to a byte. Machine types carry the wide planes, so packing costs
little more than a copy.
"""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
_TYPES = {32: "<u4", 16: "<u2", 8: "u1"}
_RUN = 1 << 15  # words of a run, a multiple of 8: they stay in the processor's cache


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
    words = np.zeros(count, np.uint64)
    add(words, data, width)
    return words


def add(words: Words, data: bytes | memoryview, width: int, shift: int = 0) -> None:
    """Add to `words` as many numbers of `width` bits, each times 2^shift, mod 2^64, in place."""
    wide, bits = _split(width)
    planes, start = [], 0
    for plane in wide:
        stop = start + len(words) * plane // 8
        planes.append((np.frombuffer(data[start:stop], _TYPES[plane]), np.uint64(shift)))
        start, shift = stop, shift + plane
    single = np.frombuffer(data[start:], np.uint8).reshape(bits, -(-len(words) // 8))
    scratch = np.empty(min(_RUN, len(words)), np.uint64)
    for begin in range(0, len(words), _RUN):
        run = words[begin : begin + _RUN]
        part = scratch[: len(run)]
        for numbers, place in planes:
            part[:] = numbers[begin : begin + _RUN]
            part <<= place
            run += part
        if bits:
            part[:] = _top(single[:, begin // 8 : (begin + _RUN) // 8], len(run))
            part <<= np.uint64(shift)
            run += part


def _top(single: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """Return `count` numbers of single bits, low bits first."""
    top = np.zeros(count, np.uint8)
    for bit, octets in enumerate(single):
        top |= np.unpackbits(octets, count=count, bitorder="little") << np.uint8(bit)
    return top
