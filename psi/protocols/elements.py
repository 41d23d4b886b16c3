"""How the bodies of messages hold elements: rows of one width, points in pieces, sorted tags."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi.errors import DecodeError
from psi.group.ristretto255 import FAST_FROM

__all__ = ["TAG_BYTES", "SortedTags", "ascending", "pieces", "rows_of", "shared"]

TAG_BYTES = 16
"""A tag in full: honest ones meet by chance with probability 2^-40 in 2^88 pairs, and one that fits
two IDs costs a side that cheats 2^64 tries."""

SortedTags: TypeAlias = NDArray[np.bytes_]
"""Shape (n,), each TAG_BYTES long."""


def rows_of(data: bytes | memoryview, width: int) -> list[bytes]:
    """Cut a body into elements of `width` bytes."""
    whole = bytes(data)
    return [whole[start : start + width] for start in range(0, len(whole), width)]


def pieces(count: int) -> list[slice]:
    """Cut a set into pieces of similar size, each large enough for the group's compiled code."""
    number = max(count // FAST_FROM, min(count, 1))
    return [slice(count * k // number, count * (k + 1) // number) for k in range(number)]


def ascending(tags: bytes | memoryview) -> SortedTags:
    """Return bytes as tags, after checking their order.

    Raises:
        DecodeError: They are not in strictly ascending order: some repeat, or their order may say
            something.
    """
    rows = np.frombuffer(tags, f"S{TAG_BYTES}")
    if not np.all(rows[1:] > rows[:-1]):
        raise DecodeError("the tags do not ascend: some repeat, or they are in another order")
    return rows


def shared(own: list[bytes], tags: SortedTags) -> NDArray[np.intp]:
    """Return which of one's own outputs begin with one of the tags, in the order of these.

    Args:
        own: Outputs of the tags' function, TAG_BYTES or longer.
        tags: In strictly ascending order.
    """
    wanted = np.frombuffer(b"".join(one[:TAG_BYTES] for one in own), tags.dtype)
    places = np.searchsorted(tags, wanted)
    inside = places < len(tags)
    found = np.zeros(len(wanted), bool)
    found[inside] = tags[places[inside]] == wanted[inside]
    rows = np.flatnonzero(found)
    return rows[np.argsort(places[rows])]
