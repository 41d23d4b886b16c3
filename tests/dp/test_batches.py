"""Batches of bounded size: drawn as said, and their cost above that of every real mechanism.

The references count every outcome of the coins, or integrate a real one-dimensional mechanism.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from privfed.dp import PrivacyPlan, SeededRandomness, calibrate, dp_sgd_epsilon
from privfed.dp.accounting import compose
from privfed.dp.batches import Cases, covers, poisson_batch, together, unit_cases
from privfed.errors import ConfigError

Law = dict[tuple[int, ...], float]


def batches(rows: int, rate: float, most: int) -> Law:
    """Every batch with its probability."""
    found: Law = defaultdict(float)
    for coins in itertools.product((0, 1), repeat=rows):
        heads = [row for row, coin in enumerate(coins) if coin]
        chance = rate ** len(heads) * (1 - rate) ** (rows - len(heads))
        kept = list(itertools.combinations(heads, min(most, len(heads))))
        for batch in kept:
            found[batch] += chance / len(kept)
    return found


def counted(rows: int, own: int, rate: float, most: int) -> dict[int, np.ndarray]:
    """For each number of others in the batch, chances of it and of 0, 1 … of the first rows."""
    found: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(own + 1))
    for batch, chance in batches(rows, rate, most).items():
        mine = sum(row < own for row in batch)
        found[len(batch) - mine][mine] += chance
    return found


def tails(chances: Any, size: int) -> np.ndarray:
    return np.cumsum(np.pad(chances, (0, size - len(chances)))[::-1])[::-1][1:]


SIZES = st.tuples(st.integers(2, 7), st.integers(1, 6)).filter(lambda both: both[1] < both[0])
RATES = st.sampled_from([0.1, 0.3, 0.5, 0.9, 1.0])


@given(SIZES, RATES)
@settings(max_examples=40, deadline=None)
def test_the_cases_of_a_row_are_those_of_counting(sizes: tuple[int, int], rate: float) -> None:
    rows, most = sizes
    exact = counted(rows, 1, rate, most)
    ordinary = sum((exact[others] for others in range(most - 1)), np.zeros(2))
    wanted = [ordinary, exact[most], exact[most - 1]]
    found = unit_cases(1, rate, (rows, most))
    likely = [each for each in wanted if each.sum() > 1e-14]
    assert len(found) == len(likely)
    for (weight, chances), row in zip(found, likely, strict=True):
        assert row.sum() <= weight * (1 + 1e-12)
        assert weight == pytest.approx(row.sum(), rel=1e-8)
        assert np.allclose(np.pad(chances, (0, 2 - len(chances))), row / row.sum(), rtol=1e-7)


@given(SIZES, RATES, st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_every_unit_with_as_many_rows_or_fewer_is_covered(
    sizes: tuple[int, int], rate: float, own: int
) -> None:
    """Hockey-stick by hockey-stick, of the pair that sees how many others are in the batch."""
    rows, most = sizes
    bound = unit_cases(own, rate, (rows, most))
    for fewer in range(1, min(own, rows) + 1):
        exact = tuple(
            (float(row.sum()), tuple(row / row.sum()))
            for row in counted(rows, fewer, rate, most).values()
            if row.sum() > 0
        )
        for sigma, epsilon in itertools.product((0.5, 2.0), (-1.0, 0.0, 0.7, 2.5)):
            for one, other in zip(
                pair_delta(exact, sigma, epsilon), pair_delta(bound, sigma, epsilon), strict=True
            ):
                assert one <= other + 1e-12


def grid(sigma: float, steps: int = 64) -> np.ndarray:
    return np.arange(-12 * sigma - 8, 12 * sigma + 8, sigma / steps)


def pair_delta(cases: Cases, sigma: float, epsilon: float) -> tuple[float, float]:
    """δ of the cases in both directions, by a sum over fine steps (exact to 12 digits)."""
    x = grid(sigma)
    base = stats.norm.pdf(x, scale=sigma)
    both = np.zeros(2)
    for weight, chances in cases:
        with_unit = sum(p * stats.norm.pdf(x, j, sigma) for j, p in enumerate(chances))
        for place, (p, q) in enumerate(((with_unit, base), (base, with_unit))):
            both[place] += weight * np.maximum(p - math.exp(epsilon) * q, 0).sum() * sigma / 64
    return float(both[0]), float(both[1])


def real_delta(
    rows: int, own: int, rate: float, most: int, values: Any, sigma: float, epsilon: float
) -> tuple[float, float]:
    """δ of a real mechanism, whose rows have these values and whose first ones are zeroed out."""
    x = grid(sigma, 512)  # steps so fine that the kink of max(·, 0) costs less than 1e-6
    with_unit, without = np.zeros_like(x), np.zeros_like(x)
    for batch, chance in batches(rows, rate, most).items():
        others = sum(values[row] for row in batch if row >= own)
        mine = sum(values[row] for row in batch if row < own)
        with_unit += chance * stats.norm.pdf(x, others + mine, sigma)
        without += chance * stats.norm.pdf(x, others, sigma)
    return (
        float(np.maximum(with_unit - math.exp(epsilon) * without, 0).sum() * sigma / 512),
        float(np.maximum(without - math.exp(epsilon) * with_unit, 0).sum() * sigma / 512),
    )


def accounted(cases: Cases, sigma: float, epsilon: float) -> tuple[float, float]:
    removed, added = compose([(sigma, cases, 1)], 1e-9)
    return removed.delta(epsilon), added.delta(epsilon)


@pytest.mark.parametrize("own", [1, 2])
@pytest.mark.parametrize("most", [1, 2, 3])
@pytest.mark.parametrize("rate", [0.2, 0.5, 1.0])
def test_no_real_mechanism_leaks_more(own: int, most: int, rate: float) -> None:
    """Others pull the sum one way, so that it tells of how many of them are there."""
    rows, rng = 5, np.random.default_rng(own + 10 * most)
    cases = unit_cases(own, rate, (rows, most))
    others = [[-1.0] * (rows - own), [1.0] * (rows - own), rng.uniform(-1, 1, rows - own).tolist()]
    for sigma, epsilon in itertools.product((0.6, 1.5), (0.0, 1.0, 3.0)):
        bound = accounted(cases, sigma, epsilon)
        for values in others:
            real = real_delta(rows, own, rate, most, [1.0] * own + values, sigma, epsilon)
            assert real[0] <= bound[0] + 1e-6
            assert real[1] <= bound[1] + 1e-6


def test_accounting_as_if_nothing_were_cut_is_no_bound() -> None:
    """Cut to one row of five: that no other row stays tells that the unit's did."""
    rows, most, rate, sigma, epsilon = 5, 1, 0.5, 0.3, 1.0
    real = real_delta(rows, 1, rate, most, [1.0] * rows, sigma, epsilon)[1]
    poisson = accounted(unit_cases(1, rate), sigma, epsilon)[1]
    cut = accounted(unit_cases(1, rate, (rows, most)), sigma, epsilon)[1]
    assert poisson < 1e-9
    assert 0.1 < real <= cut


