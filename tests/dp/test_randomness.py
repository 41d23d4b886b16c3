"""The key stream against its RFC, coins and noise against their distributions, and no copies.

The statistical tests run on fixed keys, so they fail always or never; the chance that a sound
source had failed on the key chosen is stated at each.
"""

from __future__ import annotations

import copy
import math
import os
import pickle
import secrets
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from privfed.dp import (
    SecretRandomness,
    SeededRandomness,
    discrete_gaussian,
    dominating_variance,
    randomness,
)
from privfed.dp.discrete import WordSource
from privfed.dp.randomness import noise_grid
from privfed.errors import ConfigError, ReplayError

# RFC 8439, appendix A.1, test vectors 1 and 2: key and nonce zero, blocks 0 and 1.
RFC_8439_A1 = bytes.fromhex(
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
    "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
)


@pytest.fixture
def zero_key(monkeypatch: pytest.MonkeyPatch) -> SecretRandomness:
    monkeypatch.setattr(secrets, "token_bytes", bytes)
    return SecretRandomness()


def test_the_stream_is_that_of_rfc_8439(zero_key: SecretRandomness) -> None:
    stream = b"".join(zero_key.words(count).tobytes() for count in (1, 3, 8, 4))
    assert stream == RFC_8439_A1


def test_a_used_up_key_gives_the_next(
    zero_key: SecretRandomness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ChaCha20 counts 2^32 blocks; the words that become a key are given to nobody."""
    monkeypatch.setattr(randomness, "_WORDS_A_KEY", 6)
    source = SecretRandomness()  # the key is zero again
    first, second = source.words(6).tobytes(), source.words(2).tobytes()
    assert first == RFC_8439_A1[:48]
    monkeypatch.setattr(secrets, "token_bytes", lambda size: RFC_8439_A1[48:80])
    assert second == SecretRandomness().words(2).tobytes()


def test_coins_are_the_stream_below_a_threshold(zero_key: SecretRandomness) -> None:
    words = np.frombuffer(RFC_8439_A1, np.uint64) * 2.0**-64
    assert zero_key.coins(0.4, 16).tolist() == (words < 0.4).tolist()


def test_the_key_comes_from_the_operating_system(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def recorded(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    monkeypatch.setattr(secrets, "token_bytes", recorded)
    SecretRandomness()
    assert asked == [32]


def test_two_instances_never_agree() -> None:
    """Not even in one of 300 words: by chance once in 10^14."""
    streams = [SecretRandomness().words(100) for _ in range(3)]
    assert len(np.unique(np.concatenate(streams))) == 300
    source = SecretRandomness()
    one, other = (source.words(100) for _ in range(2))
    assert not np.any(one == other)  # nor does one instance repeat itself


def test_a_seed_repeats_and_says_so() -> None:
    assert np.array_equal(SeededRandomness(1, 2).words(50), SeededRandomness(1, 2).words(50))
    assert not np.any(SeededRandomness(1, 2).words(50) == SeededRandomness(12).words(50))
    assert SeededRandomness(1).simulation
    assert not SecretRandomness().simulation


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_secret_randomness_is_never_copied(duplicate: object) -> None:
    with pytest.raises(TypeError, match="make a new one"):
        duplicate(SecretRandomness())  # type: ignore[operator]


def test_nothing_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    key = bytes(range(64, 96))
    monkeypatch.setattr(secrets, "token_bytes", lambda size: key)
    source = SecretRandomness()
    assert repr(source) == str(source) == f"{source}" == "SecretRandomness()"
    assert not [value for value in vars(source).values() if value == key]


def test_a_forked_process_cannot_draw_the_same() -> None:
    source = SecretRandomness()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            source.noisy(np.zeros(3), 1.0)
        except ReplayError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        assert b"forked" in pipe.read()
    assert source.noisy(np.zeros(3), 1.0).shape == (3,)


def spread(noise: NDArray[np.float64], deviation: float) -> NDArray[np.float64]:
    """Each value's place in the normal law, spread over its cell as a Gaussian has it."""
    half = noise_grid(deviation) / 2
    low, high = stats.norm.cdf([noise - half, noise + half], scale=deviation)
    places: NDArray[np.float64] = low + np.random.default_rng(0).random(noise.shape) * (high - low)
    return places


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_gaussian(seed: int) -> None:
    """Kolmogorov and Smirnov on 10^5 values; false alarm 0.001 a seed."""
    noise = SeededRandomness(seed).noisy(np.zeros((100, 1000)), 2.5)
    assert noise.shape == (100, 1000)
    assert noise.dtype == np.float64
    assert stats.kstest(spread(noise.ravel(), 2.5), "uniform").pvalue > 0.001


def test_noise_is_as_wide_as_asked() -> None:
    """χ² interval of the variance of 10^6 values, 99.9 %: within 0.47 %."""
    noise = SeededRandomness(4).noisy(np.zeros(10**6), 3.0)
    low, high = stats.chi2.ppf([0.0005, 0.9995], 10**6 - 1)
    assert low <= noise.var(ddof=1) * (10**6 - 1) / 9 <= high
    assert abs(noise.mean()) < 3.3 * 3.0 / 1000


def test_noise_of_different_values_is_independent() -> None:
    """No correlation of values or squares at any distance tried, 0.001 each."""
    n = 10**5
    noise = SeededRandomness(5).noisy(np.zeros(n), 1.0)
    for distance in (1, 2, n // 4, n // 2):
        for values in (noise, noise**2):
            assert stats.pearsonr(values[:-distance], values[distance:]).pvalue > 0.001


@pytest.mark.parametrize("deviation", [1e-280, 0.7, 1.0, 1.5, math.nextafter(2, 0), 3e6, 1e280])
def test_a_released_value_is_a_draw_of_the_exact_sampler(
    deviation: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Around the value itself, with r² more variance than asked: what the proof is about."""
    asked: list[tuple[NDArray[np.float64], float]] = []

    def recorded(centres: NDArray[np.float64], sigma: float, source: WordSource) -> Any:
        asked.append((centres, sigma))
        return discrete_gaussian(centres, sigma, source)

    monkeypatch.setattr(randomness, "discrete_gaussian", recorded)
    values = np.random.default_rng(1).normal(0, 100 * deviation, 50)
    released = SeededRandomness(12).noisy(values, deviation)
    ((centres, sigma),) = asked
    step = Fraction(noise_grid(deviation))
    assert [Fraction(x) * step for x in centres.tolist()] == [Fraction(x) for x in values.tolist()]
    wanted = (Fraction(deviation) / step) ** 2 + 4
    assert wanted <= Fraction(sigma) ** 2 <= wanted * (1 + Fraction(1, 10**13))
    assert dominating_variance([sigma**2]) >= (deviation / float(step)) ** 2
    integers = discrete_gaussian(centres, sigma, SeededRandomness(12))
    assert [Fraction(x) for x in released.tolist()] == [n * step for n in integers.tolist()]


@pytest.mark.parametrize("deviation", [1e-9, 1.0, 15.99, 3e6])
def test_released_values_lie_on_a_grid_that_tells_nothing(deviation: float) -> None:
    """Whatever is below, all multiples of one power of two near it come out, and nothing else."""
    grid = noise_grid(deviation)
    assert deviation / 2048 < grid <= deviation / 1024
    assert math.frexp(grid)[0] == 0.5
    reached = []
    for seed, below in enumerate((0.0, deviation / 3, math.pi * deviation, -1e6 * deviation)):
        steps = SeededRandomness(seed).noisy(np.full(30_000, below), deviation) / grid
        assert np.array_equal(steps, np.rint(steps))
        # Within an eighth of a deviation each step has 4 draws or more; in cosets of 32, 120.
        near = steps - round(below / grid)
        reached.append(set(near[np.abs(near) <= 128] % 32))
    assert all(each == set(range(32)) for each in reached)


@pytest.mark.parametrize("below", [0.0, 0.49, 1234.5678])
def test_each_cell_is_as_likely_as_a_gaussian_makes_it(below: float) -> None:
    """χ² of 10^6 values against the normal law's cells, rare ones put together; 0.001 each."""
    deviation, n = 1.3, 10**6
    grid = noise_grid(deviation)
    steps = SeededRandomness(16).noisy(np.full(n, below), deviation) / grid
    edges = 64 * np.arange(-72, 73) - 0.5 + round(below / grid)
    chances = np.diff(stats.norm.cdf(edges * grid, below, deviation), prepend=0, append=1)
    counts = np.histogram(steps, [-np.inf, *edges, np.inf])[0]
    assert min(chances) * n > 50
    assert stats.chisquare(counts, chances * n).pvalue > 0.001


@pytest.mark.parametrize("deviation", [0.0, -1.0, math.nan, math.inf])
def test_nothing_is_released_without_noise(deviation: float) -> None:
    with pytest.raises(ConfigError, match="a standard deviation above 0"):
        SeededRandomness(0).noisy(np.zeros(3), deviation)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3, 4)])
