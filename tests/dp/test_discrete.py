"""The discrete Gaussian against its exact law, and its intervals against exact arithmetic.

The statistical tests run on fixed keys, so they fail always or never; the chance that a sound
sampler had failed on the key chosen is 10^-6 at each, unless it says otherwise. All run twice, with
numpy's lanes and with the compiled ones.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Generator
from fractions import Fraction

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from privfed.dp import SecretRandomness, SeededRandomness, discrete, proposals
from privfed.dp.discrete import discrete_gaussian
from privfed.errors import ConfigError

FALSE_ALARM = 1e-6
ROUNDING = 2.0**-53


@pytest.fixture(autouse=True, scope="module", params=[False, True], ids=["numpy", "compiled"])
def lanes(request: pytest.FixtureRequest) -> Generator[None]:
    if request.param:
        from privfed.dp import proposals_compiled

        assert proposals_compiled.__name__ in sys.modules  # so that few draws are worth it, too
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discrete, "_compilable", lambda: request.param)
        assert discrete._lanes(1).__name__.endswith("_compiled") == request.param
        yield


def pmf(centre: float, sigma: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Integers within 9 σ of the centre and their probabilities; less than 10^-17 lies outside."""
    whole = round(centre)
    offsets = np.arange(-math.ceil(9 * sigma), math.ceil(9 * sigma) + 1)
    weights = np.exp(-((offsets - (centre - whole)) ** 2) / (2 * sigma**2))
    return whole + offsets, weights / math.fsum(weights)


def p_value(
    drawn: NDArray[np.int64], support: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> float:
    """χ² test of the drawn integers; bins that expect fewer than 20 are joined to one a tail."""
    expected = probabilities * drawn.size
    middle = np.flatnonzero(expected >= 20)
    low, high = int(middle[0]), int(middle[-1])
    edges = np.concatenate([[-np.inf], support[low:high] + 0.5, [np.inf]])
    observed = np.histogram(drawn, edges)[0]
    joined = expected[low : high + 1].copy()
    joined[0] += expected[:low].sum()
    joined[-1] += expected[high + 1 :].sum()
    return float(stats.chisquare(observed, joined * (drawn.size / joined.sum())).pvalue)


@pytest.mark.parametrize("sigma", [4.0, 5.7, 31.0])
@pytest.mark.parametrize(
    "centre", [0.0, 0.5, -0.5, 0.25, -1 / 3, 2.0**40 + 0.5, -(2.0**50), 1e-300, 0.5 - 2.0**-54]
)
def test_the_law_is_the_discrete_gaussian(sigma: float, centre: float) -> None:
    drawn = discrete_gaussian(np.full(10**5, centre), sigma, SeededRandomness(1))
    assert p_value(drawn, *pmf(centre, sigma)) > FALSE_ALARM


@pytest.mark.parametrize(
    ("centre", "sigma"), [(0.0, 4.1), (0.15, 4.0), (-0.15, 4.0), (0.5, 4.0)], ids=str
)
def test_the_check_of_the_law_sees_small_faults(centre: float, sigma: float) -> None:
    """Noise wider by 2.5 %, a centre off by 0.15, a centre that was rounded first."""
    drawn = discrete_gaussian(np.full(10**5, centre), sigma, SeededRandomness(1))
    assert p_value(drawn, *pmf(0.0, 4.0)) < FALSE_ALARM


@pytest.mark.parametrize("sigma", [2.0**20, 2.0**32])
def test_wide_noise_has_the_normal_law_in_wide_bins(sigma: float) -> None:
    """Bins of σ/8; on this scale the two laws differ by less than 10^-6 of a standard error."""
    centre = 0.5
    drawn = discrete_gaussian(np.full(10**5, centre), sigma, SeededRandomness(2))
    bins = np.arange(-80, 80)
    edges = np.append(bins, 80) / 8
    upper = np.floor(edges * sigma)  # the last integer of a bin
    probabilities = np.diff(stats.norm.cdf((upper + 0.5 - centre) / sigma))
    assert p_value(np.searchsorted(upper, drawn) - 81, bins, probabilities) > FALSE_ALARM


@pytest.mark.parametrize("sigma", [4.0, 9.5, 2.0**32])
def test_mean_and_variance(sigma: float) -> None:
    """Central limit theorem at 5 standard errors, two-sided: 6·10^-7 each."""
    n = 4 * 10**5
    centres = np.random.default_rng(3).uniform(-(2.0**45), 2.0**45, n)
    noise = discrete_gaussian(centres, sigma, SeededRandomness(3)) - centres
    assert abs(noise.mean()) < 5 * sigma / math.sqrt(n)
    assert abs(noise.var() - sigma**2) < 5 * sigma**2 * math.sqrt(2 / n)


def test_the_sum_of_shares_is_the_convolution() -> None:
    parties = [(0.3, 4.0), (-7.5, 5.5), (1000.125, 4.25)]
    source = SeededRandomness(4)
    total = sum(discrete_gaussian(np.full(10**5, c), s, source) for c, s in parties)
    support, probabilities = pmf(*parties[0])
    for party in parties[1:]:
        further, weights = pmf(*party)
        probabilities = np.convolve(probabilities, weights)
        support = support[0] + further[0] + np.arange(probabilities.size)
    assert isinstance(total, np.ndarray)
    assert p_value(total, support, probabilities) > FALSE_ALARM


def test_coordinates_are_independent() -> None:
    """No correlation of values or squares at any distance tried, 10^-6 each."""
    noise = discrete_gaussian(np.full(10**5, 0.25), 4.0, SeededRandomness(5)) - 0.25
    for distance in (1, 2, 50_000):
        for values in (noise, noise**2):
            assert stats.pearsonr(values[:-distance], values[distance:]).pvalue > FALSE_ALARM


def test_each_coordinate_has_its_own_centre() -> None:
    centres = np.random.default_rng(6).uniform(-100, 100, (200, 1000))
    noise = discrete_gaussian(centres, 4.0, SeededRandomness(6)) - np.round(centres)
    for low in (-0.5, -0.25, 0.0, 0.25):
        inside = (centres - np.round(centres) >= low) & (centres - np.round(centres) < low + 0.25)
        count = np.count_nonzero(inside)
        assert abs(noise[inside].mean() - (low + 0.125)) < 5 * 4.01 / math.sqrt(count)


# --- Exactness: the fast decisions are the exact ones -------------------------------------------


def only_exact_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discrete, "_SLACK", math.inf)


