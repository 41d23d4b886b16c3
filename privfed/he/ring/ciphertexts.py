"""Ciphertexts of a key's holder, plaintexts of the other side, and their sums of products.

All are transformed when they are made, so a product is one of values. A fresh ciphertext's uniform
half is the expansion of a seed, which travels instead.
"""

from dataclasses import dataclass

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
        seed: Of their uniform halves.
        c0: Their other halves.
        c1: The uniform halves.
    """

    ring: Ring
    seed: bytes
    c0: Numbers
    c1: Numbers

    def to_bytes(self) -> bytes:
        """Return the seed and the halves that it does not give."""
        return self.seed + wire.pack(self.c0)

    @staticmethod
    def size_bytes(count: int, primes: int, *, ring: Ring = RING) -> int:
        """Return the length of so many ciphertexts' bytes."""
        return SEED_BYTES + wire.size_bytes(count, primes, ring.degree)

    @classmethod
    def from_bytes(
        cls, data: bytes | memoryview, count: int, primes: int, *, ring: Ring = RING
    ) -> "Ciphertexts":
        """Return the ciphertexts that `to_bytes` wrote.

        Raises:
            DecodeError: They are not so many, or a residue is not below its prime.
        """
        ring.check_level(primes)
        wire.check_size(data, cls.size_bytes(count, primes, ring=ring))
        seed = bytes(data[:SEED_BYTES])
        c0 = wire.unpack(data[SEED_BYTES:], (count, primes, ring.degree), ring)
        return cls(ring, seed, c0, uniform(seed, count, ring, primes))


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


@dataclass(frozen=True, eq=False, repr=False)
class Products:
    """Sums of products (rows, primes, degree), which say much of the plaintexts: never sent.

    Attributes:
        ring: Where they lie.
        c0: First halves.
        c1: Second halves.
    """

    ring: Ring
    c0: Numbers
    c1: Numbers


def products(plaintexts: Plaintexts, ciphertexts: Ciphertexts) -> Products:
    """Return for each row of plaintexts the sum of its products with the ciphertexts.

    Raises:
        ConfigError: There is not one ciphertext a column, or primes or rings differ.
    """
    rows, *shape = plaintexts.values.shape
    if plaintexts.ring != ciphertexts.ring or tuple(shape) != ciphertexts.c0.shape:
        raise ConfigError("a matrix is multiplied with as many ciphertexts as it has columns")
    ring = plaintexts.ring
    c0, c1 = np.empty((rows, *shape[1:])), np.empty((rows, *shape[1:]))
    kernels.multiply_accumulate(
        plaintexts.values, ciphertexts.c0, ciphertexts.c1, ring.moduli, c0, c1
    )
    return Products(ring, c0, c1)


def centred(residues: Residues, ring: Ring = RING) -> NDArray[np.int64]:
    """Return the integers nearest to 0 that are these mod t."""
    numbers = residues.astype(np.int64)
    numbers[numbers > ring.plain_modulus // 2] -= ring.plain_modulus
    return numbers
