"""The same integers in the same lanes, added in the clear: what the other schemes must equal."""

from collections.abc import Sequence

import numpy as np

from privfed.he import Integers, Packing, Words, pack, planes, unpack
from privfed.keys import SecretKey
from privfed.secagg.schemes.base import ZeroEncryption

_VALUES_PER_PART = 2**20


class Reference:
    """Plaintext: the server sees every update. For tests, simulation and comparison."""

    values_per_part = _VALUES_PER_PART
    download = "seeds"
    hashed = False

    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        self.mask_modulus = 2**packing.plain_bits

    def seed_bytes(self, values: int) -> int:
        """Return 0: nothing is random."""
        return 0

    def words(self, values: int) -> int:
        """Return how many words of mask a part takes."""
        return self._packing.coefficients(values)

    def payload_bytes(self, values: int) -> int:
        """Return the bytes of the coefficients mod t."""
        return planes.size_bytes(self.words(values), self._packing.plain_bits)

    partial_bytes = total_bytes = payload_bytes

    def prepare(self, key: SecretKey, values: int) -> ZeroEncryption:
        """Return a zero that hides nothing."""
        return ZeroEncryption(np.zeros(self.words(values), np.uint64), b"")

    def seal(self, key: SecretKey, zero: ZeroEncryption, values: Integers) -> bytes:
        """Return the coefficients themselves."""
        coefficients = zero.take()
        coefficients += pack(values, self._packing)
        if zero.mask is not None:
            coefficients += zero.mask
        coefficients &= np.uint64(2**self._packing.plain_bits - 1)
        return planes.encode(coefficients, self._packing.plain_bits)

    def hashed_words(self, zero: ZeroEncryption, payload: bytes, values: int) -> list[Words]:
        """Return nothing: no key needs protection."""
        return []

    def summed_words(self, total: memoryview, values: int) -> list[Words]:
        """Return nothing."""
        return []

    def payload(self, body: memoryview, values: int) -> memoryview:
        """Return the coefficients as they are."""
        return body

    partial = payload

    def accumulator(self, values: int) -> "ReferenceSum":
        """Return an empty sum."""
        return ReferenceSum(self.words(values), self._packing.plain_bits)

    def keystream(self, key: SecretKey, seeds: Sequence[bytes], values: int) -> None:
        """Return nothing: there is no key."""

    def open(
        self, key: SecretKey, keystream: None, total: memoryview, values: int, clients: int
    ) -> Integers | None:
        """Return the integer sums, or None where the lanes hold none."""
        words = planes.decode(total, self.words(values), self._packing.plain_bits)
        return unpack(words, values, self._packing)


class ReferenceSum:
    """A sum mod t of coefficients in the clear."""

    def __init__(self, words: int, plain_bits: int) -> None:
        self._sum = np.zeros(words, np.uint64)
        self._plain_bits = plain_bits

    def plus(self, addend: memoryview) -> "ReferenceSum":
        """Add coefficients, in place: none are refused."""
        self._sum += planes.decode(addend, len(self._sum), self._plain_bits)
        self._sum &= np.uint64(2**self._plain_bits - 1)
        return self

    def partial(self) -> bytes:
        """Return the sum."""
        return planes.encode(self._sum, self._plain_bits)

    def total(self, seeds: Sequence[bytes]) -> bytes:
        """Return the sum."""
        return self.partial()
