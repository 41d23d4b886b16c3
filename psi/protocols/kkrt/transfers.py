"""512 random oblivious transfers over ristretto255 (Masny and Rindal 2019, ePrint 2019/706).

Their "endemic" transfer from Diffie-Hellman. The key side sends B = b·G. For each transfer i the
choosing side draws the point of the choice c that it does not make at random and fits the other:

    r[1-c] random,  r[c] = t·G - H(i, c, r[1-c]),  sends (r[0], r[1])

    its seed:          KDF(..., t·B)
    the key side's:    KDF(..., b·(r[j] + H(i, j, r[1-j])))  for j = 0, 1

H hashes to the group, so the choosing side knows no discrete logarithm of the other sum. One b
serves all transfers: under DDH all the b·P for random P are pseudorandom together. KDF and H are
bound to the session, and KDF to everything that was sent for the transfer.
"""

import hashlib
import secrets

import numpy as np
from numpy.typing import NDArray

from psi.group.ristretto255 import (
    POINT_BYTES,
    Points,
    Scalar,
    add,
    check_points,
    hash_to_group,
    multiply,
    multiply_base,
    points_from_bytes,
    subtract,
)

__all__ = ["CHOICES_BYTES", "SEED_BYTES", "TRANSFERS", "Chooser", "KeySide", "Seeds"]

TRANSFERS = 512
SEED_BYTES = 16
CHOICES_BYTES = 2 * TRANSFERS * POINT_BYTES

Seeds = list[bytes]


class KeySide:
    """The side that gets both seeds of each transfer."""

    def __init__(self, identity: bytes) -> None:
        """Draw the key of the session with this identity."""
        self._identity = identity
        self._secret = Scalar.random()
        self.public = multiply_base([self._secret])

    def seeds(self, choices: bytes | memoryview) -> tuple[Seeds, Seeds]:
        """The seeds of choice 0 and of choice 1.

        Args:
            choices: What `Chooser.choices` gave: CHOICES_BYTES, trusted or not.

        Raises:
            InvalidPointError: A point is not valid.
        """
        pairs = np.frombuffer(choices, np.uint8).reshape(2, TRANSFERS, POINT_BYTES)
        check_points(pairs.reshape(-1, POINT_BYTES))
        seeds = []
        for choice in (0, 1):
            chosen, other = pairs[choice], pairs[1 - choice]
            sums = add(chosen, _hashed(self._identity, choice, other))
            secret = multiply(self._secret, sums)
            seeds.append(_derived(self._identity, [choice] * TRANSFERS, self.public, pairs, secret))
        return seeds[0], seeds[1]


class Chooser:
    """The side that gets one seed of each transfer, by random choices of its own."""

    def __init__(self, identity: bytes) -> None:
        """Draw the choices and the points of the session with this identity."""
        self._identity = identity
        drawn = np.frombuffer(secrets.token_bytes(TRANSFERS // 8), np.uint8)
        self.bits: NDArray[np.uint8] = np.unpackbits(drawn, bitorder="little")
        self._secrets = [Scalar.random() for _ in range(TRANSFERS)]
        # Hashed from fresh randomness: points whose logarithm nobody knows.
        unknown = hash_to_group(
            [secrets.token_bytes(64) for _ in range(TRANSFERS)],
            b"psi-kkrt-v1-random-point-" + identity,
        )
        known = multiply_base(self._secrets)
        # Both hashes are computed and one selected, so that no branch depends on a choice.
        masks = [_hashed(identity, choice, unknown) for choice in (0, 1)]
        fitted = subtract(known, np.where(self.bits[:, None] == 0, *masks))
        pairs = [np.where(self.bits[:, None] == choice, fitted, unknown) for choice in (0, 1)]
        self._pairs = np.stack(pairs)

    @property
    def choices(self) -> bytes:
        """What the key side gets: all r[0], then all r[1]."""
        return self._pairs.tobytes()

    def seeds(self, public: bytes | memoryview) -> Seeds:
        """The seeds of the choices made.

        Args:
            public: The key side's 32 bytes, trusted or not.

        Raises:
            InvalidPointError: They are no valid point.
        """
        point = points_from_bytes(public)
        secret = np.vstack([multiply(scalar, point) for scalar in self._secrets])
        return _derived(self._identity, self.bits.tolist(), point, self._pairs, secret)


def _hashed(identity: bytes, choice: int, points: Points) -> Points:
    label = bytes([choice])
    inputs = [
        number.to_bytes(2, "big") + label + point.tobytes() for number, point in enumerate(points)
    ]
    return hash_to_group(inputs, b"psi-kkrt-v1-transfer-" + identity + b"-ristretto255-SHA512")


def _derived(
    identity: bytes, choices: list[int], public: Points, pairs: Points, secret: Points
) -> Seeds:
    prefix = b"psi kkrt seed, " + identity + public.tobytes()
    return [
        hashlib.sha256(
            prefix
            + number.to_bytes(2, "big")
            + bytes([choice])
            + pairs[:, number].tobytes()
            + secret[number].tobytes()
        ).digest()[:SEED_BYTES]
        for number, choice in enumerate(choices)
    ]
