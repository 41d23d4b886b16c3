"""Worst cases of noise, as exact integers: a plan proves by them that nothing wraps or shows.

A phase is m + t*e. Every bound holds for any key, message and draw: a product's coefficients are at
most the sum of one factor's absolute coefficients times the greatest of the other's.
"""

from fractions import Fraction

from privfed.errors import CapacityError
from privfed.he.ring.parameters import RING, Ring
from privfed.he.ring.sampling import ERROR_BOUND


def fresh_noise() -> int:
    """Return the most of |e| in a fresh ciphertext, whose |m| is below t/2."""
    return ERROR_BOUND


def product_noise(row_sum: int) -> int:
    """Return the most of |e| in a row of products, whose m is in [0, t).

    Args:
        row_sum: The most that absolute coefficients of a row's plaintexts sum to, over all columns.
    """
    # |sum of plain * m| <= row_sum * t/2 is a residue and at most half of row_sum times t.
    return row_sum * fresh_noise() + (row_sum + 1) // 2


def public_noise(*, ring: Ring = RING) -> int:
    """Return the most of |e| in a public-key encryption: e*u + e0 + e1*s."""
    return ERROR_BOUND * (2 * ring.degree + 1)


def answer_noise(row_sum: int, *, ring: Ring = RING) -> int:
    """Return the most of |e| that a flood must hide: both of those, and the carry of the mask."""
    return product_noise(row_sum) + public_noise(ring=ring) + 1


def flood_distance(row_sum: int, flood_bits: int, *, ring: Ring = RING) -> Fraction:
    """Return the statistical distance of one answered coefficient from one without that noise.

    Coefficients of an answer add up, and so do answers: a plan sums over all that it ever answers.
    """
    return min(Fraction(1), Fraction(answer_noise(row_sum, ring=ring), 1 << flood_bits))


def flooded_phase(row_sum: int, flood_bits: int, *, summands: int = 1, ring: Ring = RING) -> int:
    """Return the most of |phase| of an answer before its modulus is switched."""
    noise = answer_noise(row_sum, ring=ring) + (summands << flood_bits >> 1)
    return ring.plain_modulus * (noise + 1)


def switched_phase(phase: int, primes: int, kept_primes: int, *, ring: Ring = RING) -> int:
    """Return the most of |phase| after dropping all primes but the first ones."""
    # Each half moves by (t+1)/2 at most, the second one's once for each coefficient of s.
    for prime in ring.primes[kept_primes:primes][::-1]:
        phase = phase // prime + 1 + (ring.degree + 1) * (ring.plain_modulus // 2 + 1)
    return phase


def check_capacity(
    row_sum: int,
    flood_bits: int,
    *,
    primes: int,
    kept_primes: int,
    summands: int = 1,
    ring: Ring = RING,
) -> None:
    """Check that an answer opens to its message in the worst case, at every level on its way.

    Raises:
        CapacityError: It can wrap.
    """
    phase = flooded_phase(row_sum, flood_bits, summands=summands, ring=ring)
    for level in range(primes, kept_primes - 1, -1):
        reached = switched_phase(phase, primes, level, ring=ring)
        if 2 * reached >= ring.modulus(level):
            raise CapacityError(
                f"noise and flood of {reached.bit_length()} bits wrap mod {level} primes: take"
                " more primes, fewer coefficients or a smaller flood"
            )
