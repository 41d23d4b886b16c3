"""Rényi divergences of releases: above the exact ones and as close as rounding allows."""

from __future__ import annotations

import dp_accounting
import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from dp_accounting.rdp import RdpAccountant

from privfed.dp import renyi
from privfed.dp.batches import Cases, Chances, unit_cases
from privfed.dp.renyi import ORDERS, divergences, log_moment, shifted


def of(sigma: float, cases: Cases, orders: np.ndarray = ORDERS, count: int = 1) -> np.ndarray:
    return divergences([((sigma, cases, count),)], orders)


def exact(sigma: float, chances: Chances, exponent: float) -> float:
    """The log of the moment, by an integral with 30 digits."""
    with mpmath.workdps(30):
        s, e = mpmath.mpf(sigma), mpmath.mpf(exponent)

        def integrand(x: mpmath.mpf) -> mpmath.mpf:
            ratio = sum(
                p * mpmath.exp((2 * x * j - j * j) / (2 * s * s)) for j, p in enumerate(chances)
            )
            return mpmath.npdf(x, 0, s) * ratio**e

        reach = abs(exponent) * len(chances) + 16 * sigma
        points = list(np.linspace(-reach, reach, 1 + int(reach / sigma)))
        return float(mpmath.log(mpmath.quad(integrand, points)))


@pytest.mark.parametrize(
    ("sigma", "chances"),
    [
        (1.0, (0.9, 0.08, 0.02)),
        (0.8, (0.99, 0.01)),
        (5.0, (0.0, 0.3, 0.7)),
        (3.0, (0.5, 0.0, 0.0, 0.5)),
    ],
)
def test_divergences_are_just_above_the_integrals(sigma: float, chances: Chances) -> None:
    for order in (1.05, 2.5, 9.0):
        both = []
        for exponent in (order, 1 - order):
            wanted = exact(sigma, chances, exponent)
            both.append(log_moment(sigma, ((1.0, chances),), exponent))
            assert wanted * (1 - 1e-13) <= both[-1] <= wanted + 1e-11
        found = float(of(sigma, ((1.0, chances),), np.array([order]))[0])
        assert found == max(both) / (order - 1)


@pytest.mark.parametrize(("rate", "sigma"), [(0.2, 4.0), (0.01, 1.0), (1.0, 2.0), (0.5, 0.7)])
def test_sampled_rows_are_as_dp_accounting_has_them(rate: float, sigma: float) -> None:
    orders = np.array([2.0, 3, 5, 10, 32])
    theirs = RdpAccountant(orders=list(orders))
    event = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(sigma))
    theirs.compose(event, 7)
    wanted = np.array(theirs._rdp)  # noqa: SLF001  (it has no other name)
    found = of(sigma, unit_cases(1, rate), orders, 7)
    assert np.allclose(found, wanted, rtol=1e-7)
    assert np.all(found >= wanted * (1 - 1e-12))


def test_cases_are_averaged_and_kinds_are_not() -> None:
    one, other = ((1.0, (0.5, 0.5)),), ((1.0, (0.9, 0.1)),)
    mixed = ((0.25, (0.5, 0.5)), (0.75, (0.9, 0.1)))
    orders = np.array([3.0])
    moments = [np.exp(2 * of(2.0, cases, orders)[0]) for cases in (one, other, mixed)]
    assert moments[2] == pytest.approx(0.25 * moments[0] + 0.75 * moments[1], rel=1e-9)
    both = divergences([((2.0, one, 1),), ((2.0, other, 3),)], orders)
    assert both[0] == max(of(2.0, one, orders)[0], of(2.0, other, orders, 3)[0])


def test_orders_that_lose_everything_are_infinite_and_no_error() -> None:
    found = of(0.1, unit_cases(1, 0.1))
    assert np.isfinite(found[0])
    assert found[-1] == np.inf
    assert np.all(np.diff(found[np.isfinite(found)]) >= -1e-9)


def test_laws_that_are_near_get_the_gap() -> None:
    """Two laws on few outcomes, each within e^(±gap) of others: their divergence is covered."""
    rng, gap = np.random.default_rng(1), 0.05
    for _ in range(50):
        p, q = rng.dirichlet(np.ones(4), 2)
        near = [each * np.exp(rng.uniform(-gap, gap, 4)) for each in (p, q)]
        near = [each / each.sum() for each in near]  # within twice the gap then
        for order in (1.5, 4.0):
            first, second = (
                np.log((a**order * b ** (1 - order)).sum()) / (order - 1) for a, b in ((p, q), near)
            )
            assert second <= shifted(np.array([first]), 2 * gap, np.array([order]))[0]


def test_the_worse_direction_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mixture is known whose other direction is worse, and none is proved not to be."""
    for removed, added in ((1.0, 5.0), (5.0, 1.0)):
        monkeypatch.setattr(
            renyi,
            "log_moment",
            lambda _, cases, exponent, r=removed, a=added: r if exponent > 0 else a,
        )
        assert of(1.0, unit_cases(1, 0.5), np.array([3.0]))[0] == 2.5