@given(st.lists(st.tuples(SIZES, RATES, st.integers(0, 2)), min_size=2, max_size=4))
@settings(max_examples=12, deadline=None)
def test_cases_of_several_parties_cover_each_combination(
    parties: list[tuple[tuple[int, int], float, int]],
) -> None:
    """Pooled or not: the sum over all combinations of cases, one by one, is below."""
    each = [unit_cases(own, rate, sizes) for sizes, rate, own in parties]
    pooled = together(each)
    assert len(pooled) <= 16
    every = []
    for chosen in itertools.product(*each):
        chances = np.ones(1)
        for _, own in chosen:
            chances = np.convolve(chances, own)
        every.append((math.prod(weight for weight, _ in chosen), tuple(chances)))
    for epsilon in (-0.5, 0.0, 1.5):
        exact, bound = (pair_delta(tuple(c), 1.0, epsilon) for c in (every, pooled))
        assert all(one <= other + 1e-12 for one, other in zip(exact, bound, strict=True))


def test_covers_compares_case_by_case() -> None:
    one = ((0.5, (0.5, 0.5)), (0.5, (0.9, 0.1)))
    assert covers(one, one)
    assert covers(((1.0, (0.2, 0.8)),), ((1.0, (0.3, 0.7)),))
    assert not covers(((1.0, (0.2, 0.8)),), one)
    assert not covers(one, ((0.5, (0.5, 0.5)), (0.6, (0.9, 0.1))))
    assert not covers(one, ((0.5, (0.5, 0.5)), (0.5, (0.9, 0.0, 0.1))))


@pytest.mark.parametrize(("rows", "rate"), [(10_000, 0.01), (200_000, 0.001), (1_000_000, 0.01)])
def test_weights_of_large_parties_have_their_digits(rows: int, rate: float) -> None:
    """Against sums over binomial tails in logarithms."""
    most = math.ceil(rows * rate + 4 * math.sqrt(rows * rate))
    count = np.arange(most, min(rows, most + 4000))
    log = special.gammaln(rows) - special.gammaln(count + 1) - special.gammaln(rows - count)
    law = np.exp(log + count * math.log(rate) + (rows - 1 - count) * math.log1p(-rate))
    before = stats.binom.pmf(most - 1, rows - 1, rate)
    in_batch = rate * (before + float(law @ (most / (count + 1))))
    near = in_batch + (1 - rate) * before
    found = unit_cases(1, rate, (rows, most))[2]
    assert found[0] == pytest.approx(near, rel=1e-6)
    assert found[1][1] == pytest.approx(in_batch / near, rel=1e-6)


# --- What it costs in a plan ---------------------------------------------------------------------

