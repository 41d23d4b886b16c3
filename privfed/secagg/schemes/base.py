"""What a scheme is: integers of one part in, bytes that add, integers of the sum out.

A scheme knows nothing of parties, rounds or signatures. A scheme in which no decryption key
exists fits too: its `keystream` is then the sum of short shares, one from each party of the
round, instead of something that a key holder computes alone (see docs/threat-model.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, Self

from privfed.errors import ReplayError
from privfed.he import Integers, Words
from privfed.keys import SecretKey
from psi.storage import Process


@dataclass(eq=False)
class ZeroEncryption:
    """Randomness of one part, made ahead: good for one message, in the process that made it.

    Used twice, it would show the difference of two messages.
    """

    words: Words | None = field(repr=False)
    seeds: bytes = field(repr=False)
    process: Process = field(default_factory=Process, repr=False)
    mask: Words | None = field(default=None, repr=False)
    c1: Words | None = field(default=None, repr=False)  # what the seeds stand for, where needed

    def take(self) -> Words:
        """Return the words, once.

        Raises:
            ReplayError: They were used already, or made in another process.
        """
        words, self.words = self.words, None
        if words is None:
            raise ReplayError("an encryption of zero is used once; prepare() another")
        if not self.process.is_this:
            raise ReplayError("encryptions of zero stay in the process that made them")
        return words

    def keep(self, mask: Words) -> None:
        """Keep a mask until the message comes.

        Raises:
            ReplayError: The zero was used already.
        """
        if self.words is None:
            raise ReplayError("an encryption of zero is used once; prepare() another")
        self.mask = mask

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise ReplayError("encryptions of zero are not pickled or copied; prepare() others")


class Accumulator(Protocol):
    """Adds the payloads of one part; needs no key."""

    def plus(self, addend: Any) -> Self:
        """Return the sum with what the scheme's `payload` or `partial` returned added.

        If the scheme may refuse an addend, the sum is a new object, and this one stays as it is.

        Raises:
            DecodeError: It is refused.
        """

    def partial(self) -> bytes:
        """Return the sum so far, uncut, for the scheme's `partial`."""

    def total(self, seeds: Sequence[bytes]) -> bytes:
        """Return the sum as a decryptor reads it; `seeds` are those of all senders."""


class Scheme(Protocol):
    """Sizes and operations of one scheme; `values` counts the integers of a part.

    Attributes:
        values_per_part: Most integers in a part.
        download: "seeds" where totals carry the senders' seeds, else "summed".
        mask_modulus: t, modulo which masks and messages add; 0 where masks are impossible.
        hashed: Whether parties sign a linear hash of their ciphertexts, which a total must fit.
    """

    values_per_part: int
    download: str
    mask_modulus: int
    hashed: bool

    def seed_bytes(self, values: int) -> int:
        """Return the bytes of seeds that go with a payload."""

    def payload_bytes(self, values: int) -> int:
        """Return the bytes of one party's payload."""

    def partial_bytes(self, values: int) -> int:
        """Return the bytes of a partial sum."""

    def total_bytes(self, values: int) -> int:
        """Return the bytes of the total."""

    def words(self, values: int) -> int:
        """Return how many words of mask a part takes."""

    def prepare(self, key: SecretKey, values: int) -> ZeroEncryption:
        """Return what can be computed before the message is known."""

    def seal(self, key: SecretKey, zero: ZeroEncryption, values: Integers) -> bytes:
        """Return the payload that hides `values`.

        Where the zero carries a mask, message and mask are added mod t before anything else:
        what is done to their sum then depends on no single message.
        """

    def hashed_words(self, zero: ZeroEncryption, payload: bytes, values: int) -> list[Words]:
        """Return the words mod q of one party's ciphertext that its linear hash covers.

        Asked for, as `summed_words` is, where `hashed` says so.
        """

    def summed_words(self, total: memoryview, values: int) -> list[Words] | None:
        """Return the sums of those words in a total; None where one is q or more."""

    def payload(self, body: memoryview, values: int) -> Any:
        """Return one party's payload, whose length was checked, ready to be added.

        Raises:
            DecodeError: It is no valid payload.
        """

    def partial(self, body: memoryview, values: int) -> Any:
        """Return an accumulator's partial sum, whose length was checked, ready to be added.

        Raises:
            DecodeError: It is no valid sum.
        """

    def accumulator(self, values: int) -> Accumulator:
        """Return an empty sum."""

    def keystream(self, key: SecretKey, seeds: Sequence[bytes], values: int) -> Any:
        """Return the part of the decryption that depends on the senders' seeds alone."""

    def open(
        self, key: SecretKey, keystream: Any, total: memoryview, values: int, clients: int
    ) -> Integers | None:
        """Return the integer sums, or None where the total does not decrypt."""
