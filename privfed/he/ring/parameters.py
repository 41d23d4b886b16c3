"""The ring: its degree, its primes, the plaintext modulus, and the tables of their transforms.

Z[x]/(x^N + 1) mod a product of primes below 2^50, each 1 mod 2N. The message lies in the low bits:
c0 + c1*s = m + t*e, exact for any t prime to the primes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.he.ring import transforms
from privfed.he.ring.floats import LANES, PRIME_BITS

DEGREE = 8192
# The four greatest primes below 2^50, and the greatest below 2^49, that are 1 mod 2 * 8192: a word
# of 50 random bits is one of their residues with all but 2^-29 of chance. SEAL takes the same ones.
PRIMES = (1125899906826241, 1125899906629633, 1125899905744897, 1125899905351681)
PLAIN_MODULUS = 562949952847873

Residues = NDArray[np.uint64]  # at rest among people
Numbers = NDArray[np.float64]  # the same, from 0 to a prime, where they are computed with


@dataclass(frozen=True)
class Ring:
    """A degree, primes and a plaintext modulus, of which only a prime of `RING`'s kind has slots.

    At 128 bits of security the primes' product is below 2^109 at degree 4096, 2^218 at 8192.

    Raises:
        ConfigError: They do not fit together. A plaintext modulus that divides a prime would show
            the key, as no noise were left mod that prime.
    """

    degree: int
    primes: tuple[int, ...]
    plain_modulus: int

    def __post_init__(self) -> None:
        degree = self.degree
        if degree < LANES**2 or degree & (degree - 1):
            raise ConfigError(f"the degree is a power of two from {LANES**2} on, not {degree}")
        if not self.primes or len(set(self.primes)) < len(self.primes):
            raise ConfigError("a ring has one prime or more, each once")
        if any(math.gcd(prime, self.plain_modulus) > 1 for prime in self.primes):
            raise ConfigError("the plaintext modulus shares a factor with a prime: the key opens")
        if any(prime % (2 * degree) != 1 or prime >> PRIME_BITS for prime in self.primes):
            raise ConfigError(f"a prime is below 2^{PRIME_BITS} and 1 mod twice the degree")
        if not 2 <= self.plain_modulus < min(self.primes):
            raise ConfigError("the plaintext modulus is 2 or more, and below each prime")

    def modulus(self, primes: int) -> int:
        """Return the product of the first primes."""
        return math.prod(self.primes[:primes])

    def check_level(self, primes: int) -> None:
        """Check that there are so many primes.

        Raises:
            ConfigError: There are not.
        """
        if not 1 <= primes <= len(self.primes):
            raise ConfigError(f"take 1 to {len(self.primes)} primes, not {primes}")

    def to_values(self, words: Numbers) -> None:
        """Transform polynomials (count, primes, degree), up to a prime either way, in place."""
        self._tables.to_values(words)

    def to_coefficients(self, words: Numbers) -> None:
        """Undo `to_values`, in place."""
        self._tables.to_coefficients(words)

    def to_slots(self, values: Residues) -> Residues:
        """Return the polynomials (count, degree) whose slots hold these residues mod t.

        A product of polynomials is a product slot by slot.

        Raises:
            ConfigError: The ring has no slots.
        """
        words = values.astype(np.float64)[:, np.newaxis]
        self._plain_tables.to_coefficients(words)
        return words[:, 0].astype(np.uint64)

    def from_slots(self, polynomials: Residues) -> Residues:
        """Return what the slots of polynomials (count, degree) hold.

        Raises:
            ConfigError: The ring has no slots.
        """
        words = polynomials.astype(np.float64)[:, np.newaxis]
        self._plain_tables.to_values(words)
        return words[:, 0].astype(np.uint64)

    @cached_property
    def moduli(self) -> Numbers:
        """The primes and their inverses as doubles: (primes, 2)."""
        return np.ascontiguousarray(self._tables.moduli[:, :2])

    @cached_property
    def _tables(self) -> "_Tables":
        return _Tables(self.degree, self.primes)

    @cached_property
    def _plain_tables(self) -> "_Tables":
        if self.plain_modulus % (2 * self.degree) != 1:
            raise ConfigError("slots need a plaintext modulus that is 1 mod twice the degree")
        return _Tables(self.degree, (self.plain_modulus,))


class _Tables:
    """Powers of a root of unity for each prime, ordered as the transforms take them."""

    def __init__(self, degree: int, primes: Sequence[int]) -> None:
        stages = degree.bit_length() - 1
        self._columns = 1 << (stages // 2)
        self._rows = degree // self._columns
        self.moduli = np.array([(p, 1 / p, pow(degree, -1, p)) for p in primes])
        roots = [_root(degree, prime) for prime in primes]
        self._there = self._pack(primes, roots)
        self._back = self._pack(primes, [pow(r, -1, p) for r, p in zip(roots, primes, strict=True)])

    def to_values(self, words: Numbers) -> None:
        level = words.shape[1]
        wide, narrow = self._there
        transforms.forward(words, self.moduli[:level], wide[:level], narrow[:level])

    def to_coefficients(self, words: Numbers) -> None:
        level = words.shape[1]
        wide, narrow = self._back
        transforms.inverse(words, self.moduli[:level], wide[:level], narrow[:level])

    def _pack(self, primes: Sequence[int], roots: Sequence[int]) -> tuple[Numbers, Numbers]:
        """Return the twiddles of the first stages, each LANES times, and those of the others."""
        rows, columns = self._rows, self._columns
        stages = (rows * columns).bit_length() - 1
        order = [int(f"{index:0{stages}b}"[::-1], 2) for index in range(rows * columns)]
        wide = np.zeros((len(primes), 2, rows, LANES))
        narrow = np.zeros((len(primes), 2, columns, rows))
        for place, (prime, root) in enumerate(zip(primes, roots, strict=True)):
            powers = [1]
            for _ in range(rows * columns - 1):
                powers.append(powers[-1] * root % prime)
            centred = [powers[index] - prime * (2 * powers[index] > prime) for index in order]
            both = np.array([centred, [number / prime for number in centred]])
            wide[place] = both[:, :rows, np.newaxis]
            block = 1
            while block < columns:  # a stage of rows * block blocks: block of them in each column
                stage = both[:, rows * block : 2 * rows * block].reshape(2, rows, block)
                narrow[place, :, block : 2 * block] = stage.transpose(0, 2, 1)
                block *= 2
        return wide, narrow


def _root(degree: int, prime: int) -> int:
    """Return a primitive root of unity of order twice the degree."""
    candidates = (pow(base, (prime - 1) // (2 * degree), prime) for base in range(2, prime))
    return next(root for root in candidates if pow(root, degree, prime) == prime - 1)


RING = Ring(DEGREE, PRIMES, PLAIN_MODULUS)
