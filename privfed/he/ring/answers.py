"""What goes back to the holder of a key: re-randomised, masked, flooded, and only then made small.

An answer's phase is y + t*e: y uniform by the mask, e drowned by the flood. Its second half is a
fresh public-key encryption's; without that the holder would divide by its own and read plaintexts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.he.ring import kernels, sampling, wire
from privfed.he.ring.ciphertexts import Products
from privfed.he.ring.kernels import LIMB_BITS
from privfed.he.ring.parameters import RING, Numbers, Residues, Ring

_ROWS = 4  # at once: a few MB of numbers


@dataclass(frozen=True, eq=False, repr=False)
class Answers:
    """Answers to one key.

    Attributes:
        ring: Where they lie.
        primes: How many primes they had before they were made small.
        c0: First halves (rows, kept primes, positions), coefficients.
        c1: Second halves (rows, kept primes, degree), coefficients.
        positions: Which coefficients are there; None for all.
    """

    ring: Ring
    primes: int
    c0: Numbers
    c1: Numbers
    positions: NDArray[np.int64] | None

    def to_bytes(self) -> bytes:
        """Return both halves."""
        return wire.pack(self.c0) + wire.pack(self.c1)

    @staticmethod
    def size_bytes(rows: int, kept_primes: int, places: int, *, ring: Ring = RING) -> int:
        """Return the length of so many rows' bytes, with so many positions in each."""
        return wire.size_bytes(rows, kept_primes, places) + wire.size_bytes(
            rows, kept_primes, ring.degree
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
        wire.check_size(data, cls.size_bytes(rows, kept_primes, places, ring=ring))
        first = wire.size_bytes(rows, kept_primes, places)
        c0 = wire.unpack(data[:first], (rows, kept_primes, places), ring)
        c1 = wire.unpack(data[first:], (rows, kept_primes, ring.degree), ring)
        return cls(ring, primes, c0, c1, kept)


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


def answer(
    public: tuple[Numbers, Numbers],
    products: Products,
    masks: Residues,
    flood_bits: int,
    kept_primes: int,
    positions: Sequence[int] | NDArray[np.int64] | None,
) -> Answers:
    """Return answers under a public key's two halves (see `PublicKey.answer`).

    Raises:
        ConfigError: Masks, positions or numbers do not fit.
    """
    ring, (rows, primes, degree) = products.ring, products.c0.shape
    check_kept(primes, kept_primes, ring)
    kept = check_positions(positions, ring)
    if masks.shape != (rows, degree) or masks.size and masks.max() >= ring.plain_modulus:
        raise ConfigError(f"masks are ({rows}, {degree}) residues mod t, one row an answer")
    if not 1 <= flood_bits <= sampling.MAX_FLOOD_BITS:
        raise ConfigError(f"a flood has 1 to {sampling.MAX_FLOOD_BITS} bits, not {flood_bits}")
    c0 = np.empty((rows, kept_primes, degree if kept is None else len(kept)))
    c1 = np.empty((rows, kept_primes, degree))
    for start in range(0, rows, _ROWS):
        part = slice(start, min(start + _ROWS, rows))
        halves = (products.c0[part].copy(), products.c1[part].copy())
        _hide(halves, public, masks[part], flood_bits, ring)
        for half in halves:
            for last in range(primes - 1, kept_primes - 1, -1):
                kernels.drop_last(*_dropping(ring, last), ring.moduli, last, half)
        first = halves[0][:, :kept_primes]
        c0[part] = first if kept is None else first[:, :, kept]
        c1[part] = halves[1][:, :kept_primes]
    return Answers(ring, primes, c0, c1, kept)


def _hide(
    halves: tuple[Numbers, Numbers],
    public: tuple[Numbers, Numbers],
    masks: Residues,
    flood_bits: int,
    ring: Ring,
) -> None:
    """Add a fresh encryption of the masks and the flood, in place; leave coefficients."""
    rows, primes, degree = halves[0].shape
    plain = float(ring.plain_modulus)
    once = np.empty((rows, primes, degree))
    once[:] = sampling.ternary(rows, ring)[:, np.newaxis]
    ring.to_values(once)
    for half, key in zip(halves, public, strict=True):
        kernels.add_products(once, key[:primes], 1.0, ring.moduli, half)
        ring.to_coefficients(half)
        kernels.add_error(sampling.errors(rows, ring), plain, ring.moduli, half)
    limbs = sampling.limbs(rows, ring, flood_bits)
    kernels.add_flood(masks, limbs, _flooding(ring, flood_bits), ring.moduli, halves[0])


@cache
def _flooding(ring: Ring, bits: int) -> Numbers:
    """Return for each prime t * 2^(48*k) for each limb, and t times the least number."""
    limbs = -(-bits // LIMB_BITS)
    numbers = [ring.plain_modulus << (LIMB_BITS * limb) for limb in range(limbs)]
    numbers.append(-ring.plain_modulus << (bits - 1))
    return np.array([[_middle(number, p) for number in numbers] for p in ring.primes], float)


@cache
def _dropping(ring: Ring, last: int) -> tuple[Numbers, Numbers]:
    """Return what `kernels.drop_last` needs of t and of the primes that stay."""
    t, q = ring.plain_modulus, ring.primes[last]
    plain = np.array([t, 1 / t, _middle(-pow(q, -1, t), t)])
    return plain, np.array([_middle(pow(q, -1, p), p) for p in ring.primes[:last]], float)


def opened(phases: Numbers, primes: int, ring: Ring) -> Residues:
    """Return the messages of phases (rows, kept primes, positions), up to two primes; uses them up."""
    kept = phases.shape[1]
    out = np.empty((len(phases), phases.shape[2]), np.uint64)
    kernels.compose(phases, ring.moduli, *_composing(ring, primes, kept), out)
    return out


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
    """Return the integer nearest to 0 that is this one mod an odd modulus."""
    half = modulus // 2
    return (number + half) % modulus - half
