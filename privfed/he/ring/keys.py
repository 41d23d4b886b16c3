"""The two keys: who holds the first reads, and who has the second answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.he.ring import kernels, sampling, wire
from privfed.he.ring.answers import Answers, answer, opened
from privfed.he.ring.ciphertexts import Ciphertexts, Products
from privfed.he.ring.parameters import RING, Numbers, Residues, Ring
from privfed.he.ring.sampling import SEED_BYTES


@dataclass(frozen=True, eq=False, repr=False)
class PublicKey:
    """An encryption of zero, whose second half is the expansion of a seed.

    Attributes:
        ring: Where it lies.
        seed: Of the second half.
        c0: The first half (primes, degree), transformed.
        c1: The second half.
    """

    ring: Ring
    seed: bytes
    c0: Numbers
    c1: Numbers

    def to_bytes(self) -> bytes:
        """Return the seed and the first half."""
        return self.seed + wire.pack(self.c0[np.newaxis])

    @staticmethod
    def size_bytes(*, ring: Ring = RING) -> int:
        """Return the length of a public key's bytes."""
        return Ciphertexts.size_bytes(1, len(ring.primes), ring=ring)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview, *, ring: Ring = RING) -> "PublicKey":
        """Return the key that `to_bytes` wrote.

        Raises:
            DecodeError: It has another length, or a residue is not below its prime.
        """
        read = Ciphertexts.from_bytes(data, 1, len(ring.primes), ring=ring)
        return cls(ring, read.seed, read.c0[0], read.c1[0])

    def answer(
        self,
        products: Products,
        masks: Residues,
        flood_bits: int,
        *,
        kept_primes: int,
        positions: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> Answers:
        """Return what the key's holder may see of products: their sums with the masks.

        Args:
            products: Of this key's ciphertexts.
            masks: Residues mod t (rows, degree), fresh and uniform (`uniform_plain`); what is
                known may be added mod t.
            flood_bits: F is uniform from -2^(flood_bits-1) on; how many hide what, `bounds` says.
            kept_primes: How many primes an answer keeps, its modulus switched after flooding.
            positions: Which coefficients are opened; None for all.

        Raises:
            ConfigError: Something does not fit.
        """
        if products.ring != self.ring:
            raise ConfigError("products and key lie in one ring")
        return answer((self.c0, self.c1), products, masks, flood_bits, kept_primes, positions)


class RingKey:
    """A ternary secret key. Never printed, never pickled, never saved: a new one each session."""

    __slots__ = ("_secret", "public", "ring")

    def __init__(self, ring: Ring = RING) -> None:
        """Draw a key and its public key."""
        self.ring = ring
        secret = np.empty((1, len(ring.primes), ring.degree))
        secret[:] = sampling.ternary(1, ring)
        ring.to_values(secret)
        self._secret = secret[0]
        zero = self.encrypt(np.zeros((1, ring.degree), np.uint64), len(ring.primes))
        self.public = PublicKey(ring, zero.seed, zero.c0[0], zero.c1[0])

    @classmethod
    def generate(cls, ring: Ring = RING) -> "RingKey":
        """Return a fresh key."""
        return cls(ring)

    def __repr__(self) -> str:
        return "RingKey(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a RingKey is not pickled or copied: generate another one")

    def encrypt(self, messages: Residues, primes: int) -> Ciphertexts:
        """Return ciphertexts of messages (count, degree), residues mod t, mod the first primes.

        Raises:
            ConfigError: They are something else.
        """
        ring, count = self.ring, len(messages)
        ring.check_level(primes)
        if messages.shape[1:] != (ring.degree,) or messages.max(initial=0) >= ring.plain_modulus:
            raise ConfigError(f"messages are (count, {ring.degree}) residues mod t")
        seed = sampling.fresh().bytes(SEED_BYTES).tobytes()
        c1 = sampling.uniform(seed, count, ring, primes)
        c0 = np.empty_like(c1)
        plain = float(ring.plain_modulus)
        kernels.spread(messages, sampling.errors(count, ring), plain, ring.moduli, c0)
        ring.to_values(c0)
        kernels.add_products(c1, self._secret[:primes], -1.0, ring.moduli, c0)
        return Ciphertexts(ring, seed, c0, c1)

    def decrypt(self, answers: Answers) -> Residues:
        """Return the messages (rows, positions) mod t of answers to this key.

        Raises:
            ConfigError: They are of another ring.
        """
        if answers.ring != self.ring:
            raise ConfigError("answers and key lie in one ring")
        values = answers.c1.copy()
        self.ring.to_values(values)
        phases = np.zeros_like(values)
        kept = values.shape[1]
        kernels.add_products(values, self._secret[:kept], 1.0, self.ring.moduli, phases)
        self.ring.to_coefficients(phases)
        if answers.positions is not None:
            phases = phases[:, :, answers.positions]
        return opened(np.ascontiguousarray(phases + answers.c0), answers.primes, self.ring)
