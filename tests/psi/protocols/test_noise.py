"""Noise is drawn from the distribution that it is said to be, and that has the ε and δ it is said.

Each chi-square test fails once in 10^9 runs of a right sampler.
"""

import itertools
import math
import re
import secrets
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from psi import ConfigError, OwnNoise
from psi.protocols import noise as sampler
from psi.protocols.noise import TruncatedLaplace
from tests.places import DOCS

FALSE_ALARM = 1e-9


def exact(noise: TruncatedLaplace) -> list[Decimal]:
    """The chance of each number from -bound to bound, to fifty digits."""
    step = Decimal(noise.epsilon.numerator) / noise.epsilon.denominator / noise.sensitivity
    q = (-step).exp()
    half = [Decimal(1)]
    for _ in range(noise.bound):
        half.append(half[-1] * q)
    whole = 2 * sum(half) - 1
    return [weight / whole for weight in (*half[:0:-1], *half)]


def divergence(chances: list[Decimal], shift: int, epsilon: Fraction) -> Decimal:
    """By how much neighbours' chances differ beyond a factor of exp(ε), in all (hockey stick)."""
    factor = (Decimal(epsilon.numerator) / epsilon.denominator).exp()
    moved = [Decimal(0)] * shift + chances
    return sum(
        (max(one - factor * other, Decimal(0)) for one, other in zip(chances, moved, strict=False)),
        Decimal(0),
    )


