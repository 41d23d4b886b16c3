"""Exact BFV sums at about the size of plaintext; the server needs numpy alone.

A party's payload is c0 = zero + round(q*m/t), cut of the low bits that carry only noise; c1
travels as one 64-byte seed per block of 4096 coefficients. The server adds c0 mod q. Decrypting
needs sum(c1)*s, which depends on the seeds alone: in the "seeds" mode the decryptor rebuilds it
from what the senders signed, so a total that is not exactly their sum decrypts to noise. In the
"summed" mode the server sends the sum of c1, which a linear hash covers; where the hash covers c0
too, the total holds its sum uncut.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from privfed.he import (
    MODULUS,
    MODULUS_BITS,
    RING_DEGREE,
    Integers,
    Packing,
    Words,
    pack,
    planes,
    rlwe,
    seal,
    unpack,
)
from privfed.keys import SecretKey
from privfed.secagg.ahead import Ahead
from privfed.secagg.schemes.base import Authentic, Opener, Sender, ZeroEncryption

_BLOCKS_PER_PART = 256
_SEED_BYTES = 64


class Packed:
    """BFV with coefficient lanes, seeded encryptions of zero made ahead, and our own framing."""

    flows = 1

    def __init__(self, packing: Packing, download: str, covers_c0: bool = False) -> None:
        self.packing, self.covers_c0 = packing, covers_c0
        self.mask_modulus = 2**packing.plain_bits
        self.download = download
        self.hashed = download == "summed"
        self.values_per_part = _BLOCKS_PER_PART * RING_DEGREE * packing.lanes

    def words(self, values: int) -> int:
        """Return the coefficients of a part."""
        return self.packing.coefficients(values)

    def blocks(self, values: int) -> int:
        """Return the blocks of a part."""
        return -(-self.words(values) // RING_DEGREE)

    def hashed_rows(self, values: int) -> int:
        """Return the blocks of c1, and those of c0 where the hash covers it."""
        return self.hashed * (1 + self.covers_c0) * self.blocks(values)

    def seed_bytes(self, values: int) -> int:
        """Return 64 bytes per block."""
        return _SEED_BYTES * self.blocks(values)

    def payload_bytes(self, values: int) -> int:
        """Return the bytes of the cut coefficients."""
        return planes.size_bytes(self.words(values), self.packing.upload_bits)

    def _c1_bytes(self, values: int) -> int:
        if self.download == "seeds":
            return 0
        return planes.size_bytes(self.blocks(values) * RING_DEGREE, MODULUS_BITS)

    @property
    def _sum_bits(self) -> int:
        """Bits of a sum before the last cut."""
        return self.packing.sum_bits if self.covers_c0 else MODULUS_BITS

    @property
    def total_bits(self) -> int:
        """Bits of a word of c0 in a total."""
        return self.packing.sum_bits if self.covers_c0 else self.packing.download_bits

    def partial_bytes(self, values: int) -> int:
        """Return the bytes of uncut sums."""
        return planes.size_bytes(self.words(values), self._sum_bits)

    def total_bytes(self, values: int) -> int:
        """Return the bytes of the sum of c0, and of the sum of c1 in the "summed" mode."""
        return planes.size_bytes(self.words(values), self.total_bits) + self._c1_bytes(values)

    def payload(self, body: memoryview, values: int) -> "_Addend":
        """Return the cut c0, to be read when it is added."""
        # What the hash covers is added as it is sent; else the sums are those of all 58 bits.
        cut = 0 if self.covers_c0 else self.packing.upload_cut
        return _Addend(body, self.packing.upload_bits, cut)

    def partial(self, body: memoryview, values: int) -> "_Addend":
        """Return the uncut sum, to be read when it is added."""
        return _Addend(body, self._sum_bits, 0)

    def accumulator(self, values: int) -> "PackedSum":
        """Return an empty sum."""
        cut = 0 if self.covers_c0 else self.packing.download_cut
        return PackedSum(self.words(values), self._sum_bits, cut, self.download)

    def sender(self, secret: SecretKey) -> "PackedSender":
        """Return the half that makes payloads."""
        return PackedSender(self, secret)

    def opener(self, secret: SecretKey) -> "PackedOpener":
        """Return the half that opens totals."""
        return PackedOpener(self, secret)


class PackedSender(Sender[Packed]):
    """A party's half."""

    def makes_ahead(self, parts: Sequence[int], most_bytes: int) -> Ahead:
        """Return what makes blocks in another process for parts of so many integers."""
        blocks, seed = sum(map(self._scheme.blocks, parts)), seal.key_seed(self._secret)
        return Ahead(seed, blocks, expands=self._scheme.hashed, most_bytes=most_bytes)

    def prepare(self, values: int) -> ZeroEncryption:
        """Return fresh encryptions of zero for one part; those made elsewhere come first."""
        scheme = self._scheme
        blocks = scheme.blocks(values)
        ready = self.ahead.take(blocks) if self.ahead else ()
        c0, seeds = [each.c0 for each in ready], [each.seed for each in ready]
        c1 = [each.c1 for each in ready if each.c1 is not None]
        if missing := blocks - len(ready):
            words, others = seal.encrypt_zeros(seal.cached_key(self._secret), missing)
            c0, seeds = [*c0, words], [*seeds, others]
            c1 += [_summed_c1([others])] if scheme.hashed else []
        zero = ZeroEncryption(_joined(c0)[: scheme.words(values)], b"".join(seeds))
        if scheme.hashed:
            zero.c1 = _joined(c1)
        return zero

    def seal(self, zero: ZeroEncryption, values: Integers) -> bytes:
        """Return the cut c0 that hides `values`."""
        c0, packing = zero.take(), self._scheme.packing
        messages = pack(values, packing)
        if zero.mask is not None:
            # If mask and message were scaled up separately, each would be rounded: from the noise
            # a key holder could read the carry of the two fractions, and test guesses of one.
            messages += zero.mask
            messages &= np.uint64(self._scheme.mask_modulus - 1)
        c0 += rlwe.scale_up(messages, packing.plain_bits)
        rlwe.reduce_once(c0)
        return planes.encode(rlwe.cut(c0, packing.upload_cut), packing.upload_bits)

    def hashed_words(self, zero: ZeroEncryption, payload: bytes, values: int) -> list[Words]:
        """Return c1, and c0 as it is sent where the hash covers it."""
        scheme = self._scheme
        found = [_summed_c1([zero.seeds]) if zero.c1 is None else zero.c1]
        if scheme.covers_c0:
            found.append(planes.decode(payload, scheme.words(values), scheme.packing.upload_bits))
        return found


