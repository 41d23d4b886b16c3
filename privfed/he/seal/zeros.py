"""Encryptions of zero, seeds and key products: what knows SEAL's byte layout.

`packed` needs of SEAL three things that do not depend on any message: fresh encryptions of
zero whose second half is a 64-byte seed, the expansion of such seeds, and their product with the
secret key. SEAL's objects come and go through its files (kept in memory); `self_test` checks
the layout against SEAL's own arithmetic before the first use.

Nothing here sees bytes of another party except 64-byte seeds.
"""

import struct
import weakref
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

from privfed.errors import LayoutError
from privfed.he.packing import FRESH_NOISE, MODULUS, MODULUS_GAP, RING_DEGREE, Words
from privfed.he.rlwe import reduce
from privfed.he.seal.files import (
    HEADER_BYTES,
    SEED_BYTES,
    context_of,
    framed,
    saved,
    seal,
    seeded_key,
    write,
    write_ending,
)
from privfed.he.seal.known import RING, SEED, check_c1, check_key, refusing
from privfed.keys import SecretKey

_METADATA_BYTES = 73  # parms id 32, NTT flag 1, five 8-byte fields
_POLY_BYTES = RING_DEGREE * 8
_READ_BITS = 57  # plain modulus of the context through which products are read: see `KeyMultiplier`


