"""Equal tags in two lists of millions."""

import numpy as np
from numpy.typing import NDArray

from psi import kernels
from psi.errors import RepeatedElementError

__all__ = ["matching_tags"]


def matching_tags(
    theirs: NDArray[np.uint8], own: NDArray[np.uint8]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of both lists that hold the same tag; tags are compared in full.

    Args:
        theirs: Shape (n, tag bytes).
        own: Shape (m, tag bytes), distinct.

    Returns:
        Two arrays of equal length: indices into `theirs` and into `own`.

    Raises:
        RepeatedElementError: One of `theirs` occurs twice.
    """
    if not kernels.all_distinct(_heads(theirs)) and len(np.unique(theirs, axis=0)) < len(theirs):
        raise RepeatedElementError("the other side sent the same tag twice")
    found = kernels.match_tags(theirs, own)
    rows = np.flatnonzero(found >= 0)
    return rows, found[rows]


def _heads(tags: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the first 8 bytes of each tag (all of a shorter one) as a number."""
    padded = np.zeros((len(tags), 8), np.uint8)
    width = min(8, tags.shape[1])
    padded[:, :width] = tags[:, :width]
    return padded.view("<u8").ravel()
