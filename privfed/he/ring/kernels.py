"""The ring's loops over coefficients, compiled by numba; residues at rest are from 0 to a prime.

Arrays are (rows, primes, coefficients). No loop branches on a number or looks it up: a choice is a
blend of lanes.
"""

from typing import Any

import numpy as np
from numba import float64, int64, uint64

from privfed.he.ring import floats
from privfed.he.ring.floats import canonical, count_ones, product, reduced
from psi.compiled.compiling import array, code_fingerprint, compiled

__all__ = [
    "LIMB_BITS",
    "accept",
    "add_error",
    "add_flood",
    "add_products",
    "binomial",
    "centre",
    "compose",
    "drop_last",
    "multiply_accumulate",
    "pick",
    "spread",
]

LIMB_BITS = 48  # of a flood's numbers, in words of 64
_CHUNK = 512  # coefficients whose sums stay in the first cache,
_FEW_ROWS = 4  # and of so many rows the factors in the second one, while vectors pass


def _numbers(dimensions: int, *, write: bool = False) -> Any:
    return array("float64", dimensions, write=write)


def _words(dimensions: int, *, write: bool = False) -> Any:
    return array("uint64", dimensions, write=write)


def _sampling(source: int) -> tuple[Any, ...]:
    """Return the loops that make numbers of random words. `source` is there for the cache."""

    @compiled(_words(1), _numbers(1, write=True))
    def binomial(words: Any, out: Any) -> None:
        """Write how many more of 21 bits are set than of 21 others."""
        _ = source
        mask = np.uint64((1 << 21) - 1)
        for i in range(len(words)):
            plus = np.int64(count_ones(words[i] & mask))
            out[i] = np.float64(plus - np.int64(count_ones((words[i] >> np.uint64(21)) & mask)))

    @compiled(array("uint8", 1), uint64, _numbers(1, write=True), int64, result=int64)
    def pick(drawn: Any, below: Any, out: Any, start: Any) -> Any:
        """Write -1, 0 or 1 for each byte below a limit, from a place on.

        Returns:
            The next place; the last one takes all that are too many.
        """
        _ = source
        for i in range(len(drawn)):
            out[min(start, len(out) - 1)] = np.float64(np.int64(drawn[i]) % 3 - 1)
            start += drawn[i] < below
        return start

    @compiled(_words(3), uint64, _words(1), _numbers(3, write=True), result=int64)
    def accept(words: Any, mask: Any, limits: Any, out: Any) -> Any:
        """Write the masked words; return how many are no residues, and must be drawn again."""
        _ = source
        refused = 0
        for row in range(out.shape[0]):
            for prime in range(out.shape[1]):
                limit, one, into = limits[prime], words[row, prime], out[row, prime]
                for i in range(len(into)):
                    word = one[i] & mask
                    into[i] = np.float64(np.int64(word))
                    refused += word >= limit
        return refused

    return binomial, accept, pick


def _encoding(source: int) -> tuple[Any, ...]:
    """Return the loops that come before a transform. `source` is there for the cache."""

    @compiled(array("int64", 2), _numbers(2), _numbers(3, write=True))
    def centre(numbers: Any, moduli: Any, out: Any) -> None:
        """Write integers, up to 2^52 either way, mod each prime."""
        _ = source
        for row in range(out.shape[0]):
            for prime in range(out.shape[1]):
                p, inverse = moduli[prime, 0], moduli[prime, 1]
                one, into = numbers[row], out[row, prime]
                for i in range(len(into)):
                    into[i] = reduced(np.float64(one[i]), p, inverse)

    @compiled(_words(2), _numbers(2), float64, _numbers(2), _numbers(3, write=True))
    def spread(messages: Any, errors: Any, plain: Any, moduli: Any, out: Any) -> None:
        """Write m + t*e mod each prime, m centred."""
        _ = source
        for row in range(out.shape[0]):
            for prime in range(out.shape[1]):
                p, inverse = moduli[prime, 0], moduli[prime, 1]
                message, error, into = messages[row], errors[row], out[row, prime]
                for i in range(len(into)):
                    m = np.float64(np.int64(message[i]))
                    m -= plain * np.float64(m + m > plain)
                    into[i] = reduced(product(error[i], plain, p, inverse) + m, p, inverse)

    return centre, spread


