"""Training of two sides against the same in numbers, and its parts against plain integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privfed.errors import ConfigError
from privfed.he.ring import DEGREE, PLAIN_MODULUS, from_slots, to_slots, uniform_plain
from privfed.vertical.linear.guest import Guest
from privfed.vertical.linear.packing import MatrixPacking
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.projections import projected
from privfed.vertical.linear.series import Series, harmonics, identity_series, link_series
from privfed.vertical.linear.shares import matrix_product, negative, plus, residues, times
from privfed.vertical.linear.steps import step_sizes
from privfed.vertical.linear.waves import constants, guest_waves, host_waves
from privfed.vertical.references import fit_exactly
from privfed.vertical.roles import Family
from psi.errors import StateError
from tests.vertical.machines import Job, history, job, means, moved, reference, train

T = PLAIN_MODULUS
FAMILIES: tuple[Family, ...] = ("logistic", "linear", "poisson")
PENALTIES = (0.0, 0.01)


def coefficients(given: Job) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Those of standardised columns, after a training."""
    guest, host = given.sides()
    train(guest, host)
    assert guest.done
    assert host.done
    return given.fitted(np.concatenate([guest.coefficients, host.coefficients]))


# -- the machines against numbers -----------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("batches", [1, 3])
def test_each_step_is_that_of_integers(family: Family, penalty: float, batches: int) -> None:
    """Rounded sines and cosines move a residual by a stated bound, independently in each row.

    By Hoeffding, their sum passes 7 times the bound's root of squares once in 10^10.
    """
    given = job(family, penalty=penalty, batches=batches, iterations=6, coefficients="shared")
    plan = given.plan
    found = history(*given.sides())
    assert sorted(found) == list(range(7))
    for iteration in range(6):
        wanted, each = moved(given, iteration, found[iteration])
        size = plan.batch_size(iteration)
        units = plan.residual_scale(iteration)
        data = plan.link.rounding(units) * units
        penalised = 0.0
        if penalty:
            weighted = units * plan.penalty_weight(size)
            penalised = plan.identity.rounding(weighted) * weighted
        away = 7 * max(data, penalised) * each + 1
        whole = np.rint(wanted).astype(np.int64)
        low, high = (
            projected(plan.projection, whole + sign * away.astype(np.int64)) for sign in (-1, 1)
        )
        after = found[iteration + 1] >> plan.drop
        assert np.all(found[iteration + 1] == after << plan.drop)
        unscaled = np.rint(wanted * 2.0**-plan.drop)
        if np.array_equal(projected(plan.projection, whole), unscaled.astype(np.int64)):
            assert np.all((low - 1 <= after) & (after <= high + 1))
        else:  # onto the ball: near the edge it may shrink by one level more or less
            shrunk = projected(plan.projection, whole)
            level = np.linalg.norm(shrunk) * 2.0 ** (2 - plan.projection.beta_bits)
            level *= np.linalg.norm(unscaled) / np.linalg.norm(shrunk)
            assert np.linalg.norm(after - shrunk) <= level + np.linalg.norm(high - low)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_training_is_that_of_numbers(family: Family, penalty: float) -> None:
    """But for rounding, which large steps amplify."""
    given = job(family, penalty=penalty, seed=1, strength=0.6)
    assert coefficients(given) == pytest.approx(reference(given), abs=3e-3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_training_reaches_the_exact_fit(family: Family, penalty: float) -> None:
    given = job(family, rows=2000, penalty=penalty, seed=2, strength=0.6)
    fit = fit_exactly(given.columns, given.labels, family, penalty)
    found = coefficients(given)
    assert found == pytest.approx([*fit.coefficients, fit.intercept], abs=4e-3)


def test_a_penalty_counts() -> None:
    """Without it, or with twice as much, one is elsewhere: the bound above could tell."""
    given = job(rows=2000, penalty=0.05, seed=2)
    found = coefficients(given)
    for other in (0.0, 0.025, 0.1):
        fit = fit_exactly(given.columns, given.labels, "logistic", other)
        assert np.abs(found[:-1] - fit.coefficients).max() > 0.02


def test_batches_come_near_the_exact_fit() -> None:
    given = job(rows=3000, batches=3, iterations=24, seed=3)
    fit = fit_exactly(given.columns, given.labels, "logistic", 0.0)
    assert coefficients(given) == pytest.approx([*fit.coefficients, fit.intercept], abs=0.1)


def test_shared_coefficients_are_those_that_would_open() -> None:
    own = job(iterations=8, seed=4)
    shared = job(iterations=8, seed=4, coefficients="shared")
    guest, host = shared.sides()
    train(guest, host)
    total = plus(guest.shares, host.shares)
    values = total.astype(np.int64) - T * (total > T // 2)
    found = shared.fitted(values / shared.plan.coefficient_scale)
    assert found == pytest.approx(coefficients(own), abs=2e-3)
    for side in (guest, host):
        with pytest.raises(StateError, match="coefficients stay shared"):
            _ = side.coefficients


def test_coefficients_open_in_the_units_of_the_plan() -> None:
    given = job(iterations=4)
    guest, host = given.sides()
    train(guest, host)
    for side, count in ((guest, 4), (host, 2)):
        assert side.opened.dtype == np.int64
        assert side.opened.shape == (count,)
        unit = 2.0 ** (given.plan.drop + given.plan.rounding) / given.plan.coefficient_scale
        assert np.array_equal(side.coefficients, side.opened * unit)
        assert 2**-16 < unit < 2**-13
        with pytest.raises(StateError, match="coefficients opened"):
            _ = side.shares


def test_both_name_one_model_and_no_two_sessions_do() -> None:
    given = job(iterations=1)
    models = []
    for _ in range(2):
        guest, host = given.sides()
        with pytest.raises(StateError, match="not done"):
            _ = guest.model
        train(guest, host)
        assert guest.model == host.model
        models.append(guest.model)
    assert models[0] != models[1]


# -- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.zeros(400), "all labels are the same"),
        (np.arange(400.0), "0 and 1"),
        (np.zeros(399), "one finite label"),
        (np.full(400, np.nan), "one finite label"),
    ],
)
def test_labels_that_cannot_train_are_refused(labels: Any, match: str) -> None:
    given = job()
    with pytest.raises(ConfigError, match=match):
        Guest(given.plan, given.guest, given.whitenings[0], labels)


