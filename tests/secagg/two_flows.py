"""A scheme that nobody holds a decryption key of, to show that the interface has room for one.

Each party hides its lanes behind A*s mod q, where A is one public matrix and s a short secret made
for this message alone. The sums of lanes and of A*s add; a total opens with the sum of s, which its
senders reply. That is additive sharing and no more: whoever sees one party's reply and its upload
reads it. What a real one needs (noise, replies that hide behind each other): docs/threat-model.md.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from privfed.errors import ReplayError
from privfed.he import MODULUS, MODULUS_BITS, Integers, Packing, Words, pack, planes, unpack
from privfed.keys import SecretKey
from privfed.secagg.schemes import Authentic, Opener, Sender, ZeroEncryption

_RANK = 4
_WORD_BYTES = 8
REPLY_BYTES = _RANK * _WORD_BYTES


class Shares:
    """Lanes mod t under a one-time pad mod q, which is a public matrix times a short secret."""

    values_per_part = 5000
    download = "summed"
    hashed = True
    flows = 2

    def __init__(self, packing: Packing) -> None:
        self.packing, self.mask_modulus = packing, 2**packing.plain_bits

    def words(self, values: int) -> int:
        return self.packing.coefficients(values)

    def hashed_rows(self, values: int) -> int:
        return -(-self.words(values) // 4096)

    def seed_bytes(self, values: int) -> int:
        return 0

    def payload_bytes(self, values: int) -> int:
        return planes.size_bytes(self.words(values), MODULUS_BITS)

    partial_bytes = total_bytes = payload_bytes

    def payload(self, body: memoryview, values: int) -> Words:
        return planes.decode(body, self.words(values), MODULUS_BITS)

    partial = payload

    def accumulator(self, values: int) -> "SharesSum":
        return SharesSum(np.zeros(self.words(values), np.uint64))

    def pads(self, secret: Sequence[int], count: int) -> Words:
        """A*s mod q."""
        matrix = np.random.default_rng(0).integers(0, MODULUS, (count, _RANK), np.uint64)
        pads = [sum(map(int.__mul__, row, secret)) % MODULUS for row in matrix.tolist()]
        return np.array(pads, np.uint64)

    def sender(self, secret: SecretKey) -> "SharesSender":
        return SharesSender(self, secret)

    def opener(self, secret: SecretKey) -> "SharesOpener":
        return SharesOpener(self, secret)


@dataclass(eq=False)
class _Zero(ZeroEncryption):
    """Also keeps, from the message to the reply, the secret that the pad was made of."""

    share: list[int] | None = field(default=None, repr=False)


class SharesSender(Sender[Shares]):
    def prepare(self, values: int) -> _Zero:
        share = [secrets.randbelow(MODULUS) for _ in range(_RANK)]
        return _Zero(self._scheme.pads(share, self._scheme.words(values)), b"", share=share)

    def seal(self, zero: ZeroEncryption, values: Integers) -> bytes:
        pads, messages = zero.take(), pack(values, self._scheme.packing)
        if zero.mask is not None:
            messages += zero.mask
            messages &= np.uint64(self._scheme.mask_modulus - 1)
        return planes.encode((pads + messages) % np.uint64(MODULUS), MODULUS_BITS)

    def hashed_words(self, zero: ZeroEncryption, payload: bytes, values: int) -> list[Words]:
        return [planes.decode(payload, self._scheme.words(values), MODULUS_BITS)]

    def reply(self, zero: ZeroEncryption, request: bytes, values: int) -> bytes:
        assert isinstance(zero, _Zero)
        share, zero.share = zero.share, None
        if share is None:
            raise ReplayError("a reply is given once")
        return b"".join(word.to_bytes(_WORD_BYTES, "little") for word in share)


class SharesOpener(Opener[Shares]):
    def summed_words(self, total: memoryview, values: int) -> list[Words] | None:
        words = planes.decode(total, self._scheme.words(values), MODULUS_BITS)
        return None if words.max() >= MODULUS else [words]

    def request(self, total: Authentic) -> bytes:
        return b"".join(total.signed)

    def keystream(self, shares: Sequence[bytes], values: int) -> Words:
        read = np.array([np.frombuffer(each, "<u8") for each in shares]).astype(object)
        return self._scheme.pads(read.sum(axis=0).tolist(), self._scheme.words(values))

    def open(self, total: Authentic, keystream: Any) -> Integers | None:
        packing = self._scheme.packing
        words = planes.decode(total.total, self._scheme.words(total.values), MODULUS_BITS)
        sums = (words + np.uint64(MODULUS) - keystream) % np.uint64(MODULUS)
        if sums.max() >= total.clients * self._scheme.mask_modulus:
            return None
        return unpack(sums & np.uint64(self._scheme.mask_modulus - 1), total.values, packing)


@dataclass
class SharesSum:
    words: Words

    def plus(self, addend: Words) -> "SharesSum":
        return SharesSum((self.words + addend) % np.uint64(MODULUS))

    def plus_sum(self, other: "SharesSum") -> "SharesSum":
        return self.plus(other.words)

    def partial(self) -> bytes:
        return planes.encode(self.words, MODULUS_BITS)

    def total(self, seeds: Sequence[bytes]) -> bytes:
        return self.partial()
