"""Step sizes of gradient descent on a quadratic-like loss whose curvature has public bounds.

Steps are one over the points of Chebyshev on the range of curvatures (Richardson's iteration,
Young 1953): after T of them the error shrinks as fast as conjugate gradients promise. Their order
is Leja's, so that no intermediate error grows far (Leja 1957; Fischer and Reichel 1988).
"""

import math
from functools import lru_cache

__all__ = ["step_sizes"]


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
    ordered = [points.pop(0)]
    while points:
        farthest = max(points, key=lambda p: sum(math.log(abs(p - one)) for one in ordered))
        points.remove(farthest)
        ordered.append(farthest)
    return tuple(1 / point for point in ordered)
