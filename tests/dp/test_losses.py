"""A step's loss distribution against dp-accounting's own, and against the definition's integral."""

from __future__ import annotations

import math
from collections.abc import Sequence

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from scipy import integrate, stats

from privfed.dp.composition import MASS_ERROR, Composition
from privfed.dp.losses import step_losses

GRID = 1 / 128
DELTAS = (1e-2, 1e-5, 1e-8)
TAIL = 1e-30


class Ours:
    """Both directions of a step that is taken so many times."""

    def __init__(self, sigma: float, chances: Sequence[float], grid: float, count: int) -> None:
        both = step_losses(sigma, tuple(chances), grid, TAIL)
        self._both = [Composition([(each, count)]) for each in both]

    def epsilon(self, delta: float) -> float:
        return max(each.epsilon(delta) for each in self._both)

    def delta(self, epsilon: float) -> float:
        return max(each.delta(epsilon) for each in self._both)


def single(sigma: float, rate: float) -> pld.PrivacyLossDistribution:
    return pld.from_gaussian_mechanism(
        sigma,
        sampling_prob=rate,
        value_discretization_interval=GRID,
        use_connect_dots=True,
    )


def several(sigma: float, chances: list[float]) -> pld.PrivacyLossDistribution:
    return pld.from_mixture_gaussian_mechanism(
        sigma,
        sensitivities=list(range(len(chances))),
        sampling_probs=chances,
        value_discretization_interval=GRID,
        use_connect_dots=True,
    )


def assert_equal(
    sigma: float, chances: Sequence[float], theirs: pld.PrivacyLossDistribution
) -> None:
    """Same ε and δ, alone and composed; their own scalar searches are good to some 1e-5."""
    for count in (1, 30):
        one, other = Ours(sigma, chances, GRID, count), theirs.self_compose(count)
        for delta in DELTAS:
            epsilon = other.get_epsilon_for_delta(delta)
            assert one.epsilon(delta) == pytest.approx(epsilon, rel=1e-4, abs=1e-6)
    once = Ours(sigma, chances, GRID, 1)
    for epsilon in (-0.5, 0.0, 0.1, 1.0):
        wanted = theirs.get_delta_for_epsilon(epsilon)
        assert once.delta(epsilon) == pytest.approx(wanted, rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("rate", [1e-4, 0.02, 0.2, 0.9, 1.0])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 4.0, 40.0])
def test_one_row_is_the_subsampled_gaussian(sigma: float, rate: float) -> None:
    assert_equal(sigma, (1 - rate, rate), single(sigma, rate))


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.7, 1.0])
@pytest.mark.parametrize(("sigma", "rows"), [(1.0, 2), (2.0, 3), (6.0, 5)])
def test_several_rows_are_the_mixture_of_gaussians(sigma: float, rows: int, rate: float) -> None:
    chances = stats.binom.pmf(range(rows + 1), rows, rate).tolist()
    present = [chance for chance in chances if chance > 0]
    if len(present) < len(chances):  # their mixture takes no chance of zero
        theirs = pld.from_gaussian_mechanism(
            sigma, sensitivity=rows, value_discretization_interval=GRID, use_connect_dots=True
        )
    else:
        theirs = several(sigma, chances)
    assert_equal(sigma, chances, theirs)


def test_chances_that_no_coin_gives() -> None:
    """Rows at parties of unequal rates; and a gap between the numbers of rows."""
    chances = np.convolve((0.7, 0.3), (0.9, 0.1)).tolist()
    assert_equal(1.5, chances, several(1.5, chances))
    theirs = pld.from_mixture_gaussian_mechanism(
        1.5,
        sensitivities=[0, 2],
        sampling_probs=[0.8, 0.2],
        value_discretization_interval=GRID,
        use_connect_dots=True,
    )
    assert_equal(1.5, (0.8, 0.0, 0.2), theirs)


def test_a_unit_that_is_never_there_costs_nothing() -> None:
    for chances in ((1.0,), (1.0, 0.0), (1.0, 0.0, 0.0)):
        assert Ours(1.0, chances, GRID, 1).epsilon(1e-12) == 0
        assert Ours(1.0, chances, GRID, 100).delta(0.0) < 1e-11  # the transform's error


