"""Find equal tags among two lists of millions."""

import numpy as np
from numpy.typing import NDArray

from psi.errors import RepeatedElementError

__all__ = ["matching_rows"]

_FILTER_SLOTS_AN_ITEM = 8


def matching_rows(
    theirs: NDArray[np.uint8], own: NDArray[np.uint8]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows of both in which the same tag stands; tags are compared in full.

    Args:
        theirs: Shape (n, tag bytes).
        own: Shape (m, tag bytes).

    Returns:
        Two arrays of equal length: indices into the one and into the other.

    Raises:
        RepeatedElementError: One of `theirs` occurs twice.
    """
    their_heads, own_heads = _heads(theirs), _heads(own)
    ordered = np.sort(their_heads)
    if np.any(ordered[1:] == ordered[:-1]) and len(np.unique(theirs, axis=0)) < len(theirs):
        raise RepeatedElementError("the other side sent the same tag twice")
    # Most of theirs are not here: a table of one byte a slot spares them the search.
    mask = np.uint64((1 << (_FILTER_SLOTS_AN_ITEM * len(own) + 1).bit_length()) - 1)
    known = np.zeros(int(mask) + 1, np.bool_)
    known[own_heads & mask] = True
    candidates = np.flatnonzero(known[their_heads & mask])
    by_head = np.argsort(own_heads)
    ordered = own_heads[by_head]
    places = np.searchsorted(ordered, their_heads[candidates])
    found_theirs, found_own = [], []
    while len(candidates):
        inside = places < len(ordered)
        candidates, places = candidates[inside], places[inside]
        same = ordered[places] == their_heads[candidates]
        candidates, places = candidates[same], places[same]
        equal = np.all(theirs[candidates] == own[by_head[places]], axis=1)
        found_theirs.append(candidates[equal])
        found_own.append(by_head[places[equal]])
        places = places + 1  # another of our own may begin with the same 8 bytes
    none = np.empty(0, np.intp)
    return np.concatenate([none, *found_theirs]), np.concatenate([none, *found_own])


def _heads(tags: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first 8 bytes of each tag (all of a shorter one) as a number."""
    padded = np.zeros((len(tags), 8), np.uint8)
    width = min(8, tags.shape[1])
    padded[:, :width] = tags[:, :width]
    return padded.view("<u8").ravel()
