"""What is drawn has its distribution: each check errs on good draws less than once in 10^9."""

import math

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from privfed.he.ring import PLAIN_MODULUS, PRIMES, sampling, uniform_plain
from privfed.he.ring.parameters import RING
from tests.he.ring.integers import SMALL

FALSE_ALARM = 1e-9


def most_chi_square(freedom: int) -> float:
    """What chi square exceeds less than once in 1e9 (Laurent and Massart 2000, lemma 1)."""
    x = -math.log(FALSE_ALARM)
    return freedom + 2 * math.sqrt(freedom * x) + 2 * x


def chi_square(counts: np.ndarray, shares: np.ndarray) -> float:
    wanted = counts.sum() * shares
    return float(((counts - wanted) ** 2 / wanted).sum())


def test_ternary_numbers_are_uniform_in_every_place() -> None:
    drawn = np.array([sampling.ternary(sampling.fresh(), SMALL) for _ in range(6000)])
    assert set(np.unique(drawn)) == {-1, 0, 1}
    counts = np.array([[(column == each).sum() for each in (-1, 0, 1)] for column in drawn.T])
    shares = np.full(3, 1 / 3)
    total = sum(chi_square(row, shares) for row in counts)
    assert total < most_chi_square(2 * SMALL.degree)
    assert total > 2 * SMALL.degree - 2 * math.sqrt(2 * SMALL.degree * -math.log(FALSE_ALARM))


def test_errors_are_centred_binomial() -> None:
    drawn = sampling.errors(sampling.fresh(), 100, RING.degree).reshape(-1)
    bound = sampling.ERROR_BOUND
    assert np.abs(drawn).max() <= bound
    assert drawn.std() == pytest.approx(math.sqrt(bound / 2), rel=0.01)
    shares = np.array([math.comb(2 * bound, bound + k) / 4**bound for k in range(-11, 12)])
    counts = np.array([(drawn == k).sum() for k in range(-11, 12)])
    rest = len(drawn) - counts.sum()
    counts, shares = np.append(counts, rest), np.append(shares, 1 - shares.sum())
    assert chi_square(counts, shares) < most_chi_square(len(counts) - 1)


def test_residues_are_uniform_to_their_prime() -> None:
    drawn = uniform_plain(100).astype(float) / PLAIN_MODULUS
    assert uniform_plain(100).max() < PLAIN_MODULUS
    counts, _ = np.histogram(drawn, 64, (0, 1))
    assert chi_square(counts, np.full(64, 1 / 64)) < most_chi_square(63)
    for place, prime in enumerate(PRIMES):
        words = sampling.uniform(bytes(32), 20, RING, 4)[:, place]
        counts, _ = np.histogram(words / prime, 64, (0, 1))
        assert words.max() < prime
        assert chi_square(counts, np.full(64, 1 / 64)) < most_chi_square(63)


def reference(seed: bytes, limits: tuple[int, ...], rows: int, degree: int) -> list[list[int]]:
    """What a seed gives by the definition."""
    stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()
    mask = (1 << max(limits).bit_length()) - 1

    def word() -> int:
        return int.from_bytes(stream.update(bytes(8)), "little") & mask

    found = []
    for _ in range(rows):
        row = [word() for _ in range(len(limits) * degree)]
        bounds = [limit for limit in limits for _ in range(degree)]
        while refused := [at for at, number in enumerate(row) if number >= bounds[at]]:
            again = [word() for _ in refused]
            for at, number in zip(refused, again, strict=True):
                row[at] = number
        found.append(row)
    return found


@pytest.mark.parametrize("limits", [PRIMES, (3, 5), (PLAIN_MODULUS,), (2**49 + 1,)])
def test_a_seed_gives_the_same_everywhere(limits: tuple[int, ...]) -> None:
    seed = bytes(range(32))
    out = np.empty((3, len(limits), 64))
    sampling.fill_below(sampling.Stream(seed), limits, out)
    assert out.reshape(3, -1).tolist() == reference(seed, limits, 3, 64)


@pytest.mark.parametrize("limit", [3, 5, 6])
def test_numbers_drawn_again_stay_uniform(limit: int) -> None:
    """Where a quarter or more of the words is refused."""
    out = np.empty((1, 1, 2**17))
    sampling.fill_below(sampling.fresh(), (limit,), out)
    counts = np.array([(out == each).sum() for each in range(limit)])
    assert counts.sum() == out.size
    assert chi_square(counts, np.full(limit, 1 / limit)) < most_chi_square(limit - 1)


def test_streams_under_fresh_keys_differ() -> None:
    one, other = np.empty(1000, np.uint8), np.empty(1000, np.uint8)
    stream = sampling.fresh()
    for out in (one, other):
        stream.fill(out)
    assert (one == other).mean() < 0.1
    sampling.fresh().fill(one)
    assert (one == other).mean() < 0.1
