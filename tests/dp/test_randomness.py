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

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from scipy import stats

from privfed.dp import SecretRandomness, SeededRandomness, randomness
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
    one, other = (source.gaussian(1.0, (100,)) for source in (SecretRandomness(),) * 2)
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
            source.gaussian(1.0, (3,))
        except ReplayError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        assert b"forked" in pipe.read()
    assert source.gaussian(1.0, (3,)).shape == (3,)


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_gaussian(seed: int) -> None:
    """Kolmogorov and Smirnov on 10^5 values; false alarm 0.001 a seed."""
    noise = SeededRandomness(seed).gaussian(2.5, (100, 1000))
    assert noise.shape == (100, 1000)
    assert noise.dtype == np.float64
    assert stats.kstest(noise.ravel() / 2.5, "norm").pvalue > 0.001


def test_noise_is_as_wide_as_asked() -> None:
    """χ² interval of the variance of 10^6 values, 99.9 %: within 0.47 %."""
    noise = SeededRandomness(4).gaussian(3.0, (10**6,))
    low, high = stats.chi2.ppf([0.0005, 0.9995], 10**6 - 1)
    assert low <= noise.var(ddof=1) * (10**6 - 1) / 9 <= high
    assert abs(noise.mean()) < 3.3 * 3.0 / 1000


def test_noise_of_different_values_is_independent() -> None:
    """Values share words of the stream with nobody: no correlation at any distance, 0.001 each.

    Values i and i + n/2 are cosine and sine of one angle, times one radius: independent by Box and
    Muller's theorem alone. A wrong angle or radius would show there, in the squares at least.
    """
    n = 10**5
    noise = SeededRandomness(5).gaussian(1.0, (n,))
    for distance in (1, 2, n // 4, n // 2):
        for values in (noise, noise**2):
            assert stats.pearsonr(values[:-distance], values[distance:]).pvalue > 0.001


def test_partners_are_independent() -> None:
    """Cosine and sine of one pair in 8 x 8 equally likely cells: χ², false alarm 0.001."""
    n = 10**6
    cosines, sines = stats.norm.cdf(SeededRandomness(6).gaussian(1.0, (2 * n,)).reshape(2, n))
    counts, _, _ = np.histogram2d(cosines, sines, bins=8, range=[[0, 1], [0, 1]])
    assert stats.chisquare(counts.ravel()).pvalue > 0.001


NEAR_ONE = [2**64 - 1, 2**64 - 2**12, 2**63]  # radii near 0
TINY = list(range(0, 60, 2))  # the largest radii
TURNS = [0, 1, 2**61, 2**62 - 1, 2**62, 2**62 + 1, 2**63 - 1, 2**63, 3 * 2**62, 2**64 - 1]


@pytest.mark.parametrize("radii", [None, NEAR_ONE, TINY])
@pytest.mark.parametrize("angles", [None, TURNS])
def test_normals_are_as_near_to_real_ones_as_proved(
    radii: list[int] | None, angles: list[int] | None
) -> None:
    """(6) in docs/privacy.md at 120 digits, with real uniforms from the ends of each interval.

    This is what holds log, cos and sin of this machine to the 4 units that the proof takes.
    """
    words = SeededRandomness(12).words(600).copy()
    for half, chosen in ((words[:300], radii), (words[300:], angles)):
        if chosen is not None:
            half[:] = np.resize(np.array(chosen, np.uint64), 300)
    computed = randomness._box_muller(words, 1.0).reshape(2, 300)  # noqa: SLF001  (its values on given words)
    u, tiny = 2.0**-53, mpmath.mpf(2) ** -80
    with mpmath.workdps(120):
        for i in range(300):
            whole = int(words[i] >> np.uint64(1))
            turn = int(words[300 + i].view(np.int64))
            for end in (tiny, 1):
                v = (whole + end) / mpmath.mpf(2) ** 63
                angle = mpmath.pi * (turn + 1 - end) / mpmath.mpf(2) ** 63
                radius = mpmath.sqrt(-2 * mpmath.log(v))
                if radius == 0:  # v = 1: the computed one is below 2^-26
                    continue
                bound = (4.1 * u + 2.1 * mpmath.mpf(2) ** -63 / v) / radius + 32 * u * radius
                for real, found in zip(
                    (mpmath.cos(angle), mpmath.sin(angle)), computed[:, i], strict=True
                ):
                    assert abs(radius * real - mpmath.mpf(float(found))) <= bound


@pytest.mark.parametrize("deviation", [1e-9, 1.0, 15.99, 3e6])
def test_released_values_lie_on_a_grid_that_tells_nothing(deviation: float) -> None:
    """Whatever is below, all multiples of one power of two near it come out, and nothing else."""
    grid = noise_grid(deviation)
    assert deviation / 32 < grid <= deviation / 16
    assert math.frexp(grid)[0] == 0.5
    reached = []
    for seed, below in enumerate((0.0, deviation / 3, math.pi * deviation, -1e6 * deviation)):
        steps = SeededRandomness(seed).noisy(np.full(30_000, below), deviation) / grid
        assert np.array_equal(steps, np.rint(steps))
        near = steps - round(below / grid)
        reached.append(set(near[np.abs(near) <= 32]))  # two deviations: each cell has 40 draws
    assert all(each == set(range(-32, 33)) for each in reached)


@pytest.mark.parametrize("below", [0.0, 0.49, 1234.5678])
def test_each_cell_is_as_likely_as_a_gaussian_makes_it(below: float) -> None:
    """χ² of 10^6 values against the normal law's cells, rare ones put together; 0.001 each."""
    deviation, n = 1.3, 10**6
    grid = noise_grid(deviation)
    steps = SeededRandomness(16).noisy(np.full(n, below), deviation) / grid
    edges = np.arange(-50, 52) - 0.5 + round(below / grid)
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


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3, 4)])
def test_noise_of_any_shape(shape: tuple[int, ...]) -> None:
    assert SeededRandomness(6).gaussian(1.0, shape).shape == shape


def test_no_width_means_no_noise() -> None:
    assert not SeededRandomness(7).gaussian(0.0, (10,)).any()


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
