"""Diffie-Hellman whose first messages are uniform strings of 32 bytes.

Key agreement with pseudorandom messages, as Rosulek and Trieu 2021 (ePrint 2021/1159, section 3)
need it for a message that is hidden in an oblivious key-value store. They take Elligator 2
(Bernstein, Hamburg, Krasnova and Lange 2013, ePrint 2013/325) on Curve25519; here it is the MAP of
ristretto255, whose image has prime order, so that no small subgroup tells messages from noise.

One side draws a scalar a and a string that MAP takes to a·G. The other side has a secret b and
publishes b·G. Both compute a·b·G; of a string that was not drawn so nobody but the latter can.
"""

import secrets

import numpy as np
from numpy.typing import NDArray

from psi.group.preimages import SLOTS
from psi.group.ristretto255 import POINT_BYTES, Points, map_to_group, multiply_base_each, preimages

__all__ = ["MESSAGE_BYTES", "draw_messages", "elements_of"]

MESSAGE_BYTES = POINT_BYTES

_P_BYTES = np.frombuffer((2**255 - 19).to_bytes(32, "little"), np.uint8)


def draw_messages(count: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw scalars, and a message for each.

    A random scalar and a random slot are drawn until the slot has a string. As no element has one
    string in two slots, each string comes out equally often: those below 2p are uniform, but for
    what has probability 2^-120 in all.

    Returns:
        Scalars for `psi.group.ristretto255.multiply_each`, secret, and messages, both of shape
        (count, 32).
    """
    scalars, messages = (np.empty((count, MESSAGE_BYTES), np.uint8) for _ in range(2))
    done = 0
    while done < count:
        missing = count - done
        some = 2 * missing + missing // 8 + 16  # half of all slots are empty
        drawn = _random(some, POINT_BYTES)
        drawn[:, -1] &= 0x0F  # below 2^252: as good as uniform below the group's order
        coins = _random(some, 1)[:, 0]
        strings, found = preimages(multiply_base_each(drawn), coins % np.uint8(SLOTS))
        taken = np.flatnonzero(found)[:missing]
        strings, coins = strings[taken], coins[taken]
        # The string's negative does as well, and so does either with the bit that does not count.
        negative = coins & 8 != 0
        strings[negative] = _negated(strings[negative])
        strings[:, -1] |= coins & 0x80
        place = slice(done, done + len(taken))
        scalars[place], messages[place] = drawn[taken], strings
        done += len(taken)
    return scalars, messages


def elements_of(messages: NDArray[np.uint8]) -> Points:
    """Return the group element of each message, or of any string: shape (n, 32).

    The few strings of the identity count as messages of the scalar 1. Refusing them would tell
    whoever sent them that they were read.
    """
    points = map_to_group(messages)
    points[~points.any(axis=1)] = multiply_base_each(_ONE)
    return points


_ONE = np.frombuffer((1).to_bytes(POINT_BYTES, "little"), np.uint8).reshape(1, -1)


def _negated(numbers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return p - x for little-endian numbers x from 1 below p, by bytes from the lowest."""
    out, borrow = np.empty_like(numbers), np.zeros(len(numbers), np.int16)
    for place in range(numbers.shape[1]):
        difference = int(_P_BYTES[place]) - numbers[:, place].astype(np.int16) - borrow
        out[:, place], borrow = difference & 0xFF, (difference < 0).astype(np.int16)
    return out


def _random(count: int, width: int) -> NDArray[np.uint8]:
    drawn = secrets.token_bytes(count * width)
    return np.frombuffer(drawn, np.uint8).reshape(count, width).copy()
