"""Bytes that are not as they were written."""

from __future__ import annotations

from collections.abc import Callable


def high(start: int, end: int | None = None) -> Callable[[bytearray], bytearray]:
    """Set bytes of a body to 255: residues there are not below their prime."""

    def change(body: bytearray) -> bytearray:
        part = body[start:end]
        body[start:end] = b"\xff" * len(part)
        return body

    return change


def damaged(whole: bytes, place: int, flip: int) -> list[bytes]:
    """A file that is cut, or has a byte more, less or otherwise."""
    return [
        whole[:place],
        whole[:place] + b"0" + whole[place:],
        whole[:place] + whole[place + 1 :],
        whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :],
    ]