@pytest.mark.parametrize(
    ("sigma", "chances"),
    [(0.3, (0.8, 0.2)), (1.0, (0.64, 0.32, 0.04)), (3.0, (0.0, 1.0)), (8.0, (0.5, 0.0, 0.0, 0.5))],
)
def test_no_divergence_is_below_the_integral(sigma: float, chances: tuple[float, ...]) -> None:
    """The hockey-stick divergence of each direction, by adaptive quadrature of its definition."""
    found = Ours(sigma, chances, GRID, 1)

    def mixture(x: float) -> float:
        return math.fsum(
            chance * stats.norm.pdf(x, rows, sigma) for rows, chance in enumerate(chances)
        )

    def alone(x: float) -> float:
        return float(stats.norm.pdf(x, 0, sigma))

    ends = (-12 * sigma, len(chances) - 1 + 12 * sigma)
    for epsilon in (0.0, 0.3, 1.0):
        factor = math.exp(epsilon)
        truth = max(
            integrate.quad(
                lambda x, p=p, q=q, f=factor: max(p(x) - f * q(x), 0.0), *ends, limit=400
            )[0]
            for p, q in ((mixture, alone), (alone, mixture))
        )
        delta = found.delta(epsilon)
        assert truth - 1e-8 <= delta <= truth + 2e-5 + 1e-3 * truth


def test_a_coarser_grid_is_never_cheaper() -> None:
    chances = (0.8, 0.2)
    epsilons = [Ours(1.0, chances, grid, 20).epsilon(1e-6) for grid in (0.001, 0.004, 0.016, 0.064)]
    assert epsilons == sorted(epsilons)
    assert epsilons[-1] < 1.1 * epsilons[0]


@pytest.mark.parametrize(
    ("sigma", "chances", "grid"),
    [
        (1.0, (0.8, 0.2), 1 / 16),
        (30.0, (0.999, 0.001), 2.0**-22),
        (0.4, (0.25, 0.5, 0.25), 0.5),
        (0.5, (0.0, 1.0), 1 / 8),
    ],
)
def test_masses_have_their_digits_however_small_they_are(
    sigma: float, chances: tuple[float, ...], grid: float
) -> None:
    """Against the definition's integrals with 60 digits: what is paid for is enough."""
    losses = step_losses(sigma, chances, grid, TAIL)
    with mpmath.workdps(60):
        exact = [mpmath.mpf(chance) for chance in chances]
        exact[0] += 1 - sum(exact)
        width = mpmath.mpf(sigma)

        def loss(x: mpmath.mpf) -> mpmath.mpf:
            return mpmath.log(
                sum(p * mpmath.exp((j * x - mpmath.mpf(j) ** 2 / 2) / width**2)
                    for j, p in enumerate(exact))
            )  # fmt: skip

        def threshold(value: mpmath.mpf) -> mpmath.mpf:
            low, high = -60 * width, len(exact) + 60 * width
            for _ in range(180):
                middle = (low + high) / 2
                low, high = (middle, high) if loss(middle) < value else (low, middle)
            return high

        def between(low: mpmath.mpf, high: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
            def mass(shift: int) -> mpmath.mpf:
                return mpmath.ncdf((shift - low) / width) - mpmath.ncdf((shift - high) / width)

            return sum(p * mass(j) for j, p in enumerate(exact)), mass(0)

        size = len(losses.removed.masses)
        step = mpmath.mpf(grid)
        for place in np.linspace(size // 50 + 2, size - 3, 12).astype(int):
            index = losses.removed.first + int(place)
            ends = [threshold((index + side) * step) for side in (-1, 0, 1)]
            p_low, q_low = between(*ends[:2])
            p_high, q_high = between(*ends[1:])
            ratio = [mpmath.exp((index + side) * step) for side in (-1, 0, 1)]
            added = (p_low - ratio[0] * q_low) / (ratio[1] - ratio[0])
            added += (ratio[2] * q_high - p_high) / (ratio[2] - ratio[1])
            for found, wanted in (
                (losses.added.masses[size - 1 - int(place)], added),
                (losses.removed.masses[place], added * ratio[1]),
            ):
                assert abs(mpmath.mpf(float(found)) / wanted - 1) < MASS_ERROR, (index, wanted)