@pytest.mark.parametrize("sigma", [4.0, 1000.3, 2.0**32])
def test_fast_and_exact_decisions_are_the_same(
    monkeypatch: pytest.MonkeyPatch, sigma: float
) -> None:
    """On one stream, which the exact decisions read no further than the fast ones do."""
    centres = np.random.default_rng(7).normal(0, sigma, 1000)
    fast = discrete_gaussian(centres, sigma, SeededRandomness(7))
    only_exact_decisions(monkeypatch)
    assert np.array_equal(discrete_gaussian(centres, sigma, SeededRandomness(7)), fast)


@pytest.mark.parametrize("digits", [2, 5])
def test_the_law_holds_where_digits_run_out(monkeypatch: pytest.MonkeyPatch, digits: int) -> None:
    """A uniform of so few digits at first leaves most decisions to digits drawn afterwards."""
    monkeypatch.setattr(discrete, "_DIGITS", digits)
    drawn = discrete_gaussian(np.full(5000, 0.3), 4.0, SeededRandomness(8))
    assert p_value(drawn, *pmf(0.3, 4.0)) > FALSE_ALARM


class Words(SeededRandomness):
    """A source that gives the words it was made with, and then no more."""

    def __init__(self, *words: int) -> None:
        super().__init__(0)
        self.left = list(words)

    def words(self, count: int) -> NDArray[np.uint64]:
        taken, self.left = self.left[:count], self.left[count:]
        assert len(taken) == count
        return np.array(taken, dtype=np.uint64)

    def coins(self, probability: float, count: int) -> NDArray[np.bool_]:
        raise NotImplementedError