SETTINGS: dict[str, Any] = {
    "noise": "central",
    "rows": (3200, 1600),
    "sampling_rates": (0.02, 0.02),
    "rounds": 400,
    "l2_clip_norm": 1.0,
    "placements": [(2, 1)],
    "privacy_unit": "one person",
}


def calibrated(sizes: tuple[int, int] | None) -> PrivacyPlan:
    return calibrate(1.0, 1e-6, truncated_batch_sizes=sizes, **SETTINGS)


def test_calibration_pays_for_the_cut() -> None:
    """Four standard deviations above the mean it costs next to nothing, at the mean a lot."""
    free, far, near, tight = map(calibrated, (None, (96, 55), (80, 44), (64, 32)))
    assert free.noise_multiplier <= far.noise_multiplier < 1.002 * free.noise_multiplier
    assert far.noise_multiplier < near.noise_multiplier < tight.noise_multiplier
    assert all(plan.epsilon <= 1.0 for plan in (far, near, tight))
    caps = [(3200, 80), (1600, 44)]
    how: dict[str, Any] = {
        "sampling_rates": (0.02, 0.02), "steps": (400, 400), "placement": (2, 1), "joint": True,
    }  # fmt: skip
    spent = dp_sgd_epsilon(near.noise_multiplier, delta=1e-6, batch_caps=caps, **how)
    assert near.epsilon == pytest.approx(spent)
    assert dp_sgd_epsilon(near.noise_multiplier, delta=1e-6, **how) < spent


@pytest.mark.parametrize("caps", [[(100, 20)], [(100, 20), (50, 0)], [(0, 5), (50, 5)]])
def test_caps_that_are_none_are_refused(caps: list[tuple[int, int]]) -> None:
    with pytest.raises(ConfigError, match="from 1 up"):
        dp_sgd_epsilon(
            2.0, sampling_rates=[0.1, 0.1], steps=[1, 1], placement=(1, 1), delta=1e-5,
            batch_caps=caps,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "percent"), [((96, 55), 0.2), ((88, 50), 2.8), ((80, 44), 23), ((72, 38), 95)]
)
def test_what_a_cut_costs_is_as_printed(sizes: tuple[int, int], percent: float) -> None:
    """The table of docs/accounting.md, four to one standard deviations above the mean."""
    means = [64, 32]
    deviations = [(b - m) / math.sqrt(0.98 * m) for b, m in zip(sizes, means, strict=True)]
    assert round(deviations[0]) == round(deviations[1]) == [95, 23, 2.8, 0.2].index(percent) + 1
    ratio = calibrated(sizes).noise_multiplier / calibrated(None).noise_multiplier
    assert 0.7 * percent < 100 * (ratio - 1) < 1.05 * percent


def test_a_cut_that_never_happens_costs_nothing() -> None:
    assert unit_cases(3, 0.02, (3200, 3200)) == unit_cases(3, 0.02)
    assert unit_cases(3, 0.02, (10**6, 40_000)) == unit_cases(3, 0.02)


def test_a_plan_says_where_it_cuts_and_keeps_it() -> None:
    plan = calibrated((80, 44))
    assert "Poisson, secret coins at each party, at most 44 to 80 by party a batch" in (
        plan.statement()
    )
    assert PrivacyPlan.from_dict(plan.to_dict()) == plan
    assert "truncated_batch_sizes" not in calibrated(None).to_dict()


# --- What is drawn -------------------------------------------------------------------------------


def test_batches_have_the_law_that_is_accounted() -> None:
    """Every batch as often as counted: chi-square, a false alarm in 10,000."""
    rows, rate, most, draws = 4, 0.6, 2, 20_000
    source = SeededRandomness(3)
    seen: dict[tuple[int, ...], int] = defaultdict(int)
    for _ in range(draws):
        (batch,) = poisson_batch(source, rate, rows, most).nonzero()
        seen[tuple(map(int, batch))] += 1
    law = batches(rows, rate, most)
    assert seen.keys() <= law.keys()
    wanted = np.array([law[batch] for batch in sorted(law)]) * draws
    found = np.array([seen[batch] for batch in sorted(law)])
    assert ((found - wanted) ** 2 / wanted).sum() < stats.chi2.isf(1e-4, len(law) - 1)


class Tied:
    """Words that repeat at first: rows that tie have no order."""

    simulation = True

    def __init__(self) -> None:
        self.drawn = 0

    def words(self, count: int) -> np.ndarray:
        self.drawn += 1
        return np.zeros(count, np.uint64) if self.drawn < 3 else np.arange(count, dtype=np.uint64)

    def coins(self, probability: float, count: int) -> np.ndarray:
        return np.ones(count, np.bool_)

    def noisy(self, values: np.ndarray, standard_deviation: float) -> np.ndarray:
        return values


def test_ties_are_drawn_again() -> None:
    source = Tied()
    assert poisson_batch(source, 1.0, 4, 2).tolist() == [True, True, False, False]
    assert source.drawn == 3