def _multiplying(source: int) -> tuple[Any, ...]:
    """Return the loops over transformed values. `source` is there for the cache."""

    @compiled(_numbers(3), _numbers(2), float64, _numbers(2), _numbers(3, write=True))
    def add_products(ones: Any, other: Any, sign: Any, moduli: Any, out: Any) -> None:
        """Add to each row its product with one polynomial, or take it away."""
        _ = source
        for row in range(out.shape[0]):
            for prime in range(out.shape[1]):
                p, inverse = moduli[prime, 0], moduli[prime, 1]
                x, y, into = ones[row, prime], other[prime], out[row, prime]
                for i in range(len(into)):
                    total = into[i] + sign * product(x[i], y[i], p, inverse)
                    into[i] = canonical(reduced(total, p, inverse), p)

    @compiled(_numbers(4), _numbers(4), _numbers(4), _numbers(2), _numbers(5, write=True))
    def multiply_accumulate(plain: Any, c0: Any, c1: Any, moduli: Any, out: Any) -> None:
        """Write each vector's product with a matrix: sums over its columns, of both halves.

        Args:
            plain: The matrix (rows, columns, primes, coefficients).
            c0: First halves (vectors, columns, primes, coefficients).
            c1: Second ones.
            moduli: The primes.
            out: The sums (vectors, rows, halves, primes, coefficients).
        """
        _ = source
        rows, columns, primes, degree = plain.shape
        size = min(_CHUNK, degree)
        sum0, sum1 = np.empty(size), np.empty(size)
        for prime in range(primes):
            p, inverse = moduli[prime, 0], moduli[prime, 1]
            for start in range(0, degree, size):
                end = start + size
                for few in range(0, rows, _FEW_ROWS):
                    for vector in range(len(c0)):
                        for row in range(few, min(few + _FEW_ROWS, rows)):
                            sum0[:] = 0.0
                            sum1[:] = 0.0
                            for column in range(columns):
                                x = plain[row, column, prime, start:end]
                                y = c0[vector, column, prime, start:end]
                                z = c1[vector, column, prime, start:end]
                                for i in range(size):
                                    sum0[i] += product(x[i], y[i], p, inverse)
                                    sum1[i] += product(x[i], z[i], p, inverse)
                                if column % 4 == 3:  # four, each under .88 primes, are no eight
                                    for i in range(size):
                                        sum0[i] = reduced(sum0[i], p, inverse)
                                        sum1[i] = reduced(sum1[i], p, inverse)
                            into0 = out[vector, row, 0, prime, start:end]
                            into1 = out[vector, row, 1, prime, start:end]
                            for i in range(size):
                                into0[i] = canonical(reduced(sum0[i], p, inverse), p)
                                into1[i] = canonical(reduced(sum1[i], p, inverse), p)

    return add_products, multiply_accumulate


