"""The best of a random number of runs: its bound is above what the best really tells.

Small mechanisms are counted out. With few outcomes in order of their score, the best of K runs is
at most y if all are, so that its law follows from K's generating function.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from dp_accounting.dp_event import GaussianDpEvent, RepeatAndSelectDpEvent
from dp_accounting.rdp import RdpAccountant
from scipy import stats

from privfed.dp import FixedRuns, RandomRuns, SeededRandomness
from privfed.dp.renyi import ORDERS
from privfed.dp.runs import DRAW_ERROR, runs_from_dict, runs_to_dict
from privfed.errors import ConfigError

LAWS = [
    RandomRuns(10, 1.0), RandomRuns(10, 0.0), RandomRuns(4, 0.5), RandomRuns(30, 5.0),
    RandomRuns(2, -0.5), RandomRuns(10, math.inf), RandomRuns(1, math.inf),
]  # fmt: skip


def generating(runs: RandomRuns) -> Callable[[np.ndarray], Any]:
    """E[z^K], in closed form."""
    if runs.is_poisson:
        return lambda z: np.exp(runs.mean * (z - 1))
    gamma, eta = runs.gamma, runs.shape
    if eta == 0:
        return lambda z: np.log1p(-(1 - gamma) * z) / math.log(gamma)
    return lambda z: ((1 - (1 - gamma) * z) ** -eta - 1) / (gamma**-eta - 1)


def best(p: np.ndarray, of_all: Callable[[np.ndarray], Any]) -> np.ndarray:
    """The law of the best outcome, the last in order; first the chance that there is no run."""
    below = np.concatenate([[0.0], np.cumsum(p)])
    below[-1] = 1.0
    found: np.ndarray = np.diff(of_all(below), prepend=0.0)
    return found


def renyi(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """D_α at all orders, of the worse direction."""
    found = []
    for one, other in ((p, q), (q, p)):
        kept = one > 0
        with np.errstate(divide="ignore"):
            logs = np.outer(ORDERS, np.log(one[kept])) - np.outer(ORDERS - 1, np.log(other[kept]))
        top = logs.max(axis=1)
        with np.errstate(invalid="ignore"):
            found.append((top + np.log(np.exp(logs - top[:, None]).sum(axis=1))) / (ORDERS - 1))
    worse: np.ndarray = np.nan_to_num(np.maximum(*found), nan=np.inf)
    return worse


def bound(runs: RandomRuns, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    def delta(epsilon: float) -> float:
        factor = math.exp(epsilon)
        return max(float(np.maximum(a - factor * b, 0).sum()) for a, b in ((p, q), (q, p)))

    return runs.divergences(renyi(p, q), delta)


def mechanisms() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(7)
    some = [
        tuple(rng.dirichlet(np.full(size, spread), 2))
        for size, spread in itertools.product((2, 3, 6), (0.5, 1.0, 5.0))
        for _ in range(6)
    ]
    tilted = []
    for epsilon, rare in itertools.product((0.05, 0.5, 2.0), (1e-4, 0.01, 0.3)):
        p = np.array([1 - rare, rare])
        q = np.array([1 - rare * math.exp(-epsilon), rare * math.exp(-epsilon)])
        tilted += [(p, q), (p[::-1], q[::-1])]
    return [*some, *tilted]


@pytest.mark.parametrize("runs", LAWS, ids=str)
def test_the_best_of_small_mechanisms_tells_no_more_than_the_bound(runs: RandomRuns) -> None:
    of_all = generating(runs)
    close = math.inf
    for p, q in mechanisms():
        real, most = renyi(best(p, of_all), best(q, of_all)), bound(runs, p, q)
        assert np.all(real <= most * (1 + 1e-9) + 1e-9)
        close = min(close, float(np.min(most - real)))
    assert close < 3  # the bound is not idle


def test_a_fixed_number_that_is_charged_as_random_exceeds_the_bound() -> None:
    runs, count = RandomRuns(50, 1.0), 50
    p, q = np.array([0.5, 0.5]), np.array([0.5 * math.exp(-0.1), 1 - 0.5 * math.exp(-0.1)])
    real = renyi(best(p, lambda z: z**count), best(q, lambda z: z**count))
    assert np.max(real - bound(runs, p, q)) > 3
    drawn = renyi(*(best(each, generating(runs)) for each in (p, q)))
    assert np.all(drawn <= bound(runs, p, q) + 1e-9)


@pytest.mark.parametrize("runs", LAWS[:6], ids=str)
def test_a_score_that_is_not_charged_exceeds_the_bound(runs: RandomRuns) -> None:
    """Two models that tell nothing, and exact scores of private rows that choose between them."""
    model = np.array([0.5, 0.5])
    uncharged = bound(runs, model, model)
    law = best(model, generating(runs))
    other = np.concatenate([law[:1], law[:0:-1]])  # with the unit the other model scores best
    assert np.max(renyi(law, other) - uncharged) > 0.2
    with_score = np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5])
    assert np.all(bound(runs, *with_score) == np.inf)  # as it is charged


@pytest.mark.parametrize("shape", [0.0, 0.5, 1.0, 5.0, math.inf])
def test_bounds_are_those_of_dp_accounting(shape: float) -> None:
    """For Poisson theirs read δ off Rényi divergences, which gives more."""
    runs, sigma = RandomRuns(12, shape), 3.0
    event = RepeatAndSelectDpEvent(GaussianDpEvent(sigma), runs.mean, shape)
    theirs = RdpAccountant(orders=list(ORDERS))
    theirs.compose(event)
    once = ORDERS / (2 * sigma**2)
    half = 1 / (2 * sigma)

    def delta(epsilon: float) -> float:
        low, high = half - epsilon * sigma, -half - epsilon * sigma
        return float(stats.norm.cdf(low) - math.exp(epsilon) * stats.norm.cdf(high))

    found = runs.divergences(once, delta)
    wanted = np.array(theirs._rdp)  # noqa: SLF001  (it has no other name)
    if runs.is_poisson:
        assert np.all(found <= wanted * (1 + 1e-9))
    else:
        least = np.minimum.accumulate(found[::-1])[::-1]  # they use that D_α rises with α
        assert np.allclose(least, wanted, rtol=1e-6)


@pytest.mark.parametrize("shape", [0.0, 0.5, 1.0, 5.0])
def test_gaussians_have_the_closed_form_of_the_paper(shape: float) -> None:
    """Corollary 4 for ρ-zCDP, at orders so dense that the best is among them: within 1 %."""
    rho, runs = 0.02, RandomRuns(15, shape)
    found = runs.divergences(ORDERS * rho, lambda _: 1.0)
    log_gamma, log_mean = -math.log(runs.gamma), math.log(15)
    constant = 2 * (1 + shape) * math.sqrt(rho * log_gamma) - shape * rho
    high = np.greater(ORDERS, 1 + math.sqrt(log_mean / rho))
    wanted = rho * (ORDERS - 1) + log_mean / (ORDERS - 1) + constant
    assert np.all(found[high] >= wanted[high] * (1 - 1e-12))
    assert np.allclose(found[high], wanted[high], rtol=0.01)


# --- The number itself ---------------------------------------------------------------------------

KNOWN = {
    "geometric": (LAWS[0], stats.geom(0.1)),
    "logarithmic": (LAWS[1], stats.logser(1 - LAWS[1].gamma)),
    "Poisson": (LAWS[5], stats.poisson(10)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_laws_are_those_of_their_names(name: str) -> None:
    runs, theirs = KNOWN[name]
    found = dict(runs.law())
    assert float(sum(found.values())) == pytest.approx(1, abs=1e-15)
    for count in (0, 1, 2, 7, 40):
        assert float(found.get(count, 0)) == pytest.approx(theirs.pmf(count), rel=1e-9)


def test_a_truncated_negative_binomial_law_is_the_negative_one_without_zero() -> None:
    for runs in (LAWS[2], LAWS[3]):
        theirs = stats.nbinom(runs.shape, runs.gamma)
        for count, chance in itertools.islice(runs.law(), 30):
            wanted = theirs.pmf(count) / theirs.sf(0)
            assert float(chance) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("runs", LAWS, ids=str)
def test_the_mean_is_the_one_that_was_asked_and_nothing_is_left_out(runs: RandomRuns) -> None:
    law = list(runs.law())
    left = 1 - sum((Fraction(chance) for _, chance in law), Fraction(0))
    assert abs(left) < Fraction(DRAW_ERROR)
    assert float(sum(count * chance for count, chance in law)) == pytest.approx(runs.mean, rel=1e-9)


@pytest.mark.parametrize("runs", LAWS, ids=str)
def test_numbers_are_drawn_by_their_law(runs: RandomRuns) -> None:
    """Chi-square over numbers expected ten times or more: a false alarm in 10,000; seeded."""
    source, draws = SeededRandomness(11), 3000
    seen = Counter(runs.draw(source) for _ in range(draws))
    wanted = {count: draws * float(chance) for count, chance in runs.law()}
    often = [count for count, expected in wanted.items() if expected >= 10]
    rest = draws - sum(wanted[count] for count in often)
    found = [seen[count] for count in often]
    statistic = sum((f - wanted[c]) ** 2 / wanted[c] for f, c in zip(found, often, strict=True))
    statistic += (draws - sum(found) - rest) ** 2 / max(rest, 10)
    assert statistic < stats.chi2.isf(1e-4, len(often))
    assert seen.keys() <= wanted.keys()


def test_a_fixed_number_is_fixed() -> None:
    assert FixedRuns(3).draw(SeededRandomness(0)) == 3
    assert [str(FixedRuns(count)) for count in (1, 3)] == ["1 run", "3 runs"]


@pytest.mark.parametrize("runs", [*LAWS, FixedRuns(4)], ids=str)
def test_settings_survive(runs: RandomRuns | FixedRuns) -> None:
    assert runs_from_dict(runs_to_dict(runs)) == runs


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomRuns(1.0), lambda: RandomRuns(0.5, math.inf), lambda: RandomRuns(2000.0),
        lambda: RandomRuns(5.0, -1.0), lambda: RandomRuns(5.0, math.nan),
        lambda: RandomRuns(math.nan), lambda: RandomRuns("many"),  # type: ignore[arg-type]
        lambda: RandomRuns(1000, -0.995), lambda: RandomRuns(10, 1e16),
        lambda: FixedRuns(0), lambda: FixedRuns(1.5),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize("mean", [1.001, 1.5, 10, 1000])
@pytest.mark.parametrize(
    "shape", [-1 + 1e-12, -0.995, -0.9, -0.5, 1e-300, -1e-13, 1e-9, 1e3, 1e9, 1e16, 1e100, 1e308]
)
def test_a_law_is_refused_when_it_is_made_or_has_its_mean(mean: float, shape: float) -> None:
    try:
        runs = RandomRuns(mean, shape)
    except ConfigError:
        runs = None
    if runs is None:
        assert not -0.5 <= shape <= 1000
        return
    gamma, eta = Fraction(runs.gamma), runs.shape
    with mpmath.workdps(60):
        low = mpmath.mpf(gamma.numerator) / gamma.denominator
        found = (
            (1 / low - 1) / -mpmath.log(low)
            if eta == 0
            else eta * (1 / low - 1) / (1 - mpmath.power(low, eta))
        )
    assert float(found) == pytest.approx(mean, rel=2e-6)
    once, chance = next(iter(runs.law()))
    assert once == 1
    assert 0 < chance <= 1
    assert runs.draw(SeededRandomness(0)) >= 1
    assert np.isfinite(runs.divergences(np.full(len(ORDERS), 0.1), lambda epsilon: 0.0)).all()
