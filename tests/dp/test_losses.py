"""A step's loss distribution against dp-accounting's own, and against the definition's integral."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from scipy import integrate, stats

from privfed.dp.losses import step_loss

GRID = 0.01
DELTAS = (1e-2, 1e-5, 1e-8)


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


def assert_equal(ours: pld.PrivacyLossDistribution, theirs: pld.PrivacyLossDistribution) -> None:
    """Same ε and δ, alone and composed; their own scalar searches are good to some 1e-5."""
    for count in (1, 30):
        one, other = ours.self_compose(count), theirs.self_compose(count)
        for delta in DELTAS:
            epsilon = other.get_epsilon_for_delta(delta)
            assert one.get_epsilon_for_delta(delta) == pytest.approx(epsilon, rel=1e-4, abs=1e-6)
    for epsilon in (-0.5, 0.0, 0.1, 1.0):
        wanted = theirs.get_delta_for_epsilon(epsilon)
        assert ours.get_delta_for_epsilon(epsilon) == pytest.approx(wanted, rel=1e-4, abs=1e-12)


@pytest.mark.parametrize("rate", [1e-4, 0.02, 0.2, 0.9, 1.0])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 4.0, 40.0])
def test_one_row_is_the_subsampled_gaussian(sigma: float, rate: float) -> None:
    assert_equal(step_loss(sigma, (1 - rate, rate), GRID), single(sigma, rate))


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
    assert_equal(step_loss(sigma, chances, GRID), theirs)


def test_chances_that_no_coin_gives() -> None:
    """Rows at parties of unequal rates; and a gap between the numbers of rows."""
    chances = np.convolve((0.7, 0.3), (0.9, 0.1)).tolist()
    assert_equal(step_loss(1.5, chances, GRID), several(1.5, chances))
    gap = step_loss(1.5, (0.8, 0.0, 0.2), GRID)
    theirs = pld.from_mixture_gaussian_mechanism(
        1.5,
        sensitivities=[0, 2],
        sampling_probs=[0.8, 0.2],
        value_discretization_interval=GRID,
        use_connect_dots=True,
    )
    assert_equal(gap, theirs)


def test_a_unit_that_is_never_there_costs_nothing() -> None:
    for chances in ((1.0,), (1.0, 0.0), (1.0, 0.0, 0.0)):
        loss = step_loss(1.0, chances, GRID)
        # The tails beyond ten standard deviations count as a breach: 2e-23 of them.
        assert loss.get_epsilon_for_delta(1e-12) == 0
        assert loss.self_compose(100).get_delta_for_epsilon(0.0) < 1e-12


@pytest.mark.parametrize(
    ("sigma", "chances"),
    [(0.3, (0.8, 0.2)), (1.0, (0.64, 0.32, 0.04)), (3.0, (0.0, 1.0)), (8.0, (0.5, 0.0, 0.0, 0.5))],
)
def test_no_divergence_is_below_the_integral(sigma: float, chances: tuple[float, ...]) -> None:
    """The hockey-stick divergence of each direction, by adaptive quadrature of its definition."""
    found = step_loss(sigma, chances, GRID)

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
        delta = found.get_delta_for_epsilon(epsilon)
        assert truth - 1e-8 <= delta <= truth + 2e-5 + 1e-3 * truth


def test_a_coarser_grid_is_never_cheaper() -> None:
    chances = (0.8, 0.2)
    epsilons = [
        step_loss(1.0, chances, grid).self_compose(20).get_epsilon_for_delta(1e-6)
        for grid in (0.001, 0.004, 0.016, 0.064)
    ]
    assert epsilons == sorted(epsilons)
    assert epsilons[-1] < 1.1 * epsilons[0]