@cache
def _parameters() -> Any:
    parameters = seal().EncryptionParameters(seal().SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(RING_DEGREE)
    parameters.set_coeff_modulus([seal().Modulus(MODULUS)])
    parameters.set_plain_modulus(1 << _READ_BITS)
    return parameters


@cache
def _context() -> Any:
    return context_of(_parameters())


_keys: weakref.WeakKeyDictionary[SecretKey, Any] = weakref.WeakKeyDictionary()


def cached_key(key: SecretKey) -> Any:
    """Return SEAL's form of a shared key, drawn once for as long as the key lives."""
    drawn = _keys.get(key)  # an equal key may vanish at any moment, with its entry
    if drawn is None:
        drawn = _keys[key] = drawn_key(key_seed(key))
    return drawn


def key_seed(key: SecretKey) -> bytes:
    """Return the 64 bytes from which SEAL draws its form of a shared key."""
    return key.derive(b"packed", SEED_BYTES)


def drawn_key(seed: bytes) -> Any:
    """Return what SEAL draws from `key_seed`'s bytes."""
    self_test()
    return seeded_key(_parameters(), seed)


def encrypt_zeros(key: Any, blocks: int) -> tuple[Words, bytes]:
    """Return `blocks` fresh encryptions of zero: c0 (blocks * 4096 words mod q) and the seeds.

    Randomness is SEAL's own, seeded by the operating system for every block.

    Raises:
        LayoutError: SEAL's bytes have another length.
    """
    encryptor = seal().Encryptor(_context(), key)
    words = np.empty(blocks * RING_DEGREE, np.uint64)
    seeds = []
    start = _METADATA_BYTES + HEADER_BYTES + 8
    for block in range(blocks):
        body = saved(encryptor.encrypt_zero_symmetric())
        if len(body) != start + _POLY_BYTES + HEADER_BYTES + 1 + SEED_BYTES:
            raise LayoutError("SEAL's seeded ciphertext has another length")
        words[block * RING_DEGREE : (block + 1) * RING_DEGREE] = np.frombuffer(
            body, "<u8", RING_DEGREE, start
        )
        seeds.append(body[-SEED_BYTES:])
    return words, b"".join(seeds)


def _ciphertext(body: bytes) -> Any:
    ciphertext = seal().Ciphertext()
    write(framed(body), lambda path: ciphertext.load(_context(), path))
    return ciphertext


@cache
def _metadata() -> bytes:
    """Return the bytes before the words of a ciphertext; all of two polynomials have the same."""
    key = seal().KeyGenerator(_context()).secret_key()
    body = saved(seal().Encryptor(_context(), key).encrypt_zero_symmetric())
    return body[:_METADATA_BYTES]


@cache
def _seeded() -> bytes:
    """Return the ciphertext (0, c1) in bytes, whose last 64 are c1's seed."""
    array = framed(struct.pack("<Q", RING_DEGREE) + bytes(_POLY_BYTES))
    return framed(_metadata() + array + framed(b"\x01" + bytes(SEED_BYTES)))


def _expanded(seed: bytes) -> Any:
    """Return the ciphertext (0, c1) whose c1 SEAL expands from `seed`."""
    ciphertext = seal().Ciphertext()
    write_ending(_seeded(), seed, lambda path: ciphertext.load(_context(), path))
    return ciphertext


def expand_sum(seeds: Iterable[bytes]) -> Any:
    """Return the ciphertext (0, sum of c1) over the c1 that `seeds` (of one block) stand for."""
    evaluator, total = seal().Evaluator(_context()), None
    for seed in seeds:
        if total is None:
            total = _expanded(seed)
        else:
            evaluator.add_inplace(total, _expanded(seed))
    if total is None:
        raise ValueError("no seeds to expand")
    return total


def second_half(ciphertext: Any) -> Words:
    """Return c1 of a ciphertext: 4096 words mod q."""
    body = saved(ciphertext)
    if len(body) != _METADATA_BYTES + HEADER_BYTES + 8 + 2 * _POLY_BYTES:
        raise LayoutError("SEAL's ciphertext has another length")
    return np.frombuffer(body[-_POLY_BYTES:], "<u8").astype(np.uint64)


def from_second_half(c1: Words) -> Any:
    """Return the ciphertext (0, c1) for 4096 words mod q."""
    words = struct.pack("<Q", 2 * RING_DEGREE) + bytes(_POLY_BYTES) + c1.astype("<u8").tobytes()
    return _ciphertext(_metadata() + framed(words))


class KeyMultiplier:
    """Reads c1 * s mod q off SEAL's decryptor.

    Decrypting (0, c1) with plain modulus 2^57 gives c1*s * 2^57/q to the nearest integer, which
    is c1*s to within 2 (q is nearly 2^58): no number-theoretic transform of our own.
    """

    def __init__(self, key: Any) -> None:
        self._decryptor = seal().Decryptor(_context(), key)
        self._plaintext = seal().Plaintext()

    def product(self, ciphertext: Any) -> Words:
        """Return c1 * s mod q of (0, c1): 4096 words, each off by at most 4."""
        self._decryptor.decrypt(ciphertext, self._plaintext)
        body = saved(self._plaintext)
        count = self._plaintext.coeff_count()
        read = np.zeros(RING_DEGREE, np.uint64)
        read[:count] = np.frombuffer(body, "<u8", count, len(body) - 8 * count)
        # y*q/2^57 = 2y - gap*y/2^57
        loss = ((read >> np.uint64(20)) * np.uint64(MODULUS_GAP)) >> np.uint64(_READ_BITS - 20)
        read <<= np.uint64(1)
        return reduce(read - np.minimum(loss, read))


def products(key: Any, columns: Sequence[Sequence[bytes]]) -> Words:
    """Return sum(c1) * s mod q, block after block, for the seeds of each block."""
    reader = KeyMultiplier(key)
    return np.concatenate([reader.product(expand_sum(seeds)) for seeds in columns])


@cache
def key_test() -> None:
    """Check that SEAL draws the key of a seed that others draw; what it draws, slots share.

    Raises:
        LayoutError: It does not.
        ConfigError: SEAL is not installed.
    """
    with refusing():
        check_key(_parameters(), RING)


@cache
def self_test() -> None:
    """Check that SEAL's key, c1, layout and noise are those this room was written for.

    Raises:
        LayoutError: They are not.
        ConfigError: SEAL is not installed.
    """
    key_test()
    with refusing("install tenseal==0.3.18, or agree on scheme='slots'"):
        check_c1(second_half(expand_sum([SEED])).astype("<u8").tobytes(), RING)
        _check_zeros(seeded_key(_parameters(), SEED))


def _check_zeros(key: Any) -> None:
    words, seeds = encrypt_zeros(key, 2)
    for block in range(2):
        c0 = words[block * RING_DEGREE : (block + 1) * RING_DEGREE]
        seed = seeds[block * SEED_BYTES : (block + 1) * SEED_BYTES]
        doubled = expand_sum([seed, seed])
        once = from_second_half(second_half(expand_sum([seed])))
        for times, ciphertext in ((2, doubled), (1, once)):
            phase = reduce(c0 * np.uint64(times) + KeyMultiplier(key).product(ciphertext))
            noise = np.minimum(phase, np.uint64(MODULUS) - phase)
            if c0.max() >= MODULUS or noise.max() > times * FRESH_NOISE + 4 or not noise.any():
                raise LayoutError("an encryption of zero does not decrypt to zero")
