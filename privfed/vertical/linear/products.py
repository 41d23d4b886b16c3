"""Products of one side's matrix with what the other holds, under the keys of one session."""

from privfed.he.ring import (
    Answers,
    Ciphertexts,
    Plaintexts,
    Products,
    PublicKey,
    RingKey,
    uniform_plain,
)
from privfed.vertical.linear.capacity import ProductLayout
from privfed.vertical.linear.shares import Residues, negative
from psi.errors import StateError

__all__ = ["KeyedProducts"]


class KeyedProducts:
    """A fresh key of this side, and the other side's public key.

    Attributes:
        key: This side's.
    """

    def __init__(self) -> None:
        """Draw the key."""
        self.key = RingKey.generate()
        self._theirs: PublicKey | None = None

    def __repr__(self) -> str:
        return "KeyedProducts(...)"

    @property
    def theirs(self) -> PublicKey:
        """The other side's key.

        Raises:
            StateError: It did not come yet.
        """
        if self._theirs is None:
            raise StateError("this session has no other side")
        return self._theirs

    def meet(self, public: memoryview) -> None:
        """Take the other side's key; errors as of `PublicKey.from_bytes`."""
        self._theirs = PublicKey.from_bytes(public)

    def encrypted(self, layout: ProductLayout, numbers: Residues) -> bytes:
        """Return numbers for the other side to multiply."""
        return self.key.encrypt(layout.packing.vector(numbers), layout.primes).to_bytes()

    @staticmethod
    def taken(layout: ProductLayout, ciphertexts: memoryview) -> Ciphertexts:
        """Return what the other side encrypted; errors as of `Ciphertexts.from_bytes`."""
        return Ciphertexts.from_bytes(ciphertexts, layout.packing.ciphertexts, layout.primes)

    def answered(
        self, layout: ProductLayout, plaintexts: Plaintexts, ciphertexts: Ciphertexts
    ) -> tuple[bytes, Residues]:
        """Return the answers to the other side, and this side's share of what they hold."""
        packing = layout.packing
        masks = uniform_plain(packing.answers, len(packing.positions))
        answers = self.theirs.answer(
            Products(plaintexts, ciphertexts),
            masks,
            layout.flood_bits,
            kept_primes=layout.kept_primes,
            positions=packing.positions,
        )
        return answers.to_bytes(), negative(packing.results(masks))

    def decrypted(self, layout: ProductLayout, answers: memoryview) -> Residues:
        """Return what the other side answered; errors as of `Answers.from_bytes`."""
        packing = layout.packing
        taken = Answers.from_bytes(
            answers,
            packing.answers,
            primes=layout.primes,
            kept_primes=layout.kept_primes,
            positions=packing.positions,
        )
        return packing.results(self.key.decrypt(taken))