def test_labels_that_are_too_long_are_refused() -> None:
    given = job("linear")
    with pytest.raises(ConfigError, match="root mean square"):
        Guest(given.plan, given.guest, given.whitenings[0], given.labels * 1.1)


def test_rows_that_do_not_fit_are_refused() -> None:
    given = job()
    broken = given.guest.copy()
    broken[3, 1] = np.inf
    for block, whitening in (
        (given.guest[1:], given.whitenings[0]),
        (given.guest[:, 1:], given.whitenings[0]),
        (given.guest, given.whitenings[0][1:]),
        (broken, given.whitenings[0]),
    ):
        with pytest.raises(ConfigError):
            Guest(given.plan, block, whitening, given.labels)


def test_a_whitening_without_the_plans_penalty_is_refused() -> None:
    """Its penalty rows would be longer than the proof says."""
    plain, given = job(seed=5), job(seed=5, penalty=0.05)
    with pytest.raises(ConfigError, match="whitening_ridge"):
        Guest(given.plan, plain.guest, plain.whitenings[0] * 3, plain.labels)


# -- packing --------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_packed_product_is_numpys(data: st.DataObject) -> None:
    width = 1 << data.draw(st.integers(0, 13))
    columns = data.draw(st.integers(1, min(2 * width, 12) if width < 12 else 2 * width))
    rows = data.draw(st.integers(1, min(3 * (DEGREE // width), 3000)))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    packing = MatrixPacking(rows, columns, width)
    matrix = random.integers(-640, 641, (rows, columns))
    vector = random.integers(0, T, columns).astype(np.uint64)
    plain = packing.matrix(matrix)
    assert plain.shape == (packing.answers, packing.ciphertexts, DEGREE)
    messages = packing.vector(vector)
    opened = np.zeros((packing.answers, len(packing.positions)), np.uint64)
    for answer in range(packing.answers):
        for cipher in range(packing.ciphertexts):
            product = polynomial_product(residues(plain[answer, cipher]), messages[cipher])
            opened[answer] = plus(opened[answer], product[packing.positions])
    wanted = [
        sum(int(a) * int(b) for a, b in zip(row, vector, strict=True)) % T for row in matrix[:9]
    ]
    found = packing.results(opened)
    assert found.shape == (rows,)
    assert found[:9].tolist() == wanted
    assert np.array_equal(found, matrix_product(matrix.astype(float), vector))


def polynomial_product(one: Any, other: Any) -> Any:
    """Of polynomials mod t and x^N + 1, by values."""
    a, b = (values_at(each) for each in (one, other))
    values = np.array([x * y % T for x, y in zip(a.tolist(), b.tolist(), strict=True)], np.uint64)
    return to_slots(values[np.newaxis])[0]


def values_at(polynomial: Any) -> Any:
    return from_slots(polynomial[np.newaxis])[0]


# -- series and steps -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "mean", "error"),
    [
        ("logistic", lambda z: 1 / (1 + np.exp(-z)), 6e-4),
        ("linear", lambda z: z, 5e-5),
        ("poisson", np.exp, 2e-4),
    ],
)
def test_a_link_is_within_its_error(family: Family, mean: Any, error: float) -> None:
    plan = job(family).plan
    link = plan.link
    scores = np.random.default_rng(0).uniform(-plan.score_bound, plan.score_bound, 50_000)
    found = np.abs(link.values(scores, plan.period) - mean(scores)).max()
    assert found <= link.error * (1 + 1e-2)
    assert link.error < error


def test_odd_functions_are_odd() -> None:
    scores = np.linspace(0, 36, 1000)
    for series in (link_series("logistic", 96.0, 16, 36.0), identity_series(96.0, 16, 16.8)):
        assert not series.cosines.any()
        ahead, back = series.values(scores, 96.0), series.values(-scores, 96.0)
        assert ahead + back == pytest.approx(np.full(1000, 2 * series.constant), abs=1e-12)
    assert link_series("poisson", 20.0, 12, 3.5).cosines.any()


def test_beyond_half_a_period_a_series_turns() -> None:
    """Why a plan must prove its scores."""
    link = link_series("logistic", 96.0, 16, 36.0)
    assert link.values(np.array([60.0]), 96.0)[0] < 0.01


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_steps_shrink_every_curvature_as_chebyshev_says(count: int) -> None:
    least, most = 0.02, 0.52
    steps = step_sizes(count, least, most)
    middle, half = (most + least) / 2, (most - least) / 2
    wanted = sorted(
        1 / (middle + half * np.cos((2 * k + 1) * np.pi / (2 * count))) for k in range(count)
    )
    assert sorted(steps) == pytest.approx(wanted)
    curvatures = np.linspace(least, most, 999)
    left = np.prod([1 - step * curvatures for step in steps], axis=0)
    bound = 1 / np.cosh(count * np.arccosh(middle / half))
    assert np.abs(left).max() <= bound * (1 + 1e-9)


def test_no_error_grows_far_between_steps() -> None:
    """In ascending order they would pass 10^6."""
    curvatures = np.linspace(0.02, 0.52, 999)
    steps = step_sizes(20, 0.02, 0.52)
    factors = [1 - step * curvatures for step in steps]
    assert np.abs(np.cumprod(factors, axis=0)).max() < 40
    worst = [1 - step * curvatures for step in sorted(steps, reverse=True)]
    assert np.abs(np.cumprod(worst, axis=0)).max() > 1e6


@pytest.mark.parametrize(
    ("least", "most", "bound"), [(0.02, 0.52, 5.0), (0.15, 2.05, 1.0), (0.6, 3.0, 0.5)]
)
def test_little_is_left_of_the_noise_that_steps_add(
    least: float, most: float, bound: float
) -> None:
    """Noise of each gradient, as a multiple of its own size; by size the other way it is more."""
    curvatures = np.linspace(least, most, 999)

    def left(steps: tuple[float, ...]) -> float:
        variance = np.zeros_like(curvatures)
        for step in steps:
            variance = variance * (1 - step * curvatures) ** 2 + step**2
        return float(np.sqrt(variance).mean())

    steps = step_sizes(20, least, most)
    assert left(steps) < bound
    assert left((*steps[:14], *reversed(steps[14:]))) > 1.5 * left(steps)


def test_steps_of_a_long_training_are_made_at_once() -> None:
    steps = step_sizes(1000, 0.02, 0.52)
    assert len(set(steps)) == 1000


# -- shares ---------------------------------------------------------------------------------------

RESIDUE = st.one_of(st.integers(0, T - 1), st.sampled_from([0, 1, T // 2, T // 2 + 1, T - 1]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(RESIDUE, RESIDUE), min_size=1), st.integers(-(2**14) + 1, 2**14 - 1))
def test_arithmetic_is_that_of_integers(pairs: list[tuple[int, int]], factor: int) -> None:
    one, other = (np.array(each, np.uint64) for each in zip(*pairs, strict=True))
    assert plus(one, other).tolist() == [(a + b) % T for a, b in pairs]
    assert negative(one).tolist() == [-a % T for a, _ in pairs]
    assert times(one, factor).tolist() == [a * factor % T for a, _ in pairs]
    centred = np.array([a - T * (a > T // 2) for a, _ in pairs])
    assert residues(centred).tolist() == one.tolist()


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_matrix_products_are_exact(data: st.DataObject) -> None:
    largest = 1 << data.draw(st.integers(0, 24))
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 40))
    entry = st.one_of(st.integers(-largest, largest), st.sampled_from([-largest, largest]))
    matrix = data.draw(st.lists(entry, min_size=rows * columns, max_size=rows * columns))
    vector = data.draw(st.lists(RESIDUE, min_size=columns, max_size=columns))
    whole = np.array(matrix, float).reshape(rows, columns)
    wanted = [
        sum(int(a) * b for a, b in zip(row, vector, strict=True)) % T for row in whole.tolist()
    ]
    assert matrix_product(whole, np.array(vector, np.uint64)).tolist() == wanted


def test_a_matrix_without_rows_or_columns_gives_zeros() -> None:
    assert matrix_product(np.zeros((0, 3)), np.zeros(3, np.uint64)).tolist() == []
    assert matrix_product(np.zeros((2, 0)), np.zeros(0, np.uint64)).tolist() == [0, 0]


# -- waves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_waves_of_both_sides_make_the_link(family: Family) -> None:
    """Two blocks of rows, penalty rows last: the products' sums are S times the residual."""
    given = job(family, rows=9000, penalty=0.01, iterations=1)
    plan = given.plan
    random = np.random.default_rng(6)
    count = 9000 + plan.penalty_rows
    bounds = np.where(np.arange(count) < 9000, plan.score_bound, plan.identity_bound)
    scores = random.uniform(-bounds, bounds)
    whole = np.rint(scores * T / plan.period).astype(np.int64)
    mine = uniform_plain(2).reshape(-1)[:count]
    theirs = plus(residues(whole), negative(mine))
    found = []
    for own, other in zip(guest_waves(plan, 0, mine), host_waves(plan, 0, theirs), strict=True):
        assert own.shape == other.shape == (2 * plan.harmonics, DEGREE)
        signed = [from_slots(each).astype(np.int64) for each in (own, other)]
        signed = [each - T * (each > T // 2) for each in signed]
        found.append((signed[0].astype(object) * signed[1]).sum(axis=0))
    total = np.concatenate(found)
    assert not total[count:].any()
    known = constants(plan, 0, given.labels).astype(np.int64)
    known -= T * (known > T // 2)
    units = plan.residual_scale(0)
    wanted = means(plan, scores, 9000)
    wanted[:9000] -= given.labels
    error = np.abs((total[:count] + known).astype(float) / units - wanted)
    assert error[:9000].max() <= plan.link.rounding(units)
    weight = plan.penalty_weight(9000)
    assert error[9000:].max() <= weight * plan.identity.rounding(units * weight) + 1 / units
    # The bound is the worst case, and no multiple of it.
    assert error[:9000].max() > 0.1 * plan.link.rounding(units)


def link_bias(plan: VerticalPlan, score: float) -> float:
    """Ask for one score's mean in all rows, whose shares differ; return how far off it is."""
    mine = uniform_plain(-(-plan.rows // DEGREE)).reshape(-1)[: plan.rows]
    whole = np.full(plan.rows, round(score * T / plan.period), np.int64)
    theirs = plus(residues(whole), negative(mine))
    total = 0.0
    for each in zip(guest_waves(plan, 0, mine), host_waves(plan, 0, theirs), strict=True):
        own, other = (from_slots(one).astype(np.int64) for one in each)
        own, other = (one - T * (one > T // 2) for one in (own, other))
        total += float((own.astype(float) * other).sum())
    found = total / plan.rows / plan.residual_scale(0) + plan.link.constant
    return float(found - plan.link.values(np.array([score]), plan.period)[0])


def test_many_rows_round_no_harmonic_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """One scale for all harmonics would bias the link, as no number of rows averages away."""
    plan = VerticalPlan(
        rows=100_000, guest_columns=21, host_columns=20, guest_names=20, host_names=20
    )
    scores = (-1.0, 0.5, 1.0, 4.0)
    # One mean is off by 2e-5 by chance.
    assert max(abs(link_bias(plan, score)) for score in scores) < 5e-4

    def one_scale(series: Series, units: float) -> NDArray[np.float64]:
        return np.full(len(series.sines), np.sqrt(units * np.abs(series.sines).max()))

    monkeypatch.setattr(Series, "scales", one_scale)
    assert max(abs(link_bias(plan, score)) for score in scores) > 4e-3


def test_a_series_error_of_rounding_shrinks_with_the_root_of_its_scale() -> None:
    series = Series(0.0, np.ones(4), np.zeros(4), 0.0)
    assert series.rounding(1e8) == pytest.approx(series.rounding(1e4) / 100, rel=0.05)
    assert harmonics(3).tolist() == [1, 3, 5]