@pytest.mark.parametrize(
    ("epsilon", "delta", "sensitivity"),
    [
        (0.1, 1e-9, 1),
        (1, 1e-9, 1),
        (20, 1e-9, 1),
        (0.01, 1e-4, 1),
        (1, 1e-15, 1),
        (1, 1e-9, 2),
        (0.5, 1e-9, 37),
        (20, 1e-6, 100),
        (3, 1e-9, 1000),
    ],
)
def test_the_bound_is_the_least_for_its_delta(
    epsilon: float, delta: float, sensitivity: int
) -> None:
    (noise,) = OwnNoise(epsilon, delta).over([sensitivity])
    with localcontext(prec=50):
        chances, tiny = exact(noise), Decimal(10) ** -40
        for shift in {1, sensitivity // 2, sensitivity} - {0}:  # neighbours, either way: symmetric
            assert divergence(chances, shift, noise.epsilon) <= Decimal(delta) + tiny
        # What remains is the edge, as the module's text says, and one less would be too little.
        edge = sum(chances[:sensitivity])
        assert abs(divergence(chances, sensitivity, noise.epsilon) - edge) < tiny
        if noise.bound > sensitivity:
            less = exact(TruncatedLaplace(noise.epsilon, sensitivity, noise.bound - 1))
            assert divergence(less, sensitivity, noise.epsilon) > Decimal(delta)


def test_two_figures_together_keep_what_is_demanded() -> None:
    epsilon, delta, most = 1.0, 1e-6, 5
    with localcontext(prec=50):
        count, total = (
            np.array([float(one) for one in exact(noise)])
            for noise in OwnNoise(epsilon, delta).over([1, most])
        )
    one, other = (
        np.outer(np.append(count, 0), np.append(total, [0.0] * most)),
        np.outer(np.append(0, count), np.append([0.0] * most, total)),
    )  # an ID with the largest value is there, or is not
    spent = np.maximum(one - math.exp(epsilon) * other, 0).sum()
    assert delta / 10 < spent <= delta


@pytest.mark.parametrize("shares", [1, 2, 3])
def test_shares_add_up(shares: int) -> None:
    parts = OwnNoise(0.1, 1e-7).over([1] * shares)
    assert sum(one.epsilon for one in parts) == Fraction(1, 10)


def drawn(draw: Callable[[], int], count: int) -> Counter[int]:
    return Counter(draw() for _ in range(count))


def check_distribution(found: Counter[int], low: int, chances: NDArray[np.float64]) -> None:
    """Compare draws with the chances of `low`, `low` + 1 …, of which rare ones are put together."""
    counts = np.array([found[low + place] for place in range(len(chances))], float)
    count = sum(found.values())
    assert counts.sum() == count
    common = chances * count >= 10
    expected = np.append(chances[common], max(chances[~common].sum(), 0)) * count
    observed = np.append(counts[common], counts[~common].sum())
    if expected[-1] < 10:
        expected, observed = expected[:-1], observed[:-1]
    _, chance = stats.chisquare(observed, expected * observed.sum() / expected.sum())
    assert chance > FALSE_ALARM


@pytest.mark.parametrize(
    ("epsilon", "sensitivity", "delta"),
    [(0.1, 1, 1e-4), (1, 1, 1e-9), (0.7, 1, 1e-4), (0.9, 7, 1e-4), (3.3, 100, 1e-9), (5, 1, 1e-9)],
)
def test_draws_have_the_distribution(epsilon: float, sensitivity: int, delta: float) -> None:
    (noise,) = OwnNoise(epsilon, delta).over([sensitivity])
    with localcontext(prec=50):
        chances = np.array([float(one) for one in exact(noise)])
    check_distribution(drawn(noise.draw, 10_000), -noise.bound, chances)


def test_a_sampler_that_draws_0_too_often_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    (noise,) = OwnNoise(1.0).over([1])
    with localcontext(prec=50):
        chances = np.array([float(one) for one in exact(noise)])

    def careless(numerator: int, denominator: int) -> int:
        size = 0
        while sampler._happens(denominator, numerator):
            size += 1
        return secrets.choice([1, -1]) * size  # as both signs of 0 are 0

    monkeypatch.setattr(sampler, "_discrete_laplace", careless)
    with pytest.raises(AssertionError):
        check_distribution(drawn(noise.draw, 10_000), -noise.bound, chances)


def test_nothing_is_beyond_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    far = itertools.cycle([1000, -1000, 3])
    monkeypatch.setattr(sampler, "_discrete_laplace", lambda *scale: next(far))
    (noise,) = OwnNoise(1.0).over([1])
    assert drawn(noise.draw, 5) == {3: 5}


@pytest.mark.parametrize(
    ("epsilon", "sensitivity"), [(0.001, 1), (0.1, 1), (1, 1), (20, 1), (0.5, 37), (2, 1000)]
)
def test_the_interval_holds_95_of_100_draws_and_hardly_more(
    epsilon: float, sensitivity: int
) -> None:
    (noise,) = OwnNoise(epsilon).over([sensitivity])
    with localcontext(prec=20):
        chances = exact(noise)
        middle = chances[noise.bound - noise.within : noise.bound + noise.within + 1]
        assert sum(middle) >= Decimal("0.95")
        assert noise.within == 0 or sum(middle[1:-1]) < Decimal("0.9501")


@pytest.mark.parametrize("epsilon", [0, -1, math.nan, math.inf, 20.1, 0.0009])
def test_an_epsilon_that_is_none(epsilon: float) -> None:
    with pytest.raises(ConfigError, match=r"epsilon lies between 0\.001 and 20"):
        OwnNoise(epsilon)


@pytest.mark.parametrize("delta", [0, -1, math.nan, 1, 1e-16])
def test_a_delta_that_is_none(delta: float) -> None:
    with pytest.raises(ConfigError, match=r"delta lies between 1e-15 and 0\.0001"):
        OwnNoise(1, delta)


def test_the_page_s_table_of_widths_is_right() -> None:
    page = (DOCS / "psi.md").read_text("utf-8")
    rows = re.findall(r"\| ([\d.]+) \| ± (\d+) \| (\d+) \| ± (\d+) \| ± (\d+) × `--max", page)
    assert len(rows) == 4
    for epsilon, count, points, count_of_sum, total in rows:
        (alone,) = OwnNoise(float(epsilon)).over([1])
        assert (alone.within, 2 * alone.bound) == (int(count), int(points))
        beside, summed = OwnNoise(float(epsilon)).over([1, 10_000])
        assert (beside.within, round(summed.within / 10_000)) == (int(count_of_sum), int(total))
