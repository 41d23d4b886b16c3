"""The two keys: who holds the first reads, and who has the second answers."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.he.ring import kernels, sampling
from privfed.he.ring.answers import Answers, Flood, answer, compose
from privfed.he.ring.ciphertexts import Ciphertexts, Products
from privfed.he.ring.parameters import RING, Residues, Ring
from privfed.he.ring.sampling import SEED_BYTES


@dataclass(frozen=True, eq=False, repr=False)
class PublicKey:
    """What anybody encrypts with.

    Attributes:
        zero: An encryption of zero, at all primes.
    """

    zero: Ciphertexts

    def to_bytes(self) -> bytes:
        """Return the key's bytes."""
        return self.zero.to_bytes()

    @staticmethod
    def size_bytes(*, ring: Ring = RING) -> int:
        """Return their length."""
        return Ciphertexts.size_bytes(1, len(ring.primes), ring=ring)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview, *, ring: Ring = RING) -> "PublicKey":
        """Return the key that `to_bytes` wrote.

        Raises:
            DecodeError: It has another length, or a residue is not below its prime.
        """
        return cls(Ciphertexts.from_bytes(data, 1, len(ring.primes), ring=ring))

    def answer(
        self,
        products: Products,
        masks: Residues,
        flood_bits: int,
        *,
        kept_primes: int,
        positions: Sequence[int] | NDArray[np.int64] | None = None,
        summands: int = 1,
    ) -> Answers:
        """Return what the key's holder may see of products: their sums with the masks.

        A vector's rows are answered one after another, and then the next vector's.

        Args:
            products: Those of this key's ciphertexts.
            masks: Residues mod t (answers, positions), fresh and uniform (`uniform_plain`); what
                is known may be added mod t.
            flood_bits: F's summands are uniform below 2^flood_bits, and F is centred; `bounds`
                says how many bits hide what.
            kept_primes: How many primes an answer keeps, its modulus switched after flooding.
            positions: Which coefficients are opened; None for all.
            summands: How many uniform numbers F is the sum of, 1 to 4.

        Raises:
            ConfigError: Something does not fit.
        """
        if products.plaintexts.ring != self.zero.ring:
            raise ConfigError("products and key lie in one ring")
        flood = Flood(flood_bits, summands)
        return answer(self.zero, products, masks, flood, kept_primes, positions)


class RingKey:
    """A ternary secret key. Never printed, never pickled, never saved: a new one each session."""

    __slots__ = ("_secret", "public", "ring")

    def __init__(self, ring: Ring = RING) -> None:
        """Draw a key and its public key."""
        self.ring = ring
        secret = np.empty((1, len(ring.primes), ring.degree))
        secret[:] = sampling.ternary(sampling.fresh(), ring)
        ring.to_values(secret)
        self._secret = secret[0]
        zero = np.zeros((1, ring.degree), np.uint64)
        self.public = PublicKey(self.encrypt(zero, len(ring.primes)))

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
        seed = secrets.token_bytes(SEED_BYTES)
        stream, own = sampling.Stream(seed), sampling.fresh()
        plain = float(ring.plain_modulus)
        c0, c1 = np.empty((count, primes, ring.degree)), np.empty((1, primes, ring.degree))
        for row in range(count):
            part, errors = c0[row : row + 1], sampling.errors(own, 1, ring.degree)
            sampling.fill_below(stream, ring.primes[:primes], c1)
            kernels.spread(messages[row : row + 1], errors, plain, ring.moduli, part)
            ring.to_values(part)
            kernels.add_products(c1, self._secret[:primes], -1.0, ring.moduli, part)
        return Ciphertexts(ring, seed, c0)

    def decrypt(self, answers: Answers) -> Residues:
        """Return the messages (rows, positions) mod t of answers to this key.

        Raises:
            ConfigError: They are of another ring.
        """
        if answers.ring != self.ring:
            raise ConfigError("answers and key lie in one ring")
        ring, kept, positions = self.ring, answers.kept_primes, answers.positions
        c0, c1 = answers.halves()
        phases = np.empty((1, kept, ring.degree))
        out = np.empty((len(answers.body), c0.shape[1]), np.uint64)
        for row, opened in enumerate(out):
            answers.read(row, c0, c1)
            ring.to_values(c1[np.newaxis])
            phases[:] = 0
            kernels.add_products(c1[np.newaxis], self._secret[:kept], 1.0, ring.moduli, phases)
            ring.to_coefficients(phases)
            c0 += phases[0] if positions is None else phases[0][:, positions]
            compose(c0, answers.primes, ring, opened)
        return out
