"""ε of DP-SGD against integrals of the definition, closed forms and other accountants."""

from __future__ import annotations

import math
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import given
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant
from scipy import optimize, stats

from privfed.dp import calibrate_noise_multiplier, dp_sgd_epsilon
from privfed.dp.accounting import compose, worst_kinds, worst_placements
from privfed.errors import ConfigError

DELTA = 1e-5
COARSE = 0.02  # a coarser grid is faster, and its error falls with the square of the cell


def one_step(sigma: float, rate: float, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A step's output on a grid: weights, and both densities along the unit's gradient.

    The worst unit pushes all its rows one clip norm in one direction, and every other direction is
    noise alone, so one dimension shows all: a mixture of N(j, σ²) against N(0, σ²).
    """
    x = np.linspace(-14 * sigma, rows + 14 * sigma, 20_001)
    without = stats.norm.pdf(x, 0, sigma)
    chances = stats.binom.pmf(range(rows + 1), rows, rate)
    with_unit = sum(chance * stats.norm.pdf(x, j, sigma) for j, chance in enumerate(chances))
    return np.full(x.shape, x[1] - x[0]), with_unit, without


def hockey_stick_epsilon(weights: np.ndarray, p: np.ndarray, q: np.ndarray) -> float:
    """The ε at which the larger of ∫max(P - e^ε Q, 0) and ∫max(Q - e^ε P, 0) is δ."""

    def gap(epsilon: float) -> float:
        factor = math.exp(epsilon)
        one_way = (weights * np.maximum(p - factor * q, 0)).sum()
        return float(max(one_way, (weights * np.maximum(q - factor * p, 0)).sum()) - DELTA)

    return float(optimize.brentq(gap, 0, 60, xtol=1e-9))


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize(("sigma", "rate"), [(1.0, 0.2), (0.7, 0.05), (3.0, 0.5), (2.0, 1.0)])
def test_one_step_equals_the_integral_of_the_definition(
    sigma: float, rate: float, rows: int
) -> None:
    truth = hockey_stick_epsilon(*one_step(sigma, rate, rows))
    found = dp_sgd_epsilon(
        sigma,
        sampling_rates=[rate],
        steps=[1],
        placement=(rows,),
        delta=DELTA,
        discretisation=COARSE,
    )
    assert truth - 1e-6 <= found <= truth + 1e-3  # a bound, far less than a cell above


@pytest.mark.parametrize("placement", [(1, 1), (2, 1), (2, 2)])
def test_two_parties_compose_to_the_integral_over_both(placement: tuple[int, int]) -> None:
    sigma, rates = 1.5, (0.3, 0.15)
    grids = [one_step(sigma, rate, rows) for rate, rows in zip(rates, placement, strict=True)]
    # Every sixth point is plenty for densities this smooth.
    parts = [[column[::6] for column in grid] for grid in grids]
    weights, p, q = (np.outer(left, right) for left, right in zip(*parts, strict=True))
    truth = hockey_stick_epsilon(36 * weights, p, q)
    found = dp_sgd_epsilon(
        sigma,
        sampling_rates=rates,
        steps=[1, 1],
        placement=placement,
        delta=DELTA,
        discretisation=COARSE,
    )
    assert truth - 1e-6 <= found <= truth + 2e-3


def gaussian_epsilon(sigma: float) -> float:
    """Theorem 8 of Balle and Wang, arXiv 1805.06530, at sensitivity 1, solved for ε."""

    def gap(epsilon: float) -> float:
        first = stats.norm.cdf(0.5 / sigma - epsilon * sigma)
        second = stats.norm.logcdf(-0.5 / sigma - epsilon * sigma)
        return float(first - math.exp(epsilon + second)) - DELTA

    return float(optimize.brentq(gap, 0, 200, xtol=1e-10))


@pytest.mark.parametrize(
    ("rows", "steps", "equivalent"),
    [(1, 1, 4.0), (1, 25, 4.0 / 5), (2, 1, 4.0 / 2), (2, 4, 4.0 / 4), (3, 9, 4.0 / 9)],
)
def test_without_sampling_it_is_the_analytic_gaussian(
    rows: int, steps: int, equivalent: float
) -> None:
    """T steps divide σ by √T, r rows by r."""
    truth = gaussian_epsilon(equivalent)
    found = dp_sgd_epsilon(
        4.0,
        sampling_rates=[1.0],
        steps=[steps],
        placement=(rows,),
        delta=DELTA,
        discretisation=COARSE / 4,
    )
    assert truth - 1e-6 <= found <= truth + 1e-3


def test_known_answer() -> None:
    """Bracket of dp-accounting's PLD at finer grids, and Opacus's PRV accountant says 118.20."""
    found = dp_sgd_epsilon(
        1.0, sampling_rates=[64 / 324], steps=[2500], placement=(1,), delta=DELTA
    )
    assert 118.06 <= found <= 118.20


def test_the_prv_accountant_agrees() -> None:
    accountant = PRVAccountant()
    accountant.history = [(2.0, 0.2, 150)]
    found = dp_sgd_epsilon(2.0, sampling_rates=[0.2], steps=[150], placement=(1,), delta=DELTA)
    assert found == pytest.approx(accountant.get_epsilon(DELTA, eps_error=0.01), abs=0.02)


def test_two_rows_of_a_unit_double_a_nominal_epsilon() -> None:
    """What a plan spends that takes each of a person's two rows for a person."""
    training: dict[str, Any] = {"sampling_rates": [0.2], "steps": [150], "delta": DELTA}
    sigma = calibrate_noise_multiplier(1.0, placements=[(1,)], **training)
    assert dp_sgd_epsilon(sigma, placement=(1,), **training) == pytest.approx(1.0, abs=0.005)
    assert dp_sgd_epsilon(sigma, placement=(2,), **training) == pytest.approx(2.16, abs=0.01)


def epsilon(rates: list[float], steps: list[int], placement: tuple[int, ...]) -> float:
    return dp_sgd_epsilon(
        2.0,
        sampling_rates=rates,
        steps=steps,
        placement=placement,
        delta=DELTA,
        discretisation=COARSE,
    )


def test_parties_without_the_unit_cost_nothing() -> None:
    alone = epsilon([0.2], [10], (2,))
    assert alone == epsilon([0.5, 0.2, 0.1], [7, 10, 3], (0, 2, 0))  # no row elsewhere
    assert alone == epsilon([0.2, 0.2], [10, 0], (2, 2))  # no step elsewhere
    assert epsilon([1.0], [9], (0,)) == 0


@pytest.mark.parametrize(
    ("target", "placements"),
    [
        (0.2, [(1, 0), (0, 1)]),
        (1.0, [(1, 1)]),
        (8.0, [(1, 1)]),
        (20.0, [(1, 0)]),
        pytest.param(8.0, [(2, 0), (1, 1), (0, 1)], marks=pytest.mark.slow),
    ],
)
def test_calibration_keeps_the_target_and_wastes_little(
    target: float, placements: list[tuple[int, int]]
) -> None:
    training: dict[str, Any] = {"sampling_rates": [0.2, 0.3], "steps": [20, 10], "delta": DELTA}
    sigma = calibrate_noise_multiplier(target, placements=placements, **training)

    def worst(noise_multiplier: float) -> float:
        return max(dp_sgd_epsilon(noise_multiplier, placement=p, **training) for p in placements)

    assert worst(sigma) <= target
    assert worst(0.99 * sigma) > target


@pytest.mark.parametrize("second", [401, 480])
def test_every_placement_is_held_whichever_is_tried_first(second: int) -> None:
    """Few steps on large batches need more noise than 401 on small ones, less than 480."""
    training: dict[str, Any] = {"sampling_rates": [0.5, 0.05], "steps": [4, second], "delta": DELTA}
    both, *each = (
        calibrate_noise_multiplier(1.0, placements=placements, **training)
        for placements in ([(1, 0), (0, 1)], [(1, 0)], [(0, 1)])
    )
    assert both == max(each)
    assert (each[0] > each[1]) == (second == 401)


placements_of_units = st.integers(1, 3).flatmap(
    lambda parties: st.lists(
        st.tuples(*[st.integers(0, 4)] * parties).filter(any), min_size=1, max_size=12
    )
)


@given(placements_of_units)
def test_worst_placements_are_those_that_no_other_covers(units: list[tuple[int, ...]]) -> None:
    def covers(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
        return one != other and bool(np.all(np.array(one) >= np.array(other)))

    worst = worst_placements(units)
    assert len(set(worst)) == len(worst)
    assert set(worst) == {u for u in units if not any(covers(other, u) for other in units)}
    for unit in units:
        assert unit in worst or any(covers(other, unit) for other in worst)


def test_more_rows_cost_more() -> None:
    """What lets `worst_placements` leave out covered units."""
    placements = [(1, 0), (1, 1), (2, 1), (2, 2), (3, 2)]
    spent = [epsilon([0.2, 0.3], [3, 2], placement) for placement in placements]
    assert spent == sorted(spent)
    assert len(set(spent)) == len(spent)


@pytest.mark.parametrize("joint", [False, True])
def test_kinds_left_out_of_a_composition_lose_less(joint: bool) -> None:
    """Each against those that are kept, on the whole curve and composed with something else."""
    training: dict[str, Any] = {
        "sampling_rates": [0.1, 0.2, 0.3, 0.3],
        "steps": [9] * 4 if joint else [9, 9, 3, 2],
        "joint": joint,
    }
    placements = [(2, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    kept = worst_kinds(2.0, placements=placements, **training)
    each = [worst_kinds(2.0, placements=[placement], **training)[0] for placement in placements]
    assert len(kept) == (2 if joint else 3)
    another = worst_kinds(3.0, placements=[(0, 1, 0, 0)], **training)[0]
    for further in ((), another):
        curves = [
            [
                max(both.delta(epsilon) for both in compose(kind + further, 1e-9, 1 / 64))
                for epsilon in np.linspace(0, 5, 12)
            ]
            for kind in [*kept, *each]
        ]
        assert np.all(np.max(curves[: len(kept)], axis=0) >= np.max(curves, axis=0) - 1e-9)


def dp_accounting_epsilon(
    sigma: float, rate: float, steps: int, delta: float, grid: float, pessimistic: bool
) -> float:
    one = pld.from_gaussian_mechanism(
        sigma,
        sampling_prob=rate,
        value_discretization_interval=grid,
        use_connect_dots=pessimistic,
        pessimistic_estimate=pessimistic,
        log_mass_truncation_bound=-60,
    )
    return float(one.self_compose(steps).get_epsilon_for_delta(delta))


@pytest.mark.parametrize(
    ("target", "rate", "steps", "delta", "grid"),
    [
        (0.1, 0.001, 10_000, 1e-7, 2e-6),
        (0.5, 0.001, 20_000, 1e-7, 2e-5),
        (1.0, 0.01, 10_000, 1e-7, 1e-4),
        (1.0, 0.2, 150, 1e-5, 1e-4),
        (8.0, 64 / 324, 2500, 1e-5, 1e-3),
        (0.25, 0.2, 150, 1e-5, 1e-4),
        (1.0, 1.0, 1, 1e-5, 1e-3),
    ],
)
def test_calibrated_noise_is_what_dp_accounting_asks(
    target: float, rate: float, steps: int, delta: float, grid: float
) -> None:
    """Enough by their lower bound, and with 0.5 % less noise too little by their upper one."""
    sigma = calibrate_noise_multiplier(
        target, sampling_rates=[rate], steps=[steps], placements=[(1,)], delta=delta
    )
    assert dp_accounting_epsilon(sigma, rate, steps, delta, grid, pessimistic=False) <= target
    less = dp_accounting_epsilon(0.995 * sigma, rate, steps, delta, grid, pessimistic=True)
    assert less > target


@pytest.mark.parametrize(("sigma", "rate", "steps"), [(0.9, 2e-3, 1000), (0.5, 1e-4, 10_000)])
def test_little_noise_on_few_rows_is_accounted_for(sigma: float, rate: float, steps: int) -> None:
    """A unit that is added gives a step a far lower tail, which tilting down makes the heaviest."""
    found = dp_sgd_epsilon(sigma, sampling_rates=[rate], steps=[steps], placement=(1,), delta=DELTA)
    low, high = (
        dp_accounting_epsilon(sigma, rate, steps, DELTA, 3e-4, pessimistic=above)
        for above in (False, True)
    )
    assert low <= found <= 1.002 * high


@pytest.mark.parametrize("delta", [1e-5, 1e-12, 1e-15, 1e-20, 1e-40, 1e-200])
@pytest.mark.parametrize(("sigma", "steps"), [(30.0, 1000), (3.0, 4), (200.0, 100_000)])
def test_a_delta_of_any_size_is_right(sigma: float, steps: int, delta: float) -> None:
    """Balle and Wang's closed form with 250 digits, where plain transforms show their noise."""
    found = dp_sgd_epsilon(sigma, sampling_rates=[1.0], steps=[steps], placement=(1,), delta=delta)

    def gap(epsilon: float) -> mpmath.mpf:
        mu, e = mpmath.sqrt(steps) / sigma, mpmath.mpf(epsilon)
        first, second = mpmath.ncdf(mu / 2 - e / mu), mpmath.ncdf(-mu / 2 - e / mu)
        return first - mpmath.exp(e) * second - delta

    with mpmath.workdps(250):
        assert gap(found) <= 0 < gap(0.997 * found)


def test_a_delta_too_small_for_doubles_is_refused() -> None:
    for delta in (1e-260, 5e-324):
        with pytest.raises(ConfigError, match="less than can be accounted for"):
            dp_sgd_epsilon(1.0, sampling_rates=[0.2], steps=[5], placement=(1,), delta=delta)


@pytest.mark.parametrize(
    ("rate", "steps", "delta", "most"), [(0.2, 150, 1e-15, 18.65), (0.01, 10**6, 1e-8, 52.0)]
)
def test_no_noise_is_asked_for_that_only_rounding_wants(
    rate: float, steps: int, delta: float, most: float
) -> None:
    """Where a plain transform's noise passed δ, hundreds of times the noise were asked for."""
    sigma = calibrate_noise_multiplier(
        1.0, sampling_rates=[rate], steps=[steps], placements=[(1,)], delta=delta
    )
    assert sigma < most


GOOD = {"sampling_rates": [0.2], "steps": [5], "delta": DELTA}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"sampling_rates": [0.0]}, "sampling rate"),
        ({"sampling_rates": [1.1]}, "sampling rate"),
        ({"sampling_rates": [math.nan]}, "sampling rate"),
        ({"sampling_rates": [0.2, 0.2]}, "a party"),
        ({"sampling_rates": [], "steps": []}, "a party"),
        ({"steps": [-5]}, "whole numbers"),
        ({"steps": [2.5]}, "whole numbers"),
        ({"steps": [5, 5]}, "a party"),
        ({"delta": 0.0}, "delta"),
        ({"delta": 1.0}, "delta"),
        ({"delta": -1e-5}, "delta"),
        ({"delta": math.nan}, "delta"),
    ],
)
def test_wrong_settings_are_refused_by_both(wrong: dict[str, object], says: str) -> None:
    settings = GOOD | wrong
    with pytest.raises(ConfigError, match=says):
        dp_sgd_epsilon(1.0, placement=(1,), **settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=says):
        calibrate_noise_multiplier(1.0, placements=[(1,)], **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_a_noise_multiplier_is_positive(sigma: float) -> None:
    with pytest.raises(ConfigError, match="noise multiplier"):
        dp_sgd_epsilon(sigma, placement=(1,), **GOOD)  # type: ignore[arg-type]


@pytest.mark.parametrize("placement", [(-1,), (1.5,), (1, 1), ()])
def test_a_placement_has_one_count_a_party(placement: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError):
        dp_sgd_epsilon(1.0, placement=placement, **GOOD)  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        calibrate_noise_multiplier(1.0, placements=[(1,), placement], **GOOD)  # type: ignore[arg-type]


def test_a_discretisation_is_positive() -> None:
    with pytest.raises(ConfigError, match="discretisation"):
        dp_sgd_epsilon(1.0, placement=(1,), discretisation=0.0, **GOOD)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan, math.inf])
def test_a_target_is_positive(target: float) -> None:
    with pytest.raises(ConfigError, match="epsilon must be a positive number"):
        calibrate_noise_multiplier(target, placements=[(1,)], **GOOD)  # type: ignore[arg-type]


@pytest.mark.parametrize("placements", [[], [(0,)]])
def test_somebody_must_be_there_to_protect(placements: list[tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError, match="at least one unit"):
        calibrate_noise_multiplier(1.0, placements=placements, **GOOD)  # type: ignore[arg-type]


def test_targets_out_of_reach() -> None:
    with pytest.raises(ConfigError, match="next to no noise"):
        calibrate_noise_multiplier(1e6, placements=[(1,)], **GOOD)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no noise multiplier"):
        calibrate_noise_multiplier(
            1e-9, sampling_rates=[0.2], steps=[5], placements=[(1,)], delta=1e-30
        )
