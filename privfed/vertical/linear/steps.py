"""Step sizes of gradient descent on a quadratic-like loss whose curvature has public bounds.

Steps are one over the points of Chebyshev on the range of curvatures (Richardson's iteration,
Young 1953): after T of them the error shrinks as fast as conjugate gradients promise. Their order
is Leja's, so that no intermediate error grows far (Leja 1957; Fischer and Reichel 1988). The last
ones are taken by size, the smallest last: what is left of each step's noise is what the steps after
it leave (Anderssen and Golub 1972).
"""

import math
from functools import lru_cache

import numpy as np

__all__ = ["step_sizes"]

_MOST_LAST = 6  # more of them by size would let errors grow before they come


@lru_cache(maxsize=16)
def step_sizes(count: int, least: float, most: float) -> tuple[float, ...]:
    """Return the steps in their order.

    Args:
        count: T, the number of iterations.
        least: The least curvature that is to converge.
        most: The largest that there can be.
    """
    middle, half = (most + least) / 2, (most - least) / 2
    points = [
        middle + half * math.cos((2 * k - 1) * math.pi / (2 * count)) for k in range(1, count + 1)
    ]
    left, apart = points[1:], np.zeros(count - 1)
    ordered = points[:1]
    while left:
        apart += np.log(np.abs(np.array(left) - ordered[-1]))
        farthest = int(apart.argmax())
        ordered.append(left.pop(farthest))
        apart = np.delete(apart, farthest)
    last = min(_MOST_LAST, count // 3)
    ordered[count - last :] = sorted(ordered[count - last :])
    return tuple(1 / point for point in ordered)
