"""The grid on which clipped rows lie, so that their sum is exact and each row counts for itself.

A row's clipped gradient is rounded to whole multiples of h, a power of two. Its integers are a
function of the weights and of the row alone; sums of them stay below 2^53, and so are exact in any
order. One row more or fewer then moves the sum by just its own vector, whose norm is at most C:
there is no rounding term (docs/privacy.md has the theorem and what it asks of the code).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_UNIT_ROUNDOFF = 2.0**-53
SLACK = 1e-6  # Opacus clips by C/(norm + 1e-6), and so do we


class RowGrid:
    """The grid for sums of up to n rows of d values, clipped to norm C.

    Attributes:
        spacing: h = 2^(e - b), with 2^e the power of two at or below C and b = 51 - ceil(log2(n +
            1)): a row's integers are at most 2^(b+1), and sums of n of them below 2^53.
        limit: What a row's computed norm is clipped to, a little below C: what rounding to the
            grid adds is at most h·sqrt(d)/2, and what floating point adds to a norm of up to m
            additions at most 2·(m + 16)·2^-53 of it (Higham, "Accuracy and Stability of Numerical
            Algorithms", section 3.1), with m at most 2d.
    """

    def __init__(self, rows: int, size: int, l2_clip_norm: float) -> None:
        bits = 51 - math.ceil(math.log2(rows + 1))
        self.spacing = 2.0 ** (math.frexp(l2_clip_norm)[1] - 1 - bits)
        relative = 1 - 2 * (2 * size + 16) * _UNIT_ROUNDOFF
        self.limit = (l2_clip_norm - self.spacing * math.sqrt(size)) * relative

    def factors(self, squared_norms: Array) -> Array:
        """Return what to multiply rows with, for clipped ones in units of the spacing.

        It is 0 for a row whose norm is not finite: such a row must add exactly nothing.

        Args:
            squared_norms: Those of the rows' gradients.
        """
        norms = np.sqrt(squared_norms)
        factors: Array = np.minimum(1.0, self.limit / (norms + SLACK)) / self.spacing
        return np.where(np.isfinite(norms), factors, 0.0)


def sum_in_halves(values: Array) -> Array:
    """Return the sum over the last axis, added in an order that its length alone decides.

    Elementwise additions of halves: unlike a library's reduction no step depends on the rows
    beside, on where the row lies in memory, or on what vectors the machine adds by.
    """
    width = values.shape[-1]
    size = 1 << max(0, (width - 1).bit_length())
    padded = np.zeros((*values.shape[:-1], size))
    padded[..., :width] = values
    while size > 1:
        size //= 2
        padded = padded[..., :size] + padded[..., size:]
    return padded[..., 0]
