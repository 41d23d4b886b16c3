"""The ring's numbers, and what no ring may be."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.errors import ConfigError
from privfed.he import ring
from privfed.he.ring.parameters import RING, Ring
from privfed.he.ring.sampling import ERROR_BOUND
from tests.he.ring.integers import EVEN, MIDDLE, ODD, SMALL, multiplied

# Homomorphic Encryption Security Standard (Albrecht et al., homomorphicencryption.org, 2018),
# table 1: bits of the modulus at 128 bits of security, ternary secrets, error's deviation 3.2.
TABLE = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}
WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)  # enough below 3.3e24 (Sorenson, Webster)


def is_prime(number: int) -> bool:
    """Miller and Rabin's test, with witnesses that leave no doubt."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for witness in WITNESSES:
        power = pow(witness, odd, number)
        if power != 1 and all(pow(power, 2**turn, number) != number - 1 for turn in range(twos)):
            return False
    return True


def test_the_modulus_is_secure_at_this_degree() -> None:
    assert math.log2(math.prod(ring.PRIMES)) <= TABLE[ring.DEGREE]
    assert math.sqrt(ERROR_BOUND / 2) >= 3.2  # the deviation of a difference of 21 bits and 21 bits


def test_the_primes_are_the_greatest() -> None:
    step = 2 * ring.DEGREE
    greatest = [n for n in range(2**50 - step + 1, ring.PRIMES[-1] - 1, -step) if is_prime(n)]
    assert tuple(greatest) == ring.PRIMES
    plain = [n for n in range(2**49 - step + 1, ring.PLAIN_MODULUS - 1, -step) if is_prime(n)]
    assert plain == [ring.PLAIN_MODULUS]
    assert not is_prime(2**50 - step + 1 - step)  # the test can say no


@pytest.mark.parametrize(
    ("degree", "primes", "plain", "why"),
    [
        (64, ring.PRIMES, ring.PRIMES[1], "the key opens"),
        (64, (ring.PRIMES[0],), 3 * ring.PRIMES[0], "the key opens"),
        (100, ring.PRIMES, ring.PLAIN_MODULUS, "power of two"),
        (32, ring.PRIMES, ring.PLAIN_MODULUS, "power of two"),
        (64, (), ring.PLAIN_MODULUS, "one prime"),
        (64, ring.PRIMES[:1] * 2, ring.PLAIN_MODULUS, "each once"),
        (16384, ring.PRIMES, ring.PLAIN_MODULUS, "1 mod twice"),
        (64, (2**61 - 2**7 * 24 + 1,), ring.PLAIN_MODULUS, r"below 2\^50"),
        (64, (ring.PLAIN_MODULUS,), ring.PRIMES[0], "below each prime"),
        (64, ring.PRIMES, 1, "2 or more"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    degree: int, primes: tuple[int, ...], plain: int, why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        Ring(degree, primes, plain)


@pytest.mark.parametrize("some", [SMALL, ODD])
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_values_multiply_as_polynomials_do(some: Ring, level: int) -> None:
    rng = np.random.default_rng(level)
    one, other = rng.integers(-(2**40), 2**40, (2, some.degree))
    values = np.empty((2, level, some.degree))
    for index, each in enumerate((one, other)):
        values[index] = [[int(number) % prime for number in each] for prime in some.primes[:level]]
    some.to_values(values)
    products = [
        [int(x) * int(y) % prime for x, y in zip(*rows, strict=True)]
        for prime, *rows in zip(some.primes[:level], *values, strict=True)
    ]
    back = np.array([products], float)
    some.to_coefficients(back)
    exact = multiplied(one, other)
    for prime, row in zip(some.primes[:level], back[0], strict=True):
        assert row.tolist() == [int(number) % prime for number in exact]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 3), st.lists(st.sampled_from(["low", "half", "high"]), min_size=1))
def test_worst_cases_go_there_and_back(prime: int, kinds: list[str]) -> None:
    """Doubles stay exact where every sum is as great as it gets."""
    p = ring.PRIMES[prime]
    numbers = {"low": 0, "half": p // 2, "high": p - 1}
    words = np.empty((1, 4, MIDDLE.degree))
    words[:] = np.resize([float(numbers[kind]) for kind in kinds], MIDDLE.degree)
    words = np.minimum(words, np.array(ring.PRIMES, float)[:, np.newaxis] - 1)
    there = words.copy()
    MIDDLE.to_values(there)
    assert (there >= 0).all()
    assert (there < np.array(ring.PRIMES)[:, np.newaxis]).all()
    assert (there == np.rint(there)).all()
    MIDDLE.to_coefficients(there)
    assert np.array_equal(there, words)


@pytest.mark.parametrize("some", [SMALL, ODD, RING])
def test_products_of_slots(some: Ring) -> None:
    rng = np.random.default_rng(0)
    t = some.plain_modulus
    one, other = rng.integers(0, t, (2, 3, some.degree), np.uint64)
    assert np.array_equal(some.from_slots(some.to_slots(one)), one)
    if some is RING:
        return
    exact = [
        multiplied(x, y) % t for x, y in zip(some.to_slots(one), some.to_slots(other), strict=True)
    ]
    product = some.from_slots(np.array(exact, np.uint64))
    assert np.array_equal(product.astype(object), one.astype(object) * other.astype(object) % t)


def test_a_ring_of_another_kind_has_no_slots() -> None:
    words = np.zeros((1, EVEN.degree), np.uint64)
    for convert in (EVEN.to_slots, EVEN.from_slots):
        with pytest.raises(ConfigError, match="slots need a plaintext modulus"):
            convert(words)


def test_the_door_of_lattices_does_not_load_the_compiler() -> None:
    code = "import privfed.he, sys; print('numba' in sys.modules, 'privfed.he.ring' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_the_ring_needs_neither_seal_nor_torch() -> None:
    code = (
        "import privfed.he.ring, sys; print([m for m in ('tenseal', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