def test_noisy_values_keep_their_shape(shape: tuple[int, ...]) -> None:
    values = np.zeros(shape)
    noisy = SeededRandomness(6).noisy(values, 1.0)
    assert noisy.shape == shape
    assert not values.any()  # and what was given is left as it was


def test_values_that_no_noise_reaches_are_refused() -> None:
    for value in (math.nan, math.inf, 2.0**41):
        with pytest.raises(ConfigError, match="check the values before the noise"):
            SeededRandomness(0).noisy(np.array([0.0, value]), 1.0)


@pytest.mark.parametrize("probability", [0.001, 64 / 324, 0.5, 0.999])
def test_coins_are_fair_to_their_probability(probability: float) -> None:
    """Exact binomial test on 10^6 coins; false alarm 0.001 each."""
    heads = int(SeededRandomness(8).coins(probability, 10**6).sum())
    assert stats.binomtest(heads, 10**6, probability).pvalue > 0.001


def test_coins_do_not_lean_on_each_other() -> None:
    """Runs of a fair coin, normal approximation; false alarm 0.001."""
    coins = SeededRandomness(9).coins(0.5, 10**6)
    runs = 1 + np.count_nonzero(coins[1:] != coins[:-1])
    assert abs(runs - 500_000) < 3.3 * 500


def test_certain_coins() -> None:
    source = SeededRandomness(10)
    assert source.coins(1.0, 1000).all()
    assert not source.coins(0.0, 1000).any()
    assert source.coins(1.0, 0).shape == (0,)
    assert source.coins(0.5, 0).shape == (0,)