@pytest.mark.parametrize(("sigma", "least"), [(4.0, 1), (4.0, 9), (77.7, 100), (2.0**32, 2**31)])
@pytest.mark.parametrize("step", [-1, 1])
def test_a_draw_on_the_brink_reads_on(sigma: float, least: int, step: int) -> None:
    """u starts with all 127 or 191 digits of e^(−least/σ): its next digits decide |y|."""
    with mpmath.workprec(400):
        brink = int(mpmath.exp(-mpmath.mpf(least) / sigma) * mpmath.mpf(2) ** 191)
    first, second, third = brink >> 128, brink >> 64 & (2**64 - 1), brink & (2**64 - 1)
    certain = 2 ** (discrete._DIGITS - 10)  # E₂ = 10 ln 2 > γ
    source = Words(2 * first + 1, 2 * certain, second, third + step)
    drawn = discrete_gaussian(np.zeros(1), sigma, source)
    assert drawn[0] == (least if step == -1 else least - 1)  # a smaller u is a larger E
    assert not source.left


@pytest.mark.parametrize("step", [-1, 1])
def test_an_acceptance_on_the_brink_reads_on(step: int) -> None:
    """With u₂ = e^(−γ) to 127 digits: y = 3, σ = 4, f = 1/4, so γ = (11/16 − 1)²/2."""
    with mpmath.workprec(400):
        brink = int(mpmath.exp(-mpmath.mpf(25) / 512) * mpmath.mpf(2) ** 127)
        three = int(mpmath.exp(-mpmath.mpf(7) / 8) * mpmath.mpf(2) ** 63)  # E₁ = 3.5/σ
        four = int(mpmath.exp(-mpmath.mpf(9) / 8) * mpmath.mpf(2) ** 63)
    words = [2 * three + 1, 2 * (brink >> 64), (brink & (2**64 - 1)) + step]
    certain = 2 ** (discrete._DIGITS - 10)
    source = Words(*words, 2 * four + 1, 2 * certain)  # the second pair serves a rejection
    assert discrete_gaussian(np.array([0.25]), 4.0, source)[0] == (3 if step == -1 else 4)


