"""What is drawn: AES-256 in counter mode, keyed by the system, or by a seed that both sides hold.

Uniform residues are drawn again where a word is none, so they are exactly uniform; how often tells
nothing of those that stay.
"""

import secrets
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from privfed.he.ring import kernels
from privfed.he.ring.kernels import LIMB_BITS
from privfed.he.ring.parameters import RING, Numbers, Residues, Ring

SEED_BYTES = 32
ERROR_BOUND = 21  # of centred binomial errors: 21 bits less 21 bits, a deviation of 3.24
MAX_FLOOD_BITS = 3 * LIMB_BITS

_ZEROS = bytes(2**15)
_TERNARY_BYTES = 255  # a byte below it is one of three numbers, each alike


class Stream:
    """Random words that a key gives."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def fill(self, out: NDArray[Any]) -> None:
        """Fill an array with the next bytes."""
        view = out.reshape(-1).data.cast("B")
        for start in range(0, len(view), len(_ZEROS)):
            piece = view[start : start + len(_ZEROS)]
            self._cipher.update_into(_ZEROS[: len(piece)], piece)


def fresh() -> Stream:
    """Return a stream under a new key of the operating system's."""
    return Stream(secrets.token_bytes(SEED_BYTES))


def uniform(seed: bytes, count: int, ring: Ring, primes: int) -> Numbers:
    """Return the residues (count, primes, degree) of a public seed."""
    out = np.empty((count, primes, ring.degree))
    fill_below(Stream(seed), ring.primes[:primes], out)
    return out


def uniform_plain(count: int, places: int | None = None, *, ring: Ring = RING) -> Residues:
    """Return uniform residues mod t (count, places), for masks; a polynomial each if not told."""
    out = np.empty((count, 1, ring.degree if places is None else places))
    fill_below(fresh(), (ring.plain_modulus,), out)
    return out[:, 0].astype(np.uint64)


def fill_below(stream: Stream, limits: tuple[int, ...], out: Numbers) -> None:
    """Fill (rows, limits, degree) with numbers below each limit, row after row.

    A row takes a word for each number, then one for each that was refused, until none is.
    """
    bounds = np.array(limits, np.uint64)
    mask = np.uint64((1 << (max(limits) - 1).bit_length()) - 1)
    words = np.empty((1, *out.shape[1:]), np.uint64)
    for row in range(len(out)):
        stream.fill(words)
        part = out[row : row + 1]
        refused = kernels.accept(words, mask, bounds, part)
        while refused:
            places = np.nonzero(part >= bounds[:, np.newaxis])
            again = np.empty(len(places[0]), np.uint64)
            stream.fill(again)
            again &= mask
            part[places] = again
            refused = (again >= bounds[places[1]]).sum()


def ternary(stream: Stream, ring: Ring) -> Numbers:
    """Return a polynomial of uniform -1, 0 and 1."""
    place, out = 0, np.empty(ring.degree + 1)  # what is one too many goes to the last place
    drawn = np.empty(ring.degree + ring.degree // 64, np.uint8)
    while place < ring.degree:
        stream.fill(drawn)
        place = kernels.pick(drawn, _TERNARY_BYTES, out, place)
    return out[: ring.degree]


def errors(stream: Stream, count: int, places: int) -> Numbers:
    """Return so many rows of errors, up to `ERROR_BOUND` either way."""
    words = np.empty((count, places), np.uint64)
    stream.fill(words)
    out = np.empty((count, places))
    kernels.binomial(words.reshape(-1), out.reshape(-1))
    return out
