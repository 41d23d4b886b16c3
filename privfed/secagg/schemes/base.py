"""What a scheme is: integers of one part in, bytes that add, integers of the sum out.

A scheme knows nothing of parties, rounds or signatures. What needs no secret, sizes and sums, is
the `Scheme`; from it a party has its `Sender` and its `Opener`, both made of the *group secret*
(`SecretKey`), on which pads, hashes, tags and masks of the round hang whatever the scheme. A
*decryption key* is the scheme's own affair: it derives one from the group secret (packed, slots,
ckks: SEAL's), or there is none (reference).

A total is opened by its *keystream*. In one flow that follows from the senders' seeds, or from the
total, and the decryption key. A scheme in which nobody holds such a key fits as well: in two flows
the keystream is the sum of short replies, which the senders in a total give to a request (see
docs/threat-model.md).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, Protocol, Self, TypeVar

from privfed.errors import ReplayError
from privfed.he import Integers, Words
from privfed.keys import SecretKey
from privfed.secagg import linear_hash
from privfed.secagg.ahead import Ahead
from privfed.secagg.linear_hash import HashSecrets
from privfed.secagg.tags import TAGS
from psi.storage import Process

Of = TypeVar("Of", bound="Scheme")


@dataclass(eq=False)
class ZeroEncryption:
    """Randomness of one part, made ahead: good for one message, in the process that made it.

    Used twice, it would show the difference of two messages.
    """

    words: Words | None = field(repr=False)
    seeds: bytes = field(repr=False)
    process: Process = field(default_factory=Process, repr=False)
    mask: Words | None = field(default=None, repr=False)
    tag_masks: Sequence[int] = field(default=(0,) * TAGS, repr=False)
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

    def plus_sum(self, other: Self) -> Self:
        """Return the sum with another one added, which is used up.

        Raises:
            DecodeError: It is refused.
        """

    def partial(self) -> bytes:
        """Return the sum so far, uncut, for the scheme's `partial`."""

    def total(self, seeds: Sequence[bytes]) -> bytes:
        """Return the sum as a decryptor reads it; `seeds` are those of all senders."""


class Sender(ABC, Generic[Of]):
    """A party's half of a scheme.

    Args:
        scheme: The scheme.
        secret: The group secret.
    """

    def __init__(self, scheme: Of, secret: SecretKey) -> None:
        self._scheme, self._secret = scheme, secret
        self.ahead: Ahead | None = None  # where `prepare` finds what another process made

    def makes_ahead(self, parts: Sequence[int], most_bytes: int) -> Ahead | None:
        """Return what makes ahead, in another process, what parts of so many integers need.

        None where `prepare` has nothing to do.
        """
        return None

    @abstractmethod
    def prepare(self, values: int) -> ZeroEncryption:
        """Return what can be computed before the message is known."""

    @abstractmethod
    def seal(self, zero: ZeroEncryption, values: Integers) -> bytes:
        """Return the payload that hides `values`.

        Where the zero carries a mask, message and mask are added mod t before anything else:
        what is done to their sum then depends on no single message.
        """

    def hashed_words(self, zero: ZeroEncryption, payload: bytes, values: int) -> list[Words]:
        """Return the words mod q of this party's ciphertext that its linear hash covers."""
        raise NotImplementedError

    def hidden_hash(
        self, secrets: HashSecrets, signed: bytes, zero: ZeroEncryption, payload: bytes, values: int
    ) -> bytes:
        """Return the linear hash of this party's ciphertext under its pad.

        Args:
            secrets: Those of the round's and part's hashes.
            signed: What the party signs of its message.
            zero: What the payload was made with.
            payload: What `seal` returned.
            values: How many integers are in it.
        """
        words = self.hashed_words(zero, payload, values)
        return linear_hash.hidden_hash(secrets, signed, words)

    def reply(self, zero: ZeroEncryption, request: bytes, values: int) -> bytes:
        """Return this party's share of the keystream of a sum that `zero` is in: two flows only.

        Raises:
            ReplayError: A reply was given for this zero already.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Authentic:
    """A total that is the sum of what its senders signed, as far as hashes cover it.

    `Opener.authentic` makes them, nothing else: without one, nothing is opened.

    Attributes:
        total: Its bytes.
        values: How many integers are summed in it.
        signed: What each sender signed of its message.
    """

    total: memoryview = field(repr=False)
    values: int
    signed: tuple[bytes, ...] = field(repr=False)

    @property
    def clients(self) -> int:
        """How many senders are in it."""
        return len(self.signed)


class Opener(ABC, Generic[Of]):
    """The half of a scheme that reads totals.

    Args:
        scheme: The scheme.
        secret: The group secret.
    """

    def __init__(self, scheme: Of, secret: SecretKey) -> None:
        self._scheme, self._secret = scheme, secret

    def summed_words(self, total: memoryview, values: int) -> list[Words] | None:
        """Return the sums of the words that hashes cover; None where one is q or more."""
        raise NotImplementedError

    def authentic(
        self,
        secrets: HashSecrets | None,
        signed: Sequence[tuple[bytes, bytes]],
        total: memoryview,
        values: int,
    ) -> Authentic | None:
        """Return a total that may be opened, or None where it is not the senders' sum.

        No decryption key is touched.

        Args:
            secrets: Those of the round's and part's hashes; None where there are none.
            signed: What each sender signed of its message, and its `Sender.hidden_hash`.
            total: A total's bytes, whose length was checked.
            values: How many integers are summed in it.
        """
        if self._scheme.hashed:
            words = self.summed_words(total, values)
            if words is None or secrets is None:
                return None
            if not linear_hash.authentic(secrets, signed, words):
                return None
        return Authentic(total, values, tuple(message for message, _ in signed))

    def request(self, total: Authentic) -> bytes | None:
        """Return what the total's senders have to reply to; None where one flow is enough."""
        return None

    @abstractmethod
    def keystream(self, shares: Sequence[bytes], values: int) -> Any:
        """Return the part of the decryption that depends on no sum.

        Args:
            shares: One of each sender: its seeds, or in two flows its reply.
            values: How many integers are summed.
        """

    @abstractmethod
    def open(self, total: Authentic, keystream: Any) -> Integers | None:
        """Return the integer sums, or None where the total does not decrypt."""


class Scheme(Protocol):
    """Sizes and sums, which need no secret; `values` counts the integers of a part.

    Attributes:
        values_per_part: Most integers in a part.
        download: "seeds" where totals carry the senders' seeds, else "summed".
        mask_modulus: t, modulo which masks and messages add; 0 where masks are impossible.
        hashed: Whether parties sign a linear hash of their ciphertexts, which a total must fit.
        flows: 1: whoever has a total opens it; 2: its senders reply to a request first.
    """

    values_per_part: int
    download: str
    mask_modulus: int
    hashed: bool
    flows: int

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

    def hashed_rows(self, values: int) -> int:
        """Return how many rows of words a part's linear hash is over; 0 where there is none."""

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

    def sender(self, secret: SecretKey) -> Sender[Any]:
        """Return the half that makes payloads."""

    def opener(self, secret: SecretKey) -> Opener[Any]:
        """Return the half that opens totals."""
