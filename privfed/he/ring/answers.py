"""What goes back to the holder of a key: re-randomised, masked, flooded, and only then made small.

An answer's phase is y + t*e: y uniform by the mask, e drowned by the flood. Its second half is a
fresh public-key encryption's; without that the holder would divide by its own and read plaintexts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.he.ring import kernels, sampling, wire
from privfed.he.ring.ciphertexts import Ciphertexts, Products
from privfed.he.ring.kernels import LIMB_BITS
from privfed.he.ring.parameters import RING, Numbers, Residues, Ring

MAX_SUMMANDS = 4  # of a flood: their limbs together stay exact
_ROWS = 16  # whose products are taken at once


@dataclass(frozen=True, eq=False, repr=False)
class Answers:
    """Answers to one key, as checked bytes: a row at a time is read.

    Attributes:
        ring: Where they lie.
        primes: How many primes they had before they were made small.
        kept_primes: How many they have.
        positions: Which coefficients of first halves are there; None for all.
        body: For each row its first half and its second one, coefficients.
    """

    ring: Ring
    primes: int
    kept_primes: int
    positions: NDArray[np.int64] | None
    body: NDArray[np.uint8]

    def to_bytes(self) -> bytes:
        """Return all rows."""
        return self.body.tobytes()

    @staticmethod
    def size_bytes(rows: int, kept_primes: int, places: int, *, ring: Ring = RING) -> int:
        """Return the length of so many rows' bytes, with so many positions in each."""
        return rows * (
            wire.size_bytes(kept_primes, places) + wire.size_bytes(kept_primes, ring.degree)
        )

    @classmethod
    def from_bytes(
        cls,
        data: bytes | memoryview,
        rows: int,
        *,
        primes: int,
        kept_primes: int,
        positions: Sequence[int] | NDArray[np.int64] | None = None,
        ring: Ring = RING,
    ) -> "Answers":
        """Return the answers that `to_bytes` wrote.

        Raises:
            DecodeError: They are not so many, or a residue is not below its prime.
            ConfigError: Positions or levels are not the ring's.
        """
        kept = check_positions(positions, ring)
        check_kept(primes, kept_primes, ring)
        places = ring.degree if kept is None else len(kept)
        read = wire.checked(data, cls.size_bytes(rows, kept_primes, places, ring=ring))
        answers = cls(ring, primes, kept_primes, kept, read.reshape(rows, -1))
        c0, c1 = answers.halves()
        for row in range(rows):
            answers.read(row, c0, c1)
        return answers

    def halves(self) -> tuple[Numbers, Numbers]:
        """Return memory for a row's two halves, (kept primes, coefficients) each."""
        places = self.ring.degree if self.positions is None else len(self.positions)
        return np.empty((self.kept_primes, places)), np.empty((self.kept_primes, self.ring.degree))

    def read(self, row: int, c0: Numbers, c1: Numbers) -> None:
        """Read a row.

        Raises:
            DecodeError: A residue is not below its prime.
        """
        start = 0
        for half in (c0, c1):
            size = wire.size_bytes(*half.shape)
            wire.unpack(self.body[row, start : start + size], self.ring, half)
            start += size

    def write(self, row: int, c0: Numbers, c1: Numbers) -> None:
        """Write a row."""
        start = 0
        for half in (c0, c1):
            size = wire.size_bytes(*half.shape)
            wire.pack(half, self.body[row, start : start + size])
            start += size


def check_kept(primes: int, kept_primes: int, ring: Ring) -> None:
    """Check that some of the primes are kept.

    Raises:
        ConfigError: It is none, or more than there are.
    """
    ring.check_level(primes)
    if not 1 <= kept_primes <= primes:
        raise ConfigError(f"keep 1 to {primes} primes, not {kept_primes}")


def check_positions(
    positions: Sequence[int] | NDArray[np.int64] | None, ring: Ring
) -> NDArray[np.int64] | None:
    """Return positions as an array.

    Raises:
        ConfigError: One lies outside of a polynomial.
    """
    if positions is None:
        return None
    kept = np.asarray(positions, np.int64)
    if kept.ndim != 1 or ((kept < 0) | (kept >= ring.degree)).any():
        raise ConfigError(f"positions are from 0 to {ring.degree - 1}")
    return kept


class Flood(NamedTuple):
    """What drowns noise: a centred sum of uniform numbers.

    Attributes:
        bits: How wide each number is.
        summands: How many they are.
    """

    bits: int
    summands: int


