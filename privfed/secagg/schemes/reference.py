"""The same integers in the same lanes, added in the clear: what the other schemes must equal."""

from collections.abc import Sequence

import numpy as np

from privfed.he import Integers, Packing, pack, planes, unpack
from privfed.keys import SecretKey
from privfed.secagg.schemes.base import Authentic, Opener, Sender, ZeroEncryption

_VALUES_PER_PART = 2**20


class Reference:
    """Plaintext: the server sees every update. For tests, simulation and comparison."""

    values_per_part = _VALUES_PER_PART
    download = "seeds"
    hashed = False
    flows = 1

    def __init__(self, packing: Packing) -> None:
        self.packing = packing
        self.mask_modulus = 2**packing.plain_bits

    def hashed_rows(self, values: int) -> int:
        """Return 0: nothing is hashed."""
        return 0

    def seed_bytes(self, values: int) -> int:
        """Return 0: nothing is random."""
        return 0

    def words(self, values: int) -> int:
        """Return how many words of mask a part takes."""
        return self.packing.coefficients(values)

    def payload_bytes(self, values: int) -> int:
        """Return the bytes of the coefficients mod t."""
        return planes.size_bytes(self.words(values), self.packing.plain_bits)

    partial_bytes = total_bytes = payload_bytes

    def payload(self, body: memoryview, values: int) -> memoryview:
        """Return the coefficients as they are."""
        return body

    partial = payload

    def accumulator(self, values: int) -> "ReferenceSum":
        """Return an empty sum."""
        return ReferenceSum(self.words(values), self.packing.plain_bits)

    def sender(self, secret: SecretKey) -> "ReferenceSender":
        """Return the half that makes payloads."""
        return ReferenceSender(self, secret)

    def opener(self, secret: SecretKey) -> "ReferenceOpener":
        """Return the half that opens totals."""
        return ReferenceOpener(self, secret)


class ReferenceSender(Sender[Reference]):
    """A party's half; nothing is encrypted."""

    def prepare(self, values: int) -> ZeroEncryption:
        """Return a zero that hides nothing."""
        return ZeroEncryption(np.zeros(self._scheme.words(values), np.uint64), b"")

    def seal(self, zero: ZeroEncryption, values: Integers) -> bytes:
        """Return the coefficients themselves."""
        coefficients, packing = zero.take(), self._scheme.packing
        coefficients += pack(values, packing)
        if zero.mask is not None:
            coefficients += zero.mask
        coefficients &= np.uint64(2**packing.plain_bits - 1)
        return planes.encode(coefficients, packing.plain_bits)


class ReferenceOpener(Opener[Reference]):
    """The half that reads totals; there is no decryption key."""

    def keystream(self, shares: Sequence[bytes], values: int) -> None:
        """Return nothing: sums are in the clear."""

    def open(self, total: Authentic, keystream: None) -> Integers | None:
        """Return the integer sums, or None where the lanes hold none."""
        packing = self._scheme.packing
        words = planes.decode(total.total, self._scheme.words(total.values), packing.plain_bits)
        return unpack(words, total.values, packing)


class ReferenceSum:
    """A sum mod t of coefficients in the clear."""

    def __init__(self, words: int, plain_bits: int) -> None:
        self.words = np.zeros(words, np.uint64)
        self._plain_bits = plain_bits

    def plus(self, addend: memoryview) -> "ReferenceSum":
        """Add coefficients, in place: none are refused."""
        self.words += planes.decode(addend, len(self.words), self._plain_bits)
        self.words &= np.uint64(2**self._plain_bits - 1)
        return self

    def plus_sum(self, other: "ReferenceSum") -> "ReferenceSum":
        """Add another sum, in place."""
        self.words += other.words
        self.words &= np.uint64(2**self._plain_bits - 1)
        return self

    def partial(self) -> bytes:
        """Return the sum."""
        return planes.encode(self.words, self._plain_bits)

    def total(self, seeds: Sequence[bytes]) -> bytes:
        """Return the sum."""
        return self.partial()
