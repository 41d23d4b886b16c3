"""What is drawn: AES-256 in counter mode, keyed by the system, or by a seed that both sides hold.

Uniform residues are drawn again where a word is none, so they are exactly uniform; how often tells
nothing of those that stay.
"""

import secrets

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from privfed.he.ring import kernels
from privfed.he.ring.kernels import LIMB_BITS
from privfed.he.ring.parameters import RING, Numbers, Residues, Ring

SEED_BYTES = 32
ERROR_BOUND = 21  # of centred binomial errors: 21 bits less 21 bits, a deviation of 3.24
MAX_FLOOD_BITS = 3 * LIMB_BITS

_TERNARY_BYTES = 255  # a byte below it is one of three numbers, each alike


class Stream:
    """Random words that a key gives."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def words(self, count: int) -> Residues:
        """Return the next 64-bit words."""
        return self.bytes(8 * count).view("<u8").astype(np.uint64, copy=False)

    def bytes(self, count: int) -> NDArray[np.uint8]:
        """Return the next bytes."""
        out = np.empty(count, np.uint8)
        self._cipher.update_into(bytes(count), out.data)
        return out


def fresh() -> Stream:
    """Return a stream under a new key of the operating system's."""
    return Stream(secrets.token_bytes(SEED_BYTES))


def uniform(seed: bytes, count: int, ring: Ring, primes: int) -> Numbers:
    """Return the residues (count, primes, degree) of a public seed."""
    limits = np.array(ring.primes[:primes], np.uint64)
    return _below(Stream(seed), limits, (count, primes, ring.degree))


def uniform_plain(count: int, ring: Ring = RING) -> Residues:
    """Return polynomials (count, degree) of uniform residues mod t, for masks."""
    limits = np.array([ring.plain_modulus], np.uint64)
    return _below(fresh(), limits, (count, 1, ring.degree))[:, 0].astype(np.uint64)


def _below(stream: Stream, limits: Residues, shape: tuple[int, int, int]) -> Numbers:
    mask = np.uint64((1 << int(limits.max()).bit_length()) - 1)
    out = np.empty(shape)
    refused = kernels.accept(stream.words(out.size).reshape(shape), mask, limits, out)
    while refused:
        bounds = np.broadcast_to(limits[:, np.newaxis], shape)
        places = np.nonzero(out >= bounds)
        again = stream.words(len(places[0])) & mask
        out[places] = again
        refused = int((again >= bounds[places]).sum())
    return out


def ternary(count: int, ring: Ring) -> Numbers:
    """Return polynomials (count, degree) of uniform -1, 0 and 1."""
    stream, wanted = fresh(), count * ring.degree
    drawn = stream.bytes(wanted)
    drawn = drawn[drawn < _TERNARY_BYTES]
    while len(drawn) < wanted:
        more = stream.bytes(wanted - len(drawn) + 64)
        drawn = np.concatenate([drawn, more[more < _TERNARY_BYTES]])
    numbers: Numbers = (drawn[:wanted] % 3).astype(np.float64) - 1
    return numbers.reshape(count, ring.degree)


def errors(count: int, ring: Ring) -> Numbers:
    """Return polynomials (count, degree) of errors, up to `ERROR_BOUND` either way."""
    out = np.empty(count * ring.degree)
    kernels.binomial(fresh().words(out.size), out)
    return out.reshape(count, ring.degree)


def limbs(count: int, ring: Ring, bits: int) -> Residues:
    """Return uniform numbers of so many bits (count, limbs, degree), low limbs first."""
    places = -(-bits // LIMB_BITS)
    words = fresh().words(count * places * ring.degree).reshape(count, places, ring.degree)
    words &= np.uint64((1 << LIMB_BITS) - 1)
    words[:, -1:] &= np.uint64((1 << (bits - LIMB_BITS * (places - 1))) - 1)
    return words
