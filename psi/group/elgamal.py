"""Numbers that add under encryption: ElGamal over ristretto255 with the number in the exponent.

A number t under the key x is (r·G, t·G + r·x·G) with a fresh r (ElGamal 1985 in the additive form
of Cramer, Gennaro and Schoenmakers 1997); ciphertexts add point by point. It is semantically secure
under the decisional Diffie-Hellman assumption. So sums over an intersection need no assumption and
no library beyond those of `psi.protocols.ecdh`. Compared with Paillier it takes a tenth of the
bytes and a hundredth of the time, and in a group of prime order there is no malformed public key to
check for. The price: whoever opens a sum has to search for it, in time that grows as its square
root.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi.group.ristretto255 import POINT_BYTES, Points, Scalar, add, multiply_base, subtract

__all__ = ["MAX_SUM", "Ciphertexts", "encrypt", "logarithm", "total"]

MAX_SUM = 1 << 40  # found by two million additions in 40 seconds

Ciphertexts: TypeAlias = NDArray[np.uint8]


def encrypt(key: Scalar, values: Sequence[int]) -> Ciphertexts:
    """Encrypt under this side's own key.

    Args:
        key: The secret key.
        values: n whole numbers from 0.

    Returns:
        Shape (n, 64): r·G and (t + r·key)·G side by side.
    """
    drawn = [Scalar.random() for _ in values]
    hiding = multiply_base(drawn)
    hidden = multiply_base((one * key) + value for one, value in zip(drawn, values, strict=True))
    return np.hstack([hiding, hidden])


def total(points: Points) -> Points:
    """Return the sum of n points, shape (1, 32); the identity if there are none.

    Raises:
        InvalidPointError: A row is no valid encoding.
    """
    while len(points) > 1:
        half = len(points) // 2
        points = np.vstack([add(points[:half], points[half : 2 * half]), points[2 * half :]])
    return points if len(points) else np.zeros((1, POINT_BYTES), np.uint8)


def logarithm(point: Points, limit: int) -> int | None:
    """Return the t from 0 to `limit` for which point is t·G, or None (Shanks 1971).

    Takes 2·sqrt(limit) additions, whatever t is: the other side sees how long the search lasts. The
    table has sqrt(limit) entries.

    Args:
        point: Shape (1, 32).
        limit: At most MAX_SUM.
    """
    width = math.isqrt(limit) + 1
    generator = _base(1)
    steps = {bytes(POINT_BYTES): 0}
    step = generator
    for number in range(1, width):
        steps[step.tobytes()] = number
        step = add(step, generator)
    stride = _base(width)
    result = None
    for jump in range(limit // width + 1):
        found = steps.get(point.tobytes())
        if found is not None:  # once at most: the group is far larger than the limit
            result = jump * width + found
        point = subtract(point, stride)
    return result if result is not None and result <= limit else None


def _base(factor: int) -> Points:
    return multiply_base([Scalar(factor.to_bytes(32, "little"))])
