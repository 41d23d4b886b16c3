"""Random oblivious transfers over ristretto255 (Masny and Rindal 2019, ePrint 2019/706).

This is their "endemic" transfer from Diffie-Hellman. The sender has two seeds of each transfer; the
receiver has the one of its choice and learns nothing of the other. Nobody chooses a seed, and the
sender does not learn the choices. The sender's key is B = b·G. For each transfer i the receiver
draws a random point for the choice that it does not make, and computes the point of its choice c:

    r[1-c] random,  r[c] = t·G - H(i, c, r[1-c]),  sends (r[0], r[1])

    its seed:        KDF(..., t·B)
    the sender's:    KDF(..., b·(r[j] + H(i, j, r[1-j])))  for j = 0, 1

H hashes to the group, so the receiver does not know the discrete logarithm of the other sum. One b
serves all transfers: under DDH all the b·P for random P are pseudorandom together. KDF and H are
bound to the session and to the caller's labels, and KDF to everything that was sent for the
transfer.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Never, TypeAlias

import numpy as np
from numpy.typing import NDArray

from psi.errors import ConfigError, DecodeError
from psi.group.ristretto255 import (
    POINT_BYTES,
    Points,
    Scalar,
    add,
    check_points,
    hash_to_group,
    multiply,
    multiply_base,
    multiply_base_each,
    multiply_each,
    points_from_bytes,
    subtract,
)

__all__ = ["SEED_BYTES", "BaseOTReceiver", "BaseOTSender", "Seeds", "TransferLabels"]

SEED_BYTES = 16
_MOST_TRANSFERS = 1 << 16  # a transfer's number has two bytes

Seeds: TypeAlias = list[bytes]


@dataclass(frozen=True)
class TransferLabels:
    """Labels that separate one use of transfers from others; the session's identity follows each.

    Attributes:
        random_point: The label of the points whose logarithm nobody knows.
        transfer: The label of H.
        seed: The label of KDF.
    """

    random_point: bytes
    transfer: bytes
    seed: bytes


class _BaseOT:
    """What both sides know: the session, how many transfers, and their labels."""

    def __init__(self, identity: bytes, transfers: int, labels: TransferLabels) -> None:
        if not 1 <= transfers <= _MOST_TRANSFERS:
            raise ConfigError(f"1 to {_MOST_TRANSFERS} transfers")
        self._identity = identity
        self._transfers = transfers
        self._labels = labels

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transfers} transfers)"

    def __reduce__(self) -> Never:
        raise TypeError("transfers hold secrets and are not pickled")

    @property
    def choices_bytes(self) -> int:
        """The length of what the receiver sends."""
        return 2 * self._transfers * POINT_BYTES

    def _hashed(self, choice: int, points: Points) -> Points:
        label = bytes([choice])
        inputs = [
            number.to_bytes(2, "big") + label + point.tobytes()
            for number, point in enumerate(points)
        ]
        domain = self._labels.transfer + self._identity + b"-ristretto255-SHA512"
        return hash_to_group(inputs, domain)

    def _derived(self, choices: list[int], public: Points, pairs: Points, secret: Points) -> Seeds:
        prefix = self._labels.seed + self._identity + public.tobytes()
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


class BaseOTSender(_BaseOT):
    """The side that gets both seeds of each transfer."""

    def __init__(
        self,
        identity: bytes,
        transfers: int,
        labels: TransferLabels,
        *,
        secret: Scalar | None = None,
    ) -> None:
        """Draw the key.

        Args:
            identity: The identity of the session.
            transfers: The number of transfers.
            labels: The labels of this use.
            secret: The key, if it was drawn before: where the public one is sent so early that the
                session has no identity yet. It serves one session.

        Raises:
            ConfigError: There are no transfers, or too many.
        """
        super().__init__(identity, transfers, labels)
        self._secret = secret or Scalar.random()
        self.public = multiply_base([self._secret])

    def seeds(self, choices: bytes | memoryview) -> tuple[Seeds, Seeds]:
        """Return the seeds of choice 0 and of choice 1.

        Args:
            choices: What `BaseOTReceiver.choices` returned, trusted or not.

        Raises:
            DecodeError: They have another length than `choices_bytes`.
            InvalidPointError: A point is not valid.
        """
        if len(choices) != self.choices_bytes:
            raise DecodeError("the choices are of another number of transfers")
        pairs = np.frombuffer(choices, np.uint8).reshape(2, self._transfers, POINT_BYTES)
        check_points(pairs.reshape(-1, POINT_BYTES))
        seeds = []
        for choice in (0, 1):
            chosen, other = pairs[choice], pairs[1 - choice]
            sums = add(chosen, self._hashed(choice, other))
            secret = multiply(self._secret, sums)
            seeds.append(self._derived([choice] * self._transfers, self.public, pairs, secret))
        return seeds[0], seeds[1]


class BaseOTReceiver(_BaseOT):
    """The side that gets one seed of each transfer, by its own random choices.

    Attributes:
        bits: The choices, shape (transfers,): 0 or 1.
    """

    def __init__(self, identity: bytes, transfers: int, labels: TransferLabels) -> None:
        """Draw the choices and the points; arguments and errors are those of `BaseOTSender`."""
        super().__init__(identity, transfers, labels)
        drawn = np.frombuffer(secrets.token_bytes(-(-transfers // 8)), np.uint8)
        self.bits: NDArray[np.uint8] = np.unpackbits(drawn, count=transfers, bitorder="little")
        encodings = b"".join(Scalar.random().reveal() for _ in range(transfers))
        self._secrets = np.frombuffer(encodings, np.uint8).reshape(transfers, -1)
        # Hashed from fresh randomness: points whose logarithm nobody knows.
        unknown = hash_to_group(
            [secrets.token_bytes(64) for _ in range(transfers)], labels.random_point + identity
        )
        known = multiply_base_each(self._secrets)
        # Compute both hashes and select one, so that no branch depends on a choice.
        masks = [self._hashed(choice, unknown) for choice in (0, 1)]
        fitted = subtract(known, np.where(self.bits[:, None] == 0, *masks))
        pairs = [np.where(self.bits[:, None] == choice, fitted, unknown) for choice in (0, 1)]
        self._pairs = np.stack(pairs)

    @property
    def choices(self) -> bytes:
        """What the sender gets: all r[0], then all r[1]."""
        return self._pairs.tobytes()

    def seeds(self, public: bytes | memoryview) -> Seeds:
        """Return the seeds of the choices made.

        Args:
            public: The sender's 32 bytes, trusted or not.

        Raises:
            DecodeError: They are not 32 bytes.
            InvalidPointError: They are no valid point.
        """
        if len(public) != POINT_BYTES:
            raise DecodeError(f"the sender's key has {POINT_BYTES} bytes")
        point = points_from_bytes(public)
        secret = multiply_each(self._secrets, np.repeat(point, self._transfers, axis=0))
        return self._derived(self.bits.tolist(), point, self._pairs, secret)