class PackedOpener(Opener[Packed]):
    """The half that reads totals; its decryption key is SEAL's."""

    def summed_words(self, total: memoryview, values: int) -> list[Words] | None:
        """Return the sum of c1, and that of c0 as it was sent where the hash covers it."""
        scheme = self._scheme
        c0, c1 = self._halves(total, values)
        found = [planes.decode(c1, scheme.blocks(values) * RING_DEGREE, MODULUS_BITS)]
        if scheme.covers_c0:
            found.append(planes.decode(c0, scheme.words(values), scheme.total_bits))
        return None if any(words.max() >= MODULUS for words in found) else found

    def _halves(self, total: memoryview, values: int) -> tuple[memoryview, memoryview]:
        split = planes.size_bytes(self._scheme.words(values), self._scheme.total_bits)
        return total[:split], total[split:]

    def keystream(self, shares: Sequence[bytes], values: int) -> Words | None:
        """Return sum(c1)*s mod q where the seeds are known."""
        if self._scheme.download == "summed":
            return None
        read = seal.products(seal.cached_key(self._secret), list(_columns(shares)))
        return read[: self._scheme.words(values)]

    def open(self, total: Authentic, keystream: Words | None) -> Integers | None:
        """Return the integer sums, or None where the noise says that it is no honest sum."""
        scheme, packing, values = self._scheme, self._scheme.packing, total.values
        c0, c1 = self._halves(total.total, values)
        phase = planes.decode(c0, scheme.words(values), scheme.total_bits)
        if scheme.covers_c0:
            phase = rlwe.shift(phase, packing.upload_cut)
        else:
            phase = rlwe.uncut(phase, packing.download_cut)
        if keystream is None:
            keystream = self._from_summed(c1, values)
        phase += keystream
        rlwe.reduce(phase)
        messages, noise = rlwe.scale_down(phase, packing.plain_bits)
        if noise.max() > packing.noise_bound:
            return None
        return unpack(messages, values, packing)

    def _from_summed(self, data: memoryview, values: int) -> Words:
        blocks = self._scheme.blocks(values)
        c1 = rlwe.reduce(planes.decode(data, blocks * RING_DEGREE, MODULUS_BITS))
        reader = seal.KeyMultiplier(seal.cached_key(self._secret))
        rows = c1.reshape(-1, RING_DEGREE)
        read = [reader.product(seal.from_second_half(row)) for row in rows]
        return np.concatenate(read)[: self._scheme.words(values)]


def _joined(words: Sequence[Words]) -> Words:
    return words[0] if len(words) == 1 else np.concatenate(words)


def _summed_c1(seeds: Sequence[bytes]) -> Words:
    """Return the sum of c1, block after block, over the senders whose seeds these are."""
    return np.concatenate([seal.second_half(seal.expand_sum(each)) for each in _columns(seeds)])


def _columns(seeds: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield, block after block, the seeds of all senders."""
    for start in range(0, len(seeds[0]), _SEED_BYTES):
        yield [each[start : start + _SEED_BYTES] for each in seeds]


@dataclass(frozen=True)
class _Addend:
    """Words of `bits` bits, from each of which `cut` low bits were cut."""

    body: memoryview
    bits: int
    cut: int


class PackedSum:
    """A sum of c0 mod q, of `bits` bits a word; the total leaves out `cut` low bits."""

    def __init__(self, words: int, bits: int, cut: int, download: str) -> None:
        self._bits, self._cut, self._download = bits, cut, download
        self._c0 = np.zeros(words, np.uint64)
        self._additions = 0

    def plus(self, addend: _Addend) -> "PackedSum":
        """Add one party's payload, or another sum, in place: none is refused."""
        self._make_room()
        planes.add(self._c0, addend.body, addend.bits, addend.cut)
        return self

    def plus_sum(self, other: "PackedSum") -> "PackedSum":
        """Add another sum, in place."""
        words = other.words
        self._make_room()
        self._c0 += words
        return self

    @property
    def words(self) -> Words:
        """The sum, reduced mod q."""
        self._reduce()
        return self._c0

    def _make_room(self) -> None:
        """Reduce before unreduced sums of 64-bit words overflow, which 63 additions do not."""
        if self._additions == rlwe.SAFE_ADDITIONS:
            self._reduce()
        self._additions += 1

    def _reduce(self) -> None:
        rlwe.reduce(self._c0)
        self._additions = 0

    def partial(self) -> bytes:
        """Return the uncut sum."""
        self._reduce()
        return planes.encode(self._c0, self._bits)

    def total(self, seeds: Sequence[bytes]) -> bytes:
        """Return the sum, cut for the decryptor, and the sum of c1 where that is asked for."""
        self._reduce()
        c0 = planes.encode(rlwe.cut(self._c0, self._cut), self._bits - self._cut)
        if self._download == "seeds":
            return c0
        return c0 + planes.encode(_summed_c1(seeds), MODULUS_BITS)
