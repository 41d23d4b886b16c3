"""A fresh secret scalar for each of many points, and its inverse to take it off again.

Blinded by a scalar of its own, a point is uniformly random: it says nothing of what it hides, even
to one who can compute discrete logarithms. (Each scalar is drawn from 1 to 2^252, of the group's
2^252 + 2^124.6: that is within 2^-127 of uniform.)
"""

import itertools
import secrets
from typing import Never

import numpy as np
from numpy.typing import NDArray

from psi.group.ristretto255 import ORDER, Points, multiply_each

__all__ = ["Blinds"]

_SCALAR_BYTES = 32


class Blinds:
    """Secret scalars, one a point; hidden from repr and refused by pickle."""

    def __init__(self, count: int) -> None:
        """Draw them from the operating system's generator."""
        drawn = np.frombuffer(secrets.token_bytes(_SCALAR_BYTES * count), np.uint8)
        self._scalars = drawn.reshape(count, _SCALAR_BYTES).copy()
        self._scalars[:, -1] &= 0x0F
        self._scalars[~self._scalars.any(axis=1), 0] = 1

    def put_on(self, points: Points) -> Points:
        """Return each point times its scalar; shapes and errors as of `multiply_each`."""
        return multiply_each(self._scalars, points)

    def take_off(self, points: Points) -> Points:
        """Return each point divided by its scalar; shapes and errors as of `multiply_each`."""
        return multiply_each(_inverses(self._scalars), points)

    def __repr__(self) -> str:
        return f"Blinds({len(self._scalars)})"

    def __reduce__(self) -> Never:
        raise TypeError("secret scalars are not pickled: draw fresh ones in each session")


def _inverses(scalars: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the inverses of many scalars by one inversion (Montgomery 1987, section 10.3.1)."""
    data = scalars.tobytes()
    numbers = [
        int.from_bytes(data[start : start + _SCALAR_BYTES], "little")
        for start in range(0, len(data), _SCALAR_BYTES)
    ]
    products = list(
        itertools.accumulate(numbers, lambda one, other: one * other % ORDER, initial=1)
    )
    inverse = pow(products[-1], -1, ORDER)
    inverted = bytearray(len(data))
    for place in range(len(numbers) - 1, -1, -1):
        one = inverse * products[place] % ORDER
        start = _SCALAR_BYTES * place
        inverted[start : start + _SCALAR_BYTES] = one.to_bytes(_SCALAR_BYTES, "little")
        inverse = inverse * numbers[place] % ORDER
    return np.frombuffer(inverted, np.uint8).reshape(-1, _SCALAR_BYTES)
