"""A smooth flood: a centred sum of four uniform numbers, whose distances add up in squares.

One uniform number of M moves by e/M in statistical distance when it is moved by e, and so q answers
move by q*e/M. A law without edges moves by less in the squared Hellinger distance
H^2(P, Q) = sum of (sqrt(P) - sqrt(Q))^2 / 2:

- Let D^2 = sum over x of (sqrt(P(x)) - sqrt(P(x-1)))^2, P the law of the sum of four uniform
  numbers in [0, M). A shift by e is |e| shifts by one: H^2 <= e^2*D^2/2 (Minkowski).
- D^2 <= 1/M^2 for M = 4, 8, ...: the tests sum it, exactly or from above in blocks. (As M grows,
  M^2*D^2 falls to a quarter of the Fisher information of the density, 0.779; a smooth law of any
  location family behaves like this: Ibragimov and Has'minskii 1981, chapter I, section 7.)
- 1 - H^2 of two joint laws is a product where draws are independent, and at least the product of
  the least factors where each depends on what came before: so q answers have H^2 <= q*e^2/(2*M^2).
- The statistical distance is at most sqrt(2)*H (Le Cam 1973; Tsybakov 2009, section 2.4):

    distance <= sqrt(q) * e / M

The noise e = sum of a_i*e_i is bounded by its tail where errors are drawn as they ought to be: a
centred binomial error is 42 fair half-steps, so P(|e| > x) <= 2*exp(-x^2 / (21 * sum of a_i^2))
(Hoeffding 1963, theorem 2).
"""

from fractions import Fraction
from math import isqrt

from privfed.errors import CapacityError
from privfed.he.ring.parameters import RING, Ring
from privfed.he.ring.sampling import ERROR_BOUND, MAX_FLOOD_BITS

__all__ = ["SUMMANDS", "drawn_noise", "smooth_distance", "smooth_flood_bits"]

SUMMANDS = 4
_LEAST_BITS = 2  # the bound of D^2 holds from there on


def drawn_noise(squares: int, answered: int, distance: Fraction, *, ring: Ring = RING) -> int:
    """Return what |e| exceeds in none of all answered coefficients, but with a small probability.

    Args:
        squares: The most that the squared coefficients of a row's plaintexts sum to.
        answered: How many coefficients are ever answered.
        distance: The probability that any of them exceeds it.
        ring: Where they lie.
    """
    # The public key's e*u + e1*s + e0 has ternary factors. The last one is the carry of the mask.
    squares += 2 * ring.degree + 1
    trials = 2 * answered * distance.denominator // distance.numerator + 1
    nats = Fraction(trials.bit_length() * 7, 10)  # ln 2 < 0.7
    return isqrt(int(ERROR_BOUND * squares * nats)) + 2


def smooth_distance(noise: int, flood_bits: int, answered: int) -> Fraction:
    """Return the most that all answered coefficients are from ones without that noise."""
    squared = answered * noise**2
    root = isqrt(squared)
    return min(Fraction(1), Fraction(root + (root**2 < squared), 1 << flood_bits))


def smooth_flood_bits(noise: int, answered: int, distance: Fraction) -> int:
    """Return the fewest bits of each summand that keep all answers within a distance.

    Raises:
        CapacityError: So many cannot be drawn.
    """
    for bits in range(_LEAST_BITS, MAX_FLOOD_BITS + 1):
        if smooth_distance(noise, bits, answered) <= distance:
            return bits
    raise CapacityError(f"a flood of more than {MAX_FLOOD_BITS} bits is needed: answer fewer")
