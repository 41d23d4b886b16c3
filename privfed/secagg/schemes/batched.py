"""Schemes whose ciphertexts stay SEAL's own opaque bytes: BFV in slots, and CKKS.

`slots` is the portable fallback of `packed`: exact, and independent of SEAL's byte layout.
`ckks` (Cheon, Kim, Kim, Song 2017, ePrint 2016/421) is for those who go on to multiply; sums are
right to about 2^-22 of the clip range and rounded to the grid. Its average must not go back to
the server: from a CKKS decryption the server that added can compute the noise, and from the noise
the key (Li and Micciancio, ePrint 2020/1533).

The server hands bytes to SEAL's loader, after authenticating them and comparing their structure
with that of SEAL's own objects. Of `slots` both halves of a ciphertext are covered by linear
hashes, so that a decryptor knows whose sum a total is. `ckks` has no such hash: its sums are not
exact, and whoever learns one and made it may have the key anyway. It is for an honest server.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import numpy as np

from privfed.errors import DecodeError
from privfed.he import MODULUS, Integers, Packing, Words, pack, unpack
from privfed.he.seal import Batches, CKKSBatches, SlotBatches, Template
from privfed.keys import SecretKey
from privfed.secagg.schemes.base import Authentic, Opener, Sender, ZeroEncryption

_BLOCKS_PER_PART = 64
_CKKS_CHECKS = 8
_CKKS_CHECK_BOUND = 2.0**-16

Like = TypeVar("Like", bound="_Batched")


@cache
def _slot_batches(plain_bits: int) -> SlotBatches:
    return SlotBatches(plain_bits)


@cache
def _ckks_batches() -> CKKSBatches:
    return CKKSBatches()


class _Batched:
    """What both schemes share; the server's half needs no key."""

    values_per_part: int
    download = "summed"
    name = ""
    mask_modulus = 0
    hashed = False
    flows = 1

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def words(self, values: int) -> int:
        """Return the slots of a part."""
        raise NotImplementedError

    def sender(self, secret: SecretKey) -> Sender[Any]:
        """Return the half that makes payloads."""
        raise NotImplementedError

    def opener(self, secret: SecretKey) -> Opener[Any]:
        """Return the half that opens totals."""
        raise NotImplementedError

    def _blocks(self, values: int) -> int:
        return -(-self.words(values) // self.batches.slots)

    def key(self, secret: SecretKey) -> Any:
        """Return SEAL's key, derived from the group secret."""
        return self.batches.key(secret, self.name.encode())

    def hashed_rows(self, values: int) -> int:
        """Return the rows of both halves, where they are hashed."""
        return self.hashed * 2 * self._blocks(values)

    def seed_bytes(self, values: int) -> int:
        """Return 0: seeds stay inside the ciphertexts."""
        return 0

    def payload_bytes(self, values: int) -> int:
        """Return the bytes of fresh ciphertexts."""
        return self._blocks(values) * self.batches.upload.size

    def partial_bytes(self, values: int) -> int:
        """Return the bytes of summed ciphertexts."""
        return self._blocks(values) * self.batches.sum.size

    total_bytes = partial_bytes

    def payload(self, body: memoryview, values: int) -> list[Any]:
        """Return fresh ciphertexts, loaded.

        Raises:
            DecodeError: SEAL does not take them.
        """
        return self._loaded(body, self.batches.upload)

    def partial(self, body: memoryview, values: int) -> list[Any]:
        """Return summed ciphertexts, loaded.

        Raises:
            DecodeError: SEAL does not take them.
        """
        return self._loaded(body, self.batches.sum)

    def _loaded(self, body: memoryview, template: Template) -> list[Any]:
        return [self.batches.load(each, template) for each in _cut(body, template.size)]

    def accumulator(self, values: int) -> "BatchedSum":
        """Return an empty sum."""
        return BatchedSum(self.batches)


class _BatchedSender(Sender[Like]):
    """A party's half of both; the key is SEAL's."""

    def prepare(self, values: int) -> ZeroEncryption:
        """Return an empty one: these schemes encrypt when the message is known."""
        return ZeroEncryption(np.empty(0, np.uint64), b"")

    def _encrypt(self, slots: Any) -> bytes:
        batches, key = self._scheme.batches, self._scheme.key(self._secret)
        return b"".join(
            batches.encrypt(key, slots[start : start + batches.slots])
            for start in range(0, len(slots), batches.slots)
        )


class _BatchedOpener(Opener[Like]):
    """The half of both that reads totals; the decryption key is SEAL's."""

    def keystream(self, shares: Sequence[bytes], values: int) -> None:
        """Return nothing: seeds are not known."""

    def _decrypt(self, total: Authentic) -> Any:
        batches, key = self._scheme.batches, self._scheme.key(self._secret)
        read = [batches.decrypt(key, each) for each in _cut(total.total, batches.sum.size)]
        return np.concatenate(read)[: self._scheme.words(total.values)]


def _cut(data: memoryview, size: int) -> list[memoryview]:
    return [data[start : start + size] for start in range(0, len(data), size)]


class Slots(_Batched):
    """BFV with a batching prime: exact sums of lanes in 4096 slots a ciphertext."""

    name = "slots"
    hashed = True
    batches: SlotBatches

    def __init__(self, packing: Packing) -> None:
        batches = _slot_batches(packing.plain_bits)
        super().__init__(batches)
        self.packing, self.mask_modulus = packing, batches.plain_modulus
        self.values_per_part = _BLOCKS_PER_PART * batches.slots * packing.lanes

    def words(self, values: int) -> int:
        """Return the slots of a part."""
        return self.packing.coefficients(values)

    def sender(self, secret: SecretKey) -> "SlotsSender":
        """Return the half that makes payloads."""
        return SlotsSender(self, secret)

    def opener(self, secret: SecretKey) -> "SlotsOpener":
        """Return the half that opens totals."""
        return SlotsOpener(self, secret)


class SlotsSender(_BatchedSender[Slots]):
    """A party's half."""

    def seal(self, zero: ZeroEncryption, values: Integers) -> bytes:
        """Return ciphertexts of the lanes mod the prime."""
        zero.take()
        packing, modulus = self._scheme.packing, self._scheme.mask_modulus
        # Lanes come as two's complement mod 2^k; the prime wants -x as prime - x.
        slots, half = pack(values, packing), 1 << (packing.plain_bits - 1)
        slots = np.where(slots < half, slots, slots - (2 * half - modulus))
        if zero.mask is not None:
            slots += zero.mask
            slots %= np.uint64(modulus)
        return self._encrypt(slots)

    def hashed_words(self, zero: ZeroEncryption, payload: bytes, values: int) -> list[Words]:
        """Return both halves of every ciphertext."""
        batches = self._scheme.batches
        fresh = _cut(memoryview(payload), batches.upload.size)
        return [batches.words(batches.expanded(each)) for each in fresh]


class SlotsOpener(_BatchedOpener[Slots]):
    """The half that reads totals."""

    def summed_words(self, total: memoryview, values: int) -> list[Words] | None:
        """Return both halves of every sum."""
        batches = self._scheme.batches
        try:
            words = [batches.words(each) for each in _cut(total, batches.sum.size)]
        except DecodeError:
            return None
        return None if any(each.max() >= MODULUS for each in words) else words

    def open(self, total: Authentic, keystream: None) -> Integers | None:
        """Return the integer sums, or None where the slots hold none."""
        packing, modulus = self._scheme.packing, self._scheme.mask_modulus
        try:
            slots = self._decrypt(total)
        except DecodeError:
            return None
        half = 1 << (packing.plain_bits - 1)
        signed = np.where(slots <= modulus // 2, slots, slots + np.uint64(2 * half - modulus))
        return unpack(signed, total.values, packing)


class CKKS(_Batched):
    """CKKS: one value per slot, as a share of the range."""

    name = "ckks"

    def __init__(self, packing: Packing) -> None:
        super().__init__(_ckks_batches())
        self.limit = packing.limit
        self.values_per_part = _BLOCKS_PER_PART * self.batches.slots - _CKKS_CHECKS

    def words(self, values: int) -> int:
        """Return the slots of a part, checks included."""
        return values + _CKKS_CHECKS

    def sender(self, secret: SecretKey) -> "CKKSSender":
        """Return the half that makes payloads."""
        return CKKSSender(self, secret)

    def opener(self, secret: SecretKey) -> "CKKSOpener":
        """Return the half that opens totals."""
        return CKKSOpener(self, secret)


class CKKSSender(_BatchedSender[CKKS]):
    """A party's half."""

    def seal(self, zero: ZeroEncryption, values: Integers) -> bytes:
        """Return ciphertexts of the values as shares of the range."""
        zero.take()
        slots = np.zeros(self._scheme.words(len(values)))
        np.divide(values, self._scheme.limit, out=slots[: len(values)])
        return self._encrypt(slots)


class CKKSOpener(_BatchedOpener[CKKS]):
    """The half that reads totals."""

    def open(self, total: Authentic, keystream: None) -> Integers | None:
        """Return the sums rounded to the grid, or None where the checks are not near zero."""
        values = total.values
        try:
            slots = self._decrypt(total)
        except DecodeError:
            return None
        if not (np.abs(slots[values:]) < _CKKS_CHECK_BOUND).all():
            return None
        if not (np.abs(slots[:values]) < total.clients + 1).all():
            return None
        most = total.clients * self._scheme.limit  # which no sum passes, but CKKS's error may
        sums = np.clip(np.rint(slots[:values] * self._scheme.limit), -most, most)
        whole: Integers = sums.astype(np.int64)
        return whole


class BatchedSum:
    """Sums of ciphertexts, block by block."""

    def __init__(self, batches: Batches, totals: Sequence[Any] = ()) -> None:
        self._batches, self.totals = batches, totals

    def plus(self, addend: list[Any]) -> "BatchedSum":
        """Return the sum with one party's ciphertexts, or another sum, added.

        Raises:
            DecodeError: SEAL refuses a sum.
        """
        if not self.totals:
            return BatchedSum(self._batches, addend)
        pairs = zip(self.totals, addend, strict=True)
        return BatchedSum(self._batches, [self._batches.add(*pair) for pair in pairs])

    def plus_sum(self, other: "BatchedSum") -> "BatchedSum":
        """Return the sum with another one added."""
        return self.plus(list(other.totals))

    def partial(self) -> bytes:
        """Return the sum."""
        return b"".join(self._batches.save(total) for total in self.totals)

    def total(self, seeds: Sequence[bytes]) -> bytes:
        """Return the sum."""
        return self.partial()
