"""A hash that adds like ciphertexts, checked before the secret key touches their sum.

A server could add to the sum of c1, which the key is multiplied with, and learn from whether the
total decrypts. So each party hashes the words of its own ciphertext, c1 and where it is said c0
too, hides the hash under a pad, and signs it in its header. The hash is linear: those of the
named parties, less their pads, add up to the hash of the sum, and of no other words. The words w
stand in rows of 4096, and for each of two independent hashes

    H(w) = sum over rows r of rho_r * (sum over columns j of gamma_j * w[r, j])  mod q,

q being the ciphertexts' own prime, since sums wrap there. gamma and rho are AES-256-CTR's output
under a key that HKDF derives from the parties' secret for a round and part; so are the pads, by
HMAC-SHA256 of what the sender signed, so that no pad serves two ciphertexts.

This is a MAC of Wegman and Carter (JCSS 22, 1981), additive as in Agrawal and Boneh (ACNS 2009).
Its bound: the pads hide all hashes, so whoever lacks the secret knows nothing of gamma and rho,
and passes off a sum only if H(d) = 0 for d, its difference from the sum of what was signed. Take
a row where d is not 0 mod q. gamma_j and rho_r are 64-bit words mod q: none is a given number
with chance above 65/2^64. So the row's inner sum is 0 with chance at most 65/2^64, and if it is
not, the outer sum is 0 with the same: together below 2^-56.9, for both hashes 2^-113. An attempt
costs nothing, and N of them succeed with N times that. A multiple of the sum, the sum of other
parties, or of another round, are such sums too.

The holder of a key sees each sender's hash without its pad. That of c1 is public; that of c0 hides
behind the noise in whole blocks, as the SHA-256 of the payload does, and behind masks.

Whoever holds the secret can make hashes: nothing here holds against a server that a party helps.
"""

import hmac
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privfed.he import MODULUS, RING_DEGREE, Words, rlwe
from privfed.keys import SecretKey

_HASHES = 2
_PACKED = struct.Struct(f"<{_HASHES}Q")
LINEAR_HASH_BYTES = _PACKED.size
_COLUMNS = RING_DEGREE
_ROWS_AT_ONCE = 8  # with more, OpenBLAS starts threads, which take longer than the product
_LIMB_BITS, _LIMBS = 20, 3  # 20 bits times 20 bits times 4096 columns is exact in float64
_PAD_BYTES = 16  # a number of 128 bits mod q is off from uniform by 2^-70


@dataclass(frozen=True)
class HashSecrets:
    """What hashes of one round and part are made with: gamma in limbs, rho, and the pads' key."""

    columns: npt.NDArray[np.float64] = field(repr=False)
    factors: list[list[int]] = field(repr=False)
    pad_key: bytes = field(repr=False)

    @classmethod
    def of(cls, key: SecretKey, name: bytes, rows: int) -> "HashSecrets":
        """Return those of a round and part, for so many rows of words or fewer.

        Args:
            key: The parties' secret.
            name: The round's and part's.
            rows: Rows of 4096 words, each array beginning a new one.
        """
        columns, factors = _secrets(key.derive(b"sum hash/" + name, 32), rows)
        return cls(columns, factors, key.derive(b"hash pads/" + name, 32))


def hidden_hash(secrets: HashSecrets, signed: bytes, words: Sequence[Words]) -> bytes:
    """Return the hash of one party's words, plus its pad: 16 bytes.

    Args:
        secrets: The round's and part's.
        signed: What the party signs of its message: its place, and digests of the ciphertext.
        words: Words mod q; each array begins a new row.
    """
    pads = _pads(secrets.pad_key, signed)
    hashes = zip(_hash(secrets, words), pads, strict=True)
    return _PACKED.pack(*((number + pad) % MODULUS for number, pad in hashes))


def authentic(
    secrets: HashSecrets, signed: Iterable[tuple[bytes, bytes]], words: Sequence[Words]
) -> bool:
    """Return whether words are the sum, mod q, of those that just these parties hashed.

    Args:
        secrets: The round's and part's.
        signed: What each party signed, and its hidden hash.
        words: The summed words, all below q.
    """
    wanted = [0] * _HASHES
    for message, hidden in signed:
        numbers = zip(_PACKED.unpack(hidden), _pads(secrets.pad_key, message), strict=True)
        for place, (number, pad) in enumerate(numbers):
            wanted[place] += number - pad
    found = _PACKED.pack(*_hash(secrets, words))
    # In one step: that one hash fits must not show in how long it takes.
    return hmac.compare_digest(found, _PACKED.pack(*(number % MODULUS for number in wanted)))


def _pads(pad_key: bytes, signed: bytes) -> list[int]:
    drawn = hmac.digest(pad_key, signed, "sha256")
    return [
        int.from_bytes(drawn[at : at + _PAD_BYTES], "little") % MODULUS
        for at in range(0, _HASHES * _PAD_BYTES, _PAD_BYTES)
    ]


def _hash(secrets: HashSecrets, words: Sequence[Words]) -> list[int]:
    hashes, size = [0] * _HASHES, _ROWS_AT_ONCE * _COLUMNS
    row = iter(secrets.factors)
    for each in words:
        for start in range(0, len(each), size):
            sums = _inner_sums(each[start : start + size], secrets.columns)
            for limbs, factor in zip(sums, row, strict=False):
                for place in range(_HASHES):
                    inner = sum(limb[place] << (at * _LIMB_BITS) for at, limb in enumerate(limbs))
                    hashes[place] += factor[place] * inner
    return [number % MODULUS for number in hashes]


def _inner_sums(words: Words, columns: npt.NDArray[np.float64]) -> list[list[list[int]]]:
    """Return, for each row, the inner sums as digits of base 2^20: one a hash in each place."""
    rows = -(-len(words) // _COLUMNS)
    limbs = np.zeros(rows * _COLUMNS)
    digits = np.zeros((rows, 2 * _LIMBS - 1, _HASHES), np.int64)
    for place in range(_LIMBS):
        limb = words >> np.uint64(place * _LIMB_BITS)
        limb &= np.uint64(2**_LIMB_BITS - 1)
        limbs[: len(words)] = limb
        products = limbs.reshape(rows, _COLUMNS) @ columns
        digits[:, place : place + _LIMBS] += products.reshape(rows, _LIMBS, _HASHES).astype(
            np.int64
        )
    read: list[list[list[int]]] = digits.tolist()
    return read


def _secrets(key: bytes, rows: int) -> tuple[npt.NDArray[np.float64], list[list[int]]]:
    """Return gamma's limbs as 4096 x (limbs * hashes) numbers, and rho as rows x hashes."""
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    drawn = np.frombuffer(stream.update(bytes(8 * _HASHES * (_COLUMNS + rows))), "<u8")
    numbers = rlwe.reduce(drawn.astype(np.uint64)).reshape(-1, _HASHES)
    gamma, rho = numbers[:_COLUMNS], numbers[_COLUMNS:]
    mask = np.uint64(2**_LIMB_BITS - 1)
    limbs = [(gamma >> np.uint64(place * _LIMB_BITS)) & mask for place in range(_LIMBS)]
    return np.concatenate(limbs, axis=1).astype(np.float64), rho.tolist()