def _answering(source: int) -> tuple[Any, ...]:
    """Return the loops over an answer's coefficients. `source` is there for the cache."""

    @compiled(_numbers(1), float64, _numbers(2), _numbers(2, write=True))
    def add_error(error: Any, plain: Any, moduli: Any, out: Any) -> None:
        """Add t*e."""
        _ = source
        for prime in range(len(out)):
            p, inverse = moduli[prime, 0], moduli[prime, 1]
            into = out[prime]
            for i in range(len(into)):
                total = into[i] + product(error[i], plain, p, inverse)
                into[i] = canonical(reduced(total, p, inverse), p)

    @compiled(
        _words(1), _numbers(1), _words(3), uint64, _numbers(2), _numbers(2),
        _numbers(2, write=True),
    )  # fmt: skip
    def add_flood(
        mask: Any, error: Any, limbs: Any, top: Any, factors: Any, moduli: Any, out: Any
    ) -> None:
        """Add m + t*(e + F).

        Args:
            mask: m.
            error: e.
            limbs: Random words for each summand of F, up to four, which takes `LIMB_BITS` of each,
                the lowest first.
            top: The bits that a summand takes of the last ones.
            factors: For each prime, t times each limb's weight, and times F's least number.
            moduli: The primes.
            out: Coefficients mod each prime.
        """
        _ = source
        last = limbs.shape[1]
        for prime in range(len(out)):
            p, inverse = moduli[prime, 0], moduli[prime, 1]
            into, start, factor = out[prime], factors[prime, last], factors[prime, 0]
            for i in range(len(into)):
                into[i] += np.float64(np.int64(mask[i])) + start
                into[i] += product(error[i], factor, p, inverse)
            for limb in range(last):  # three at most, each under .7 primes
                factor = factors[prime, limb]
                bits = top if limb + 1 == last else np.uint64((1 << LIMB_BITS) - 1)
                for i in range(len(into)):
                    number = np.uint64(0)
                    for summand in range(len(limbs)):
                        number += limbs[summand, limb, i] & bits
                    into[i] += product(np.float64(np.int64(number)), factor, p, inverse)
            for i in range(len(into)):
                into[i] = canonical(reduced(into[i], p, inverse), p)

    @compiled(_numbers(1), _numbers(1), _numbers(2), int64, _numbers(2, write=True))
    def drop_last(plain: Any, shares: Any, moduli: Any, last: Any, out: Any) -> None:
        """Divide by the last prime, in place in those before it, after adding a multiple of t.

        Args:
            plain: t, 1/t and -1/q mod t, for q the last prime.
            shares: 1/q mod each prime before it.
            moduli: The primes.
            last: Where the last prime stands.
            out: What is divided.
        """
        _ = source
        t, ratio, factor, q = plain[0], plain[1], plain[2], moduli[last, 0]
        degree, rest = out.shape[1], out[last]
        low, high = np.empty(degree), np.empty(degree)
        for i in range(degree):
            x = rest[i] - q * np.float64(rest[i] + rest[i] > q)
            k = product(x, factor, t, ratio)
            k -= t * np.float64(k + k > t)
            k += t * np.float64(k + k < -t)
            low[i], high[i] = x, k
        for prime in range(last):  # c - x - q*k is a multiple of q, and x + q*k one of t
            p, inverse, share, into = moduli[prime, 0], moduli[prime, 1], shares[prime], out[prime]
            for i in range(degree):
                total = product(into[i] - low[i], share, p, inverse) - high[i]
                into[i] = canonical(reduced(total, p, inverse), p)

    @compiled(
        _numbers(2, write=True), _numbers(2), _numbers(1), _numbers(2), _numbers(2),
        _words(1, write=True),
    )  # fmt: skip
    def compose(phases: Any, moduli: Any, half: Any, shares: Any, plain: Any, out: Any) -> None:
        """Write the numbers of these residues, centred, times a factor mod t; uses up `phases`.

        Args:
            phases: Residues, up to two primes.
            moduli: The primes.
            half: Half the product of the primes, rounded down, mod each.
            shares: At (i, j) 1 over prime i mod prime j.
            plain: t and 1/t; for each prime the factor times those before it; minus the factor
                times that half.
            out: Residues mod t.
        """
        _ = source
        primes, t, ratio = len(phases), plain[0, 0], plain[0, 1]
        for prime in range(primes):  # digits of the number plus half of all
            p, inverse, digit = moduli[prime, 0], moduli[prime, 1], phases[prime]
            for i in range(len(digit)):
                digit[i] = canonical(reduced(digit[i] + half[prime], p, inverse), p)
            for before in range(prime):
                lower, share = phases[before], shares[before, prime]
                for i in range(len(digit)):
                    digit[i] = canonical(product(digit[i] - lower[i], share, p, inverse), p)
        for i in range(len(out)):
            total = plain[1 + primes, 0]
            for prime in range(primes):
                total += product(phases[prime, i], plain[1 + prime, 0], t, ratio)
            out[i] = np.uint64(canonical(reduced(total, t, ratio), t))

    return add_error, add_flood, drop_last, compose


_SOURCE = code_fingerprint(floats)
binomial, accept, pick = _sampling(_SOURCE)
centre, spread = _encoding(_SOURCE)
add_products, multiply_accumulate = _multiplying(_SOURCE)
add_error, add_flood, drop_last, compose = _answering(_SOURCE)
