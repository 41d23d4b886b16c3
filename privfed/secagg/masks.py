"""Pairwise masks mod t that cancel in the sum of a whole cohort.

Bonawitz et al. 2017 (ePrint 2017/281), without its secret sharing: a party that drops out fails
the round, which is run anew with fresh samples and noise. Masks lie under the encryption, against
other key holders: up to `colluders` of a cohort, together with the server, learn the sum of one
round and nothing of one party. Sums of several rounds may be compared: docs/limitations.md.
Each pair agrees by X25519 under keys that the identities signed; HKDF-SHA256 binds the secret to
parameters, shared key, round and cohort; AES-256 in counter mode stretches it.
"""

from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privfed.errors import ConfigError
from privfed.he import Words
from privfed.keys import Identity, derive
from privfed.secagg.parameters import Parameters
from privfed.secagg.rounds import RoundID

_CHUNK_WORDS = 1 << 15
_BLOCK_BYTES = 16


class Masks:
    """One party's side of the pairwise masks. Holds one shared secret per party."""

    def __init__(self, params: Parameters, identity: Identity) -> None:
        self._params, self._identity = params, identity
        self._me = params.index_of(identity.public)
        self._agreed: dict[int, bytes] = {}

    def _secret(self, peer: int) -> bytes:
        if peer not in self._agreed:
            self._agreed[peer] = self._identity.agree(self._params.roster[peer])
        return self._agreed[peer]

    def check(self, of: RoundID) -> tuple[int, ...]:
        """Return the cohort's places.

        Raises:
            ConfigError: This party is not in it.
        """
        if of.cohort is None or self._me not in of.cohort:
            raise ConfigError("this party is not in the round's cohort")
        return of.cohort

    def words(self, prefix: bytes, of: RoundID, count: int, modulus: int) -> Words:
        """Return this party's mask for one part of one round: `count` words below `modulus`.

        Args:
            prefix: Bytes that all parties of the round agree on (parameters, key, round, part).
            of: The round, in whose cohort this party must be.
            count: Number of words.
            modulus: t, at most 2^63; the words of a whole cohort sum to 0 mod t.

        Raises:
            ConfigError: This party is not in the cohort.
        """
        places = self.check(of)
        total = np.zeros(count, np.uint64)
        wraps = not modulus & (modulus - 1)  # 2^64 is a multiple of it: reduced once, at the end
        for peer in places:
            if peer == self._me:
                continue
            key = derive(self._secret(peer), b"mask/" + prefix, 32)
            start = 0
            for words in _uniform(key, count, modulus):
                part = total[start : start + len(words)]
                if self._me < peer:
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
