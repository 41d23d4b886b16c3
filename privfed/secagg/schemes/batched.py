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
from typing import Any

import numpy as np

from privfed.errors import DecodeError
from privfed.he import MODULUS, Integers, Packing, Words, pack, unpack
from privfed.he.seal import Batches, CKKSBatches, SlotBatches, Template
from privfed.keys import SecretKey
from privfed.secagg.schemes.base import ZeroEncryption

_BLOCKS_PER_PART = 64
_CKKS_CHECKS = 8
_CKKS_CHECK_BOUND = 2.0**-16


@cache
def _slot_batches(plain_bits: int) -> SlotBatches:
    return SlotBatches(plain_bits)


@cache
def _ckks_batches() -> CKKSBatches:
    return CKKSBatches()


class _Batched:
    """What both schemes share; the server's half needs no key."""

    download = "summed"
    name = ""
    mask_modulus = 0
    hashed = False

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def words(self, values: int) -> int:
        """Return the slots of a part."""
        raise NotImplementedError

    def _blocks(self, values: int) -> int:
        return -(-self.words(values) // self._batches.slots)

    def seed_bytes(self, values: int) -> int:
        """Return 0: seeds stay inside the ciphertexts."""
        return 0

    def payload_bytes(self, values: int) -> int:
        """Return the bytes of fresh ciphertexts."""
        return self._blocks(values) * self._batches.upload.size

    def partial_bytes(self, values: int) -> int:
        """Return the bytes of summed ciphertexts."""
        return self._blocks(values) * self._batches.sum.size

    total_bytes = partial_bytes

    def prepare(self, key: SecretKey, values: int) -> ZeroEncryption:
        """Return an empty one: these schemes encrypt when the message is known."""
        return ZeroEncryption(np.empty(0, np.uint64), b"")

    def _key(self, key: SecretKey) -> Any:
        return self._batches.key(key, self.name.encode())

    def _encrypt(self, key: SecretKey, slots: Any) -> bytes:
        size, secret = self._batches.slots, self._key(key)
        return b"".join(
            self._batches.encrypt(secret, slots[start : start + size])
            for start in range(0, len(slots), size)
        )

    def hashed_words(self, zero: ZeroEncryption, payload: bytes, values: int) -> list[Words]:
        """Return nothing."""
        return []

    def summed_words(self, total: memoryview, values: int) -> list[Words] | None:
        """Return nothing."""
        return []

    def payload(self, body: memoryview, values: int) -> list[Any]:
        """Return fresh ciphertexts, loaded.

        Raises:
            DecodeError: SEAL does not take them.
        """
        return self._loaded(body, self._batches.upload)

    def partial(self, body: memoryview, values: int) -> list[Any]:
        """Return summed ciphertexts, loaded.

        Raises:
            DecodeError: SEAL does not take them.
        """
        return self._loaded(body, self._batches.sum)

    def _loaded(self, body: memoryview, template: Template) -> list[Any]:
        return [self._batches.load(each, template) for each in _cut(body, template.size)]

    def accumulator(self, values: int) -> "BatchedSum":
        """Return an empty sum."""
        return BatchedSum(self._batches)

    def keystream(self, key: SecretKey, seeds: Sequence[bytes], values: int) -> None:
        """Return nothing: seeds are not known."""

    def _decrypt(self, key: SecretKey, total: memoryview, values: int) -> Any:
        secret, blocks = self._key(key), _cut(total, self._batches.sum.size)
        read = [self._batches.decrypt(secret, each) for each in blocks]
        return np.concatenate(read)[: self.words(values)]


def _cut(data: memoryview, size: int) -> list[memoryview]:
    return [data[start : start + size] for start in range(0, len(data), size)]


class Slots(_Batched):
    """BFV with a batching prime: exact sums of lanes in 4096 slots a ciphertext."""

    name = "slots"
    hashed = True
    _batches: SlotBatches

    def __init__(self, packing: Packing) -> None:
        batches = _slot_batches(packing.plain_bits)
        super().__init__(batches)
        self._packing, self.mask_modulus = packing, batches.plain_modulus
        self.values_per_part = _BLOCKS_PER_PART * batches.slots * packing.lanes

    def hashed_words(self, zero: ZeroEncryption, payload: bytes, values: int) -> list[Words]:
        """Return both halves of every ciphertext."""
        fresh = _cut(memoryview(payload), self._batches.upload.size)
        return [self._batches.words(self._batches.expanded(each)) for each in fresh]

    def summed_words(self, total: memoryview, values: int) -> list[Words] | None:
        """Return both halves of every sum."""
        try:
            words = [self._batches.words(each) for each in _cut(total, self._batches.sum.size)]
        except DecodeError:
            return None
        return None if any(each.max() >= MODULUS for each in words) else words

    def words(self, values: int) -> int:
        """Return the slots of a part."""
        return self._packing.coefficients(values)

    def seal(self, key: SecretKey, zero: ZeroEncryption, values: Integers) -> bytes:
        """Return ciphertexts of the lanes mod the prime."""
        zero.take()
        # Lanes come as two's complement mod 2^k; the prime wants -x as prime - x.
        slots, half = pack(values, self._packing), 1 << (self._packing.plain_bits - 1)
        slots = np.where(slots < half, slots, slots - (2 * half - self.mask_modulus))
        if zero.mask is not None:
            slots += zero.mask
            slots %= np.uint64(self.mask_modulus)
        return self._encrypt(key, slots)

    def open(
        self, key: SecretKey, keystream: None, total: memoryview, values: int, clients: int
    ) -> Integers | None:
        """Return the integer sums, or None where the slots hold none."""
        try:
            slots = self._decrypt(key, total, values)
        except DecodeError:
            return None
        half = 1 << (self._packing.plain_bits - 1)
        signed = np.where(
            slots <= self.mask_modulus // 2, slots, slots + np.uint64(2 * half - self.mask_modulus)
        )
        return unpack(signed, values, self._packing)


class CKKS(_Batched):
    """CKKS: one value per slot, as a share of the range."""

    name = "ckks"
    exact = False

    def __init__(self, packing: Packing) -> None:
        super().__init__(_ckks_batches())
        self._limit = packing.limit
        self.values_per_part = _BLOCKS_PER_PART * self._batches.slots - _CKKS_CHECKS

    def words(self, values: int) -> int:
        """Return the slots of a part, checks included."""
        return values + _CKKS_CHECKS

    def seal(self, key: SecretKey, zero: ZeroEncryption, values: Integers) -> bytes:
        """Return ciphertexts of the values as shares of the range."""
        zero.take()
        slots = np.zeros(self.words(len(values)))
        np.divide(values, self._limit, out=slots[: len(values)])
        return self._encrypt(key, slots)

    def open(
        self, key: SecretKey, keystream: None, total: memoryview, values: int, clients: int
    ) -> Integers | None:
        """Return the sums rounded to the grid, or None where the checks are not near zero."""
        try:
            slots = self._decrypt(key, total, values)
        except DecodeError:
            return None
        if not (np.abs(slots[values:]) < _CKKS_CHECK_BOUND).all():
            return None
        if not (np.abs(slots[:values]) < clients + 1).all():
            return None
        sums: Integers = np.rint(slots[:values] * self._limit).astype(np.int64)
        return sums


class BatchedSum:
    """Sums of ciphertexts, block by block."""

    def __init__(self, batches: Batches, totals: Sequence[Any] = ()) -> None:
        self._batches, self._totals = batches, totals

    def plus(self, addend: list[Any]) -> "BatchedSum":
        """Return the sum with one party's ciphertexts, or another sum, added.

        Raises:
            DecodeError: SEAL refuses a sum.
        """
        if not self._totals:
            return BatchedSum(self._batches, addend)
        pairs = zip(self._totals, addend, strict=True)
        return BatchedSum(self._batches, [self._batches.add(*pair) for pair in pairs])

    def partial(self) -> bytes:
        """Return the sum."""
        return b"".join(self._batches.save(total) for total in self._totals)

    def total(self, seeds: Sequence[bytes]) -> bytes:
        """Return the sum."""
        return self.partial()