def edge_words() -> NDArray[np.uint64]:
    powers = [2**k for k in range(64)]
    edges = [w for p in powers for w in (p - 1, p, p + 1, 3 * p // 2, round(p * math.sqrt(2)))]
    random = SeededRandomness(9).words(2000)
    small = random[:500] >> np.arange(500, dtype=np.uint64) % np.uint64(64)
    inside = np.array([w for w in edges if w < 2**64] + [2**64 - 1], dtype=np.uint64)
    return np.concatenate([inside, random, small])


def test_the_interval_holds_the_exponential() -> None:
    """Both ends of what u may still become lie inside, and rounding is as small as proved."""
    words = edge_words()
    value, error = proposals.exponential(words, discrete._DIGITS, discrete._SLACK)
    with mpmath.workprec(200):
        for word, mid, radius in zip(words.tolist(), value.tolist(), error.tolist(), strict=True):
            digits = word >> 1
            least = -mpmath.log(mpmath.mpf(digits + 1) / 2**63)
            assert mid - radius < least
            if digits == 0:
                assert radius == math.inf
                continue
            most = -mpmath.log(mpmath.mpf(digits) / 2**63)
            assert most < mid + radius
            assert abs(most - mid) < 110 * ROUNDING


def test_the_exact_interval_holds_the_exponential() -> None:
    """And is no wider than the digits make it, up to 2^-100."""
    for word in edge_words()[::3]:
        digits = int(word) >> 1
        if digits < 2:
            continue
        ends: list[Fraction] = []
        discrete._decide(word, Words(), lambda e, ends=ends: ends.append(e) or 0)  # type: ignore[misc]
        with mpmath.workprec(300):
            least = -mpmath.log(mpmath.mpf(digits + 1) / 2**63)
            most = -mpmath.log(mpmath.mpf(digits) / 2**63)
            low, high = (mpmath.mpf(e.numerator) / e.denominator for e in ends[:2])
            assert least - mpmath.mpf(2) ** -100 < low <= least
            assert most <= high < most + mpmath.mpf(2) ** -100


fractions = st.one_of(
    st.floats(-0.5, 0.5), st.sampled_from([0.5, -0.5, 0.0, 5e-324, 0.5 - 2.0**-54])
)
sigmas = st.one_of(st.floats(4, 2.0**32), st.floats(4, 100))


@given(magnitude=st.floats(0, 20), fraction=fractions, sigma=sigmas)
def test_the_exponent_is_rounded_as_little_as_proved(
    magnitude: float, fraction: float, sigma: float
) -> None:
    whole = float(math.floor(magnitude * sigma))
    rounded = proposals.exponent(np.array([whole]), np.array([fraction]), np.float64(sigma))[0]
    exact = proposals.exponent(Fraction(whole), Fraction(fraction), Fraction(sigma))
    g = (whole - fraction) / sigma - 1
    assert exact >= 0
    assert abs(Fraction(float(rounded)) - exact) <= Fraction((6 * g * g + 2) * ROUNDING)


@given(y=st.integers(-1000, 1000), fraction=fractions, sigma=sigmas)
def test_proposal_times_acceptance_is_the_gaussian(y: int, fraction: float, sigma: float) -> None:
    """In exact logarithms: −|y|/σ − γ + (y − f)²/(2σ²) is the same for every y."""
    f, s = Fraction(fraction), Fraction(sigma)
    for sign in {1, -1} if y == 0 else {1 if y > 0 else -1}:
        exponent = proposals.exponent(Fraction(abs(y)), sign * f, s)
        gaussian = (y - sign * sign * f) ** 2 / (2 * s * s)
        if sign * y >= 0 and (y, sign) != (0, -1):
            assert -abs(y) / s - exponent + gaussian == -Fraction(1, 2) - abs(f) / s


# --- The interface ------------------------------------------------------------------------------


@given(
    st.lists(st.integers(-(2**12), 2**12), max_size=20),
    st.integers(-(2**40), 2**40).map(lambda half: 2 * half),
    st.floats(4, 1000),
)
def test_an_even_shift_shifts_the_draws(parts: list[int], shift: int, sigma: float) -> None:
    """Even, for halves round to the even neighbour, and the stream is read from there."""
    centres = np.array(parts, dtype=np.float64) / 256
    plain = discrete_gaussian(centres, sigma, SeededRandomness(10))
    shifted = discrete_gaussian(centres + shift, sigma, SeededRandomness(10))
    assert plain.dtype == np.int64
    assert np.array_equal(shifted, plain + shift)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3, 4)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    drawn = discrete_gaussian(np.zeros(shape), 4.0, SeededRandomness(11))
    assert drawn.shape == shape
    assert drawn.dtype == np.int64


def test_the_operating_system_serves_it() -> None:
    """Two sources never agree on 200 integers: by chance once in 10^200."""
    one, other = (discrete_gaussian(np.zeros(200), 4.0, SecretRandomness()) for _ in range(2))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("centre", [math.nan, math.inf, -math.inf, 2.0**50 + 1, -1e300])
def test_centres_out_of_range_are_refused(centre: float) -> None:
    with pytest.raises(ConfigError, match="check the values before the noise"):
        discrete_gaussian(np.array([0.0, centre]), 4.0, SeededRandomness(12))


def test_the_refusal_tells_no_centre() -> None:
    with pytest.raises(ConfigError) as refusal:
        discrete_gaussian(np.array([0.0, 1.23456789e299]), 4.0, SeededRandomness(12))
    assert "1.23" not in str(refusal.value)


@pytest.mark.parametrize(
    ("sigma", "remedy"),
    [
        (3.999, "finer"),
        (0.0, "finer"),
        (-5.0, "finer"),
        (math.nan, "finer"),
        (2.0**32 * 1.01, "coarser"),
        (math.inf, "coarser"),
    ],
)
def test_widths_out_of_range_are_refused(sigma: float, remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"make the grid {remedy}"):
        discrete_gaussian(np.zeros(1), sigma, SeededRandomness(12))
