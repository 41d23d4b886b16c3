"""A tag that adds like the values it protects, so that a server cannot change a sum unnoticed.

BFV lets anybody add a number to an encrypted sum. Every party therefore encrypts, beside its
integers v, a linear hash of them under a secret that the server does not know; the hashes of the
parties add up to the hash of the sum (a homomorphic MAC in the sense of Agrawal and Boneh, ACNS
2009, hidden by the encryption). The hash is bilinear: v in rows of 4096 columns, r^T v c mod
2^61 - 1, with c of 20 bits and r of 61. By Schwartz and Zippel a changed v keeps its hash with
chance at most 2^-20 + 2^-61; four independent ones make it 2^-79 an attempt, and a holder retires
the key after a few failures. Secrets are fresh for each round and part.

A hash alone is linear: twice the sum, or its negative, has a hash that fits. Each party therefore
adds a pad of its own, so that only the sum of exactly the named parties, each once, verifies.

Pads are known to whoever holds the key, and a tag's digits are summed one by one: their carries
would let a key holder test guesses of one party's integers. So under pairwise masks each tag is
masked mod 2^61 - 1 too, and what is decrypted depends on the sum of the integers alone.

Where a linear hash covers all of a ciphertext (`linear_hash`), no server can do so, and tags only
show integers whose sum does not fit; updates with weights, which always do, then go without.

A party that holds the key can compute tags too: there is no such protection against a server that
a party helps (docs/threat-model.md).
"""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privfed.he import Integers
from privfed.keys import SecretKey

TAG_MODULUS = _PRIME = 2**61 - 1
TAGS = _TAGS = 4
_TAG_BITS = 61
_COLUMNS = 4096
_SECRET_BITS = 20  # a limb of 20 bits times 20 bits times 4096 columns is exact in float64
_LIMB = np.int64(2**_SECRET_BITS - 1)
_ALL_LIMBS = -(-64 // _SECRET_BITS)
_ROWS_AT_ONCE = 8  # with more, OpenBLAS starts threads, which take longer than the product


@dataclass(frozen=True)
class TagSecrets:
    """What tags of one round and part are made with: c, r, and the pads of some senders."""

    columns: npt.NDArray[np.float64] = field(repr=False)
    rows: list[list[int]] = field(repr=False)
    pads: dict[int, list[int]] = field(repr=False)


class Tags:
    """Tags of one precision, as integers that travel like values.

    Args:
        bits: Precision of a value; a tag travels as digits of base 2^(bits-1).
        largest_sum: Largest magnitude of a summed value.
    """

    def __init__(self, bits: int, largest_sum: int) -> None:
        self._base_bits = bits - 1
        self._digits = -(-_TAG_BITS // self._base_bits)
        self._limbs = -(-(largest_sum.bit_length() + 1) // _SECRET_BITS)
        self.count = _TAGS * self._digits

    def secrets(
        self, key: SecretKey, name: bytes, values: int, senders: Iterable[int]
    ) -> TagSecrets:
        """Return what tags of a round and part are made with, and checked.

        Args:
            key: The parties' secret.
            name: The round's and part's.
            values: How many integers are tagged.
            senders: Roster places.
        """
        columns, rows = _secrets(key.derive(b"tag/" + name, 32), values // _COLUMNS + 1)
        return TagSecrets(columns, rows, {sender: _pads(key, name, sender) for sender in senders})

    def integers(
        self,
        secrets: TagSecrets,
        sender: int,
        values: Integers,
        wide: bool = False,
        masks: Sequence[int] = (0,) * TAGS,
    ) -> Integers:
        """Return `count` integers for the values of roster place `sender`.

        `wide` values may be any 64-bit integers; `masks`, one per tag, add up to 0 mod 2^61 - 1
        over the senders.
        """
        mask = 2**self._base_bits - 1
        limbs = _ALL_LIMBS if wide else self._limbs
        hashes = zip(_hash(secrets, values, limbs), secrets.pads[sender], masks, strict=True)
        return np.array(
            [
                tag >> (place * self._base_bits) & mask
                for tag in [sum(each) % _PRIME for each in hashes]
                for place in range(self._digits)
            ],
            np.int64,
        )

    def verify(
        self, secrets: TagSecrets, senders: Sequence[int], sums: Integers, tags: Integers
    ) -> bool:
        """Return whether summed `tags` are those of `sums` over just these `senders`."""
        summed = [
            sum(int(digit) << (place * self._base_bits) for place, digit in enumerate(digits))
            for digits in tags.reshape(_TAGS, self._digits)
        ]
        pads = zip(*(secrets.pads[sender] for sender in senders), strict=True)
        hashed = _hash(secrets, sums, self._limbs)
        wanted = map(operator.add, hashed, map(sum, pads))
        return all((tag - want) % _PRIME == 0 for tag, want in zip(summed, wanted, strict=True))


def _hash(secrets: TagSecrets, values: Integers, limbs: int) -> list[int]:
    whole, rest = divmod(len(values), _COLUMNS)
    hashes = [0] * _TAGS
    for limb in range(limbs):
        # Limbs but the last are the low bits as they stand in two's complement.
        part = values >> (limb * _SECRET_BITS) if limb else values
        if limb < limbs - 1:
            part = part & _LIMB
        wide = part.astype(np.float64)
        products = np.empty((whole + 1, _TAGS))
        full = wide[: whole * _COLUMNS].reshape(whole, _COLUMNS)
        for at in range(0, whole, _ROWS_AT_ONCE):
            some = full[at : at + _ROWS_AT_ONCE]
            np.matmul(some, secrets.columns, out=products[at : at + len(some)])
        products[whole] = wide[whole * _COLUMNS :] @ secrets.columns[:rest]
        for row, numbers in zip(secrets.rows, products.tolist(), strict=True):
            for place in range(_TAGS):
                scaled = int(numbers[place]) << (limb * _SECRET_BITS)
                hashes[place] += int(row[place]) * scaled
    return [number % _PRIME for number in hashes]


def _pads(key: SecretKey, name: bytes, sender: int) -> list[int]:
    """Return a sender's pads: one number mod 2^61 - 1 for each hash."""
    drawn = key.derive(b"tag pad/" + sender.to_bytes(2, "little") + name, 16 * _TAGS)
    return [
        int.from_bytes(drawn[at : at + 16], "little") % _PRIME for at in range(0, len(drawn), 16)
    ]


def _secrets(key: bytes, rows: int) -> tuple[npt.NDArray[np.float64], list[list[int]]]:
    """Return c as 4096 x 4 numbers below 2^20 and r as rows x 4 numbers below 2^61."""
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    low = np.frombuffer(stream.update(bytes(4 * _COLUMNS * _TAGS)), "<u4")
    high = np.frombuffer(stream.update(bytes(8 * rows * _TAGS)), "<u8")
    columns = (low & np.uint32(2**_SECRET_BITS - 1)).astype(np.float64)
    return columns.reshape(_COLUMNS, _TAGS), (high >> np.uint64(3)).reshape(rows, _TAGS).tolist()
