"""Pairwise masks mod t that cancel in the sum of those who mask together: a group, or a cohort.

Bonawitz et al. 2017 (ePrint 2017/281), without its secret sharing: a party that drops out takes
its group along, which may send the same again. Masks lie under the encryption, against other key
holders: up to as many as the adversary has, together with the server, learn sums of whole groups
and nothing of one party. HKDF-SHA256 binds a pair's key of the round (`epochs`) to parameters,
shared key, round, part, cohort and the transcript of the round before; AES-256 in counter mode
stretches it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privfed.he import Words
from privfed.keys import derive

_CHUNK_WORDS = 1 << 15
_BLOCK_BYTES = 16


@dataclass(frozen=True)
class Masks:
    """One party's pairwise masks of one round.

    Attributes:
        me: This party's place on the roster.
        keys: The round's key with each party that it masks with, by roster place.
    """

    me: int
    keys: Mapping[int, bytes] = field(repr=False)

    def words(self, prefix: bytes, count: int, modulus: int) -> Words:
        """Return this party's mask for one part of the round: `count` words below `modulus`.

        Args:
            prefix: Bytes that all parties of the round agree on (parameters, key, round, part,
                history).
            count: Number of words.
            modulus: t, at most 2^63; the words of those who mask together sum to 0 mod t.
        """
        total = np.zeros(count, np.uint64)
        wraps = not modulus & (modulus - 1)  # 2^64 is a multiple of it: reduced once, at the end
        for peer, secret in self.keys.items():
            key = derive(secret, b"mask/" + prefix, 32)
            start = 0
            for words in _uniform(key, count, modulus):
                part = total[start : start + len(words)]
                if self.me < peer:
                    part += words
                elif wraps:
                    part -= words
                else:
                    part += np.uint64(modulus) - words
                if not wraps:
                    part %= np.uint64(modulus)
                start += len(words)
        if wraps:
            total &= np.uint64(modulus - 1)
        return total


def _uniform(key: bytes, count: int, modulus: int) -> Iterator[Words]:
    """Yield `count` words in all, uniform below `modulus`, that `key` stands for."""
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(_BLOCK_BYTES))).encryptor()
    zeros = bytes(8 * _CHUNK_WORDS)
    buffer = bytearray(8 * _CHUNK_WORDS + _BLOCK_BYTES)
    low = np.uint64((1 << (modulus - 1).bit_length()) - 1)
    while count:
        size = min(count, _CHUNK_WORDS)
        stream.update_into(zeros[: 8 * size], buffer)
        words = np.frombuffer(buffer, "<u8", size) & low
        if modulus & (modulus - 1):
            words = words[words < modulus]  # rejected, not reduced: no value is more likely
        yield words
        count -= len(words)