def answer(
    zero: Ciphertexts,
    products: Products,
    masks: Residues,
    flood: Flood,
    kept_primes: int,
    positions: Sequence[int] | NDArray[np.int64] | None,
) -> Answers:
    """Return answers under a public key, an encryption of zero (see `PublicKey.answer`).

    Raises:
        ConfigError: Masks, positions or numbers do not fit.
    """
    ring, (vectors, rows, primes) = products.plaintexts.ring, products.shape
    count = vectors * rows
    check_kept(primes, kept_primes, ring)
    kept = check_positions(positions, ring)
    places = ring.degree if kept is None else len(kept)
    if masks.shape != (count, places) or masks.max(initial=0) >= ring.plain_modulus:
        raise ConfigError(f"masks are ({count}, {places}) residues mod t, one row an answer")
    if not 1 <= flood.bits <= sampling.MAX_FLOOD_BITS:
        raise ConfigError(f"a flood has 1 to {sampling.MAX_FLOOD_BITS} bits, not {flood.bits}")
    if not 1 <= flood.summands <= MAX_SUMMANDS:
        raise ConfigError(f"a flood has 1 to {MAX_SUMMANDS} summands, not {flood.summands}")
    size = Answers.size_bytes(1, kept_primes, places, ring=ring)
    answers = Answers(ring, primes, kept_primes, kept, np.empty((count, size), np.uint8))
    hiding = _Hiding(ring, primes, zero, flood, kept)
    memory = np.empty((vectors * min(_ROWS, rows), 2, primes, ring.degree))
    for start in range(0, rows, _ROWS):
        few = min(_ROWS, rows - start)
        sums = memory[: vectors * few].reshape(vectors, few, *memory.shape[1:])
        products.write(start, sums)
        for vector, row in np.ndindex(*sums.shape[:2]):
            place = vector * rows + start + row
            halves = hiding.hidden(sums[vector, row], masks[place])
            for half in halves:
                for last in range(primes - 1, kept_primes - 1, -1):
                    kernels.drop_last(*_dropping(ring, last), ring.moduli, last, half)
            answers.write(place, *(half[:kept_primes] for half in halves))
    return answers


class _Hiding:
    """What hides one answer after another."""

    def __init__(
        self,
        ring: Ring,
        primes: int,
        zero: Ciphertexts,
        flood: Flood,
        positions: NDArray[np.int64] | None,
    ) -> None:
        self._ring, self._positions, self._stream = ring, positions, sampling.fresh()
        self._public = np.array((zero.c0[0, :primes], zero.c1[0, :primes]))
        self._factors = _flooding(ring, flood)
        self._once = np.empty((1, primes, ring.degree))
        places = ring.degree if positions is None else len(positions)
        limbs = -(-flood.bits // LIMB_BITS)
        self._limbs = np.empty((flood.summands, limbs, places), np.uint64)
        self._top = (1 << (flood.bits - LIMB_BITS * (limbs - 1))) - 1

    def hidden(self, halves: Numbers, mask: Residues) -> tuple[Numbers, Numbers]:
        """Return what travels of a sum of products plus a fresh encryption of its mask, flooded.

        Args:
            halves: The sum (halves, primes, degree), transformed; used up.
            mask: For each position one.
        """
        ring, stream, plain = self._ring, self._stream, float(self._ring.plain_modulus)
        self._once[:] = sampling.ternary(stream, ring)
        ring.to_values(self._once)
        kernels.add_products(self._public, self._once[0], 1.0, ring.moduli, halves)
        ring.to_coefficients(halves)
        first, second = halves
        kernels.add_error(sampling.errors(stream, 1, ring.degree)[0], plain, ring.moduli, second)
        if self._positions is not None:
            first = first.take(self._positions, 1)
        error = sampling.errors(stream, 1, len(mask))[0]
        stream.fill(self._limbs)
        kernels.add_flood(mask, error, self._limbs, self._top, self._factors, ring.moduli, first)
        return first, second


@cache
def _flooding(ring: Ring, flood: Flood) -> Numbers:
    """Return for each prime t * 2^(48*k) for each limb, and t times the least number."""
    limbs = -(-flood.bits // LIMB_BITS)
    numbers = [ring.plain_modulus << (LIMB_BITS * limb) for limb in range(limbs)]
    numbers.append(-ring.plain_modulus * (flood.summands << flood.bits >> 1))
    return np.array([[_middle(number, p) for number in numbers] for p in ring.primes], float)


@cache
def _dropping(ring: Ring, last: int) -> tuple[Numbers, Numbers]:
    """Return what `kernels.drop_last` needs of t and of the primes that stay."""
    t, q = ring.plain_modulus, ring.primes[last]
    plain = np.array([t, 1 / t, _middle(-pow(q, -1, t), t)])
    return plain, np.array([_middle(pow(q, -1, p), p) for p in ring.primes[:last]], float)


def compose(phases: Numbers, primes: int, ring: Ring, out: Residues) -> None:
    """Write the message of phases (kept primes, positions) up to two primes, which it uses up."""
    constants = _composing(ring, primes, len(phases))
    kernels.compose(phases, ring.moduli, *constants, out)


@cache
def _composing(ring: Ring, primes: int, kept: int) -> tuple[Numbers, Numbers, Numbers]:
    """Return what `kernels.compose` needs: the factor undoes the primes that were dropped."""
    t, q = ring.plain_modulus, ring.primes[:kept]
    factor, half = ring.modulus(primes) // ring.modulus(kept), ring.modulus(kept) // 2
    shares = np.zeros((kept, kept))
    for one in range(kept):
        for other in range(one + 1, kept):
            shares[one, other] = _middle(pow(q[one], -1, q[other]), q[other])
    plain = np.zeros((kept + 2, 2))
    plain[0] = t, 1 / t
    plain[1:-1, 0] = [_middle(factor * ring.modulus(before), t) for before in range(kept)]
    plain[-1, 0] = _middle(-factor * half, t)
    return np.array([_middle(half, p) for p in q], float), shares, plain


def _middle(number: int, modulus: int) -> int:
    """Return the integer nearest to 0 that is this one mod a modulus; of two the lower."""
    half = modulus // 2
    return (number + half) % modulus - half
