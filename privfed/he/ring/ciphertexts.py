"""Ciphertexts of a key's holder, plaintexts of the other side, and their sums of products.

All are transformed when they are made, so a product is one of values. A fresh ciphertext's uniform
half is the expansion of a seed, which travels instead.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.he.ring import kernels, wire
from privfed.he.ring.parameters import RING, Numbers, Residues, Ring
from privfed.he.ring.sampling import SEED_BYTES, uniform


@dataclass(frozen=True, eq=False, repr=False)
class Ciphertexts:
    """Fresh ciphertexts (count, primes, degree).

    Attributes:
        ring: Where they lie.
        seed: What their uniform halves expand.
        c0: Their other halves.
    """

    ring: Ring
    seed: bytes
    c0: Numbers

    @cached_property
    def c1(self) -> Numbers:
        """The uniform halves."""
        return uniform(self.seed, len(self.c0), self.ring, self.c0.shape[1])

    def to_bytes(self) -> bytes:
        """Return the seed and the halves that it does not give."""
        count, primes, degree = self.c0.shape
        body = np.empty((count, wire.size_bytes(primes, degree)), np.uint8)
        for row, piece in zip(self.c0, body, strict=True):
            wire.pack(row, piece)
        return self.seed + body.tobytes()

    @staticmethod
    def size_bytes(count: int, primes: int, *, ring: Ring = RING) -> int:
        """Return the length of so many ciphertexts' bytes."""
        return SEED_BYTES + count * wire.size_bytes(primes, ring.degree)

    @classmethod
    def from_bytes(
        cls, data: bytes | memoryview, count: int, primes: int, *, ring: Ring = RING
    ) -> "Ciphertexts":
        """Return the ciphertexts that `to_bytes` wrote.

        Raises:
            DecodeError: They are not so many, or a residue is not below its prime.
        """
        ring.check_level(primes)
        read = wire.checked(data, cls.size_bytes(count, primes, ring=ring))
        c0 = np.empty((count, primes, ring.degree))
        for row, piece in zip(c0, read[SEED_BYTES:].reshape(count, -1), strict=True):
            wire.unpack(piece, ring, row)
        return cls(ring, read[:SEED_BYTES].tobytes(), c0)


@dataclass(frozen=True, eq=False, repr=False)
class Plaintexts:
    """A matrix of plaintext polynomials (rows, columns, primes, degree), transformed.

    Attributes:
        ring: Where they lie.
        values: 8 bytes a coefficient and prime.
    """

    ring: Ring
    values: Numbers

    @classmethod
    def encode(
        cls, coefficients: NDArray[np.int64], primes: int, *, ring: Ring = RING
    ) -> "Plaintexts":
        """Return polynomials (rows, columns, degree) of integers up to t either way, ready to use.

        Raises:
            ConfigError: An integer is further from 0, or the shape or the level is another one.
        """
        ring.check_level(primes)
        if coefficients.ndim != 3 or coefficients.shape[2] != ring.degree:
            raise ConfigError(f"plaintexts are (rows, columns, {ring.degree}) integers")
        rows, columns, degree = coefficients.shape
        flat = np.ascontiguousarray(coefficients, np.int64).reshape(-1, degree)
        if flat.size and max(int(flat.max()), -int(flat.min())) > ring.plain_modulus:
            raise ConfigError("a plaintext's coefficients are taken mod t first (see `centred`)")
        values = np.empty((len(flat), primes, degree))
        kernels.centre(flat, ring.moduli, values)
        ring.to_values(values)
        return cls(ring, values.reshape(rows, columns, primes, degree))

    @classmethod
    def transformed(cls, residues: Numbers, *, ring: Ring = RING) -> "Plaintexts":
        """Return polynomials (rows, columns, primes, degree) ready to use, transformed in place.

        Args:
            residues: The same integers mod each prime, up to a prime either way.
            ring: Where they lie.

        Raises:
            ConfigError: The shape or the level is another one.
        """
        if residues.ndim != 4 or residues.shape[3] != ring.degree:
            raise ConfigError(f"plaintexts are (rows, columns, primes, {ring.degree}) residues")
        ring.check_level(residues.shape[2])
        ring.to_values(residues.reshape(-1, *residues.shape[2:]))
        return cls(ring, residues)


@dataclass(frozen=True, eq=False, repr=False)
class Products:
    """For each vector of ciphertexts and row of plaintexts the sum of products, when needed.

    They say much of the plaintexts, and are never sent: see `PublicKey.answer`.

    Attributes:
        plaintexts: A matrix.
        ciphertexts: Vectors of as many as it has columns, one after another.

    Raises:
        ConfigError: There is not one ciphertext a column, or primes or rings differ.
    """

    plaintexts: Plaintexts
    ciphertexts: Ciphertexts

    def __post_init__(self) -> None:
        (_, columns, *rest), sent = self.plaintexts.values.shape, self.ciphertexts.c0.shape
        same = self.plaintexts.ring == self.ciphertexts.ring and tuple(rest) == sent[1:]
        if not same or not columns or not sent[0] or sent[0] % columns:
            raise ConfigError("a matrix is multiplied with as many ciphertexts as it has columns")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Vectors, rows and primes."""
        rows, columns, primes, _ = self.plaintexts.values.shape
        return len(self.ciphertexts.c0) // columns, rows, primes

    def write(self, start: int, out: Numbers) -> None:
        """Write sums (vectors, rows, halves, primes, degree) from a row on, transformed."""
        matrix, sent = self.plaintexts.values, self.ciphertexts
        shape = (len(out), *matrix.shape[1:])
        kernels.multiply_accumulate(
            matrix[start : start + out.shape[1]],
            sent.c0.reshape(shape),
            sent.c1.reshape(shape),
            self.plaintexts.ring.moduli,
            out,
        )


def centred(residues: Residues, ring: Ring = RING) -> NDArray[np.int64]:
    """Return the integers nearest to 0 that are these mod t."""
    numbers = residues.astype(np.int64)
    numbers[numbers > ring.plain_modulus // 2] -= ring.plain_modulus
    return numbers
