"""The smooth flood: its bound is proved for every width, and checked against exact distances."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from privfed.errors import CapacityError
from privfed.he.ring import MAX_FLOOD_BITS, floods
from privfed.he.ring.parameters import Ring
from privfed.he.ring.sampling import ERROR_BOUND
from tests.he.ring.integers import SMALL

BLOCKS = 32


def law(width: int) -> NDArray[np.float64]:
    """Of the sum of four uniform numbers below a width."""
    one = np.full(width, 1 / width)
    two = np.convolve(one, one)
    return np.convolve(two, two)


@pytest.mark.parametrize("bits", range(2, 11))
def test_a_shift_by_one_moves_little(bits: int) -> None:
    """M^2 * D^2 for M = 4 to 1024, summed: doubles are exact to far more than what is left."""
    roots = np.sqrt(np.concatenate([[0], law(1 << bits), [0]]))
    found = 4**bits * (np.diff(roots) ** 2).sum()
    assert 0.77 < found < 1 - 1e-6


@pytest.mark.parametrize("bits", range(10, MAX_FLOOD_BITS + 1))
def test_nor_does_it_where_nobody_can_sum(bits: int) -> None:
    """The same from above, in exact integers; the law is symmetric and climbs to 2M - 2.

    M^4 * P(x) is C(x+3, 3) for x < M, and 4 * C(x-M+3, 3) less from there to 2M. A term is
    (P(x) - P(x-1))^2 / (sqrt(P(x)) + sqrt(P(x-1)))^2. For x < M it is

        3/2 * (x+1) * (x+2) / (sqrt(x+3) + sqrt(x))^2 <= 3/2 * (x+1) * (x+2) / (4x+3)
                                                      <= 3/8 * (x+3)

    over M^4. Beyond, a block of x has the difference of its ends at most, and its first P at least.
    """
    width = 1 << bits
    below = Fraction(3, 8) * (width * (width - 1) // 2 + 3 * width)
    beyond = Fraction(0)
    step = width // BLOCKS
    for start in range(width, 2 * width, step):
        most = math.comb(start + step + 2, 2) - 4 * math.comb(start - width + 2, 2)
        least = math.comb(start + 2, 3) - 4 * math.comb(start - width + 2, 3)
        beyond += Fraction(step * most**2, 4 * least)
    assert Fraction(3, 4) < 2 * (below + beyond) / width**2 < 1


def most_distance(shift: int, width: int, answered: int) -> float:
    """The distance of so many independent draws from shifted ones, from above.

    It is the mean of 1 - exp(-L) where L > 0, L the sum of logarithms of likelihoods' ratios: each
    is rounded up to a grid, so that sums are convolutions.
    """
    grid = 1e-3
    here = np.concatenate([law(width), np.zeros(shift)])
    there = np.concatenate([np.zeros(shift), law(width)])
    both = (here > 0) & (there > 0)
    losses = np.ceil(np.log(here[both] / there[both]) / grid).astype(int)
    least = losses.min()
    ratios = np.bincount(losses - least, weights=here[both])
    sums = np.ones(1)
    for _ in range(answered):
        sums = np.convolve(sums, ratios)
    loss = (np.arange(len(sums)) + answered * least) * grid
    apart = 1 - here[both].sum() ** answered  # what only one of both laws can give
    return float(apart + (sums * -np.expm1(-np.maximum(loss, 0))).sum())


@pytest.mark.parametrize(
    ("shift", "bits", "answered"),
    [(1, 4, 1), (1, 4, 4), (1, 5, 16), (2, 6, 1), (2, 6, 16), (3, 6, 4), (5, 6, 2), (1, 6, 32)],
)
def test_the_bound_is_above_exact_distances(shift: int, bits: int, answered: int) -> None:
    bound = floods.smooth_distance(shift, bits, answered)
    exact = most_distance(shift, 1 << bits, answered)
    assert exact <= bound
    assert exact > bound / 3  # and no idle one


def test_distances_of_one_answer_by_the_definition() -> None:
    for bits in (2, 3, 5):
        padded = np.concatenate([law(1 << bits), np.zeros(40)])
        for shift in range(1, 40):
            exact = abs(padded - np.roll(padded, shift)).sum() / 2
            assert exact <= floods.smooth_distance(shift, bits, 1)


def test_one_uniform_number_would_not_do() -> None:
    """A plan's answers at the width that it takes: added up, edges tell them apart."""
    answered, noise, distance = 1 << 21, 1 << 15, Fraction(1, 1 << 41)
    bits = floods.smooth_flood_bits(noise, answered, distance)
    assert floods.smooth_distance(noise, bits, answered) <= distance
    assert floods.smooth_distance(noise, bits - 1, answered) > distance
    assert Fraction(answered * noise, 4 << bits) > 100 * distance


def binomial_sums(factors: list[int]) -> NDArray[np.float64]:
    """The law of a sum of centred binomial errors times factors, from the least on."""
    error = np.array([math.comb(2 * ERROR_BOUND, k) for k in range(2 * ERROR_BOUND + 1)], float)
    error /= error.sum()
    total = np.ones(1)
    for factor in factors:
        spread = np.zeros(2 * ERROR_BOUND * factor + 1)
        spread[::factor] = error
        total = np.convolve(total, spread)
    return total


@pytest.mark.parametrize("factors", [[1], [14], [1] * 20, [4, 5, 14, 14, 7], [14] + [1] * 30])
def test_tails_of_drawn_errors(factors: list[int]) -> None:
    """Exact tails, by convolution, are below the bound that `drawn_noise` turns round."""
    found = binomial_sums(factors)
    middle, squares = len(found) // 2, sum(factor**2 for factor in factors)
    for x in range(1, middle, max(1, middle // 50)):
        tail = 2 * found[middle + x + 1 :].sum()
        assert tail <= 2 * math.exp(-(x**2) / (ERROR_BOUND * squares))


def test_noise_covers_the_key_s_own_and_the_carry() -> None:
    squares, answered, distance = 10_000, 1 << 21, Fraction(1, 1 << 41)
    for ring in (SMALL, Ring(4096, SMALL.primes[:2], 1 << 24)):
        found = floods.drawn_noise(squares, answered, distance, ring=ring)
        total = squares + 2 * ring.degree + 1
        exact = math.sqrt(ERROR_BOUND * total * math.log(2 * answered / distance)) + 1
        assert exact <= found <= 1.02 * exact + 2


def test_a_flood_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(CapacityError, match="answer fewer"):
        floods.smooth_flood_bits(1 << 80, 1 << 40, Fraction(1, 1 << 64))
