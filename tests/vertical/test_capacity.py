"""What a plan proves, against worst cases: scores, coefficients, noise, and what is refused.

Shares are joined here, as nobody does outside of a test, after every iteration.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.errors import CapacityError, ConfigError
from privfed.he.ring import DEGREE, PLAIN_MODULUS
from privfed.vertical.linear.capacity import MOST_SESSIONS, layouts_of, prediction_layout
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.projections import projected_bound
from privfed.vertical.linear.rows import batch_matrix, clipped_share, integer_rows, with_intercept
from privfed.vertical.roles import Family, Role
from tests.vertical.machines import Job, history, job, moved

T = PLAIN_MODULUS
FAMILIES: tuple[Family, ...] = ("logistic", "linear", "poisson")


def hostile(kind: str, family: Family, **settings_: Any) -> Job:
    """Columns and labels that drive coefficients as far as they go; nothing of them is whitened."""
    base = job(family, rows=300, **settings_)
    random = np.random.default_rng(7)
    sign = np.where(np.arange(300) % 2, 1.0, -1.0)
    guest, host, labels = base.guest.copy(), base.host.copy(), base.labels
    if kind == "random signs":  # long rows in every direction
        guest = random.choice([-1.0, 1.0], guest.shape) * 9
        host = random.choice([-1.0, 1.0], host.shape) * 9
    elif kind == "separable":  # every column is the label
        guest[:] = sign[:, None]
        host[:] = sign[:, None]
    elif kind == "at the bound":  # one direction, and rows that no covariance check shortens much
        guest[:], host[:] = 0, 0
        guest[::7, 0] = 100 * sign[::7]
        host[::7, 0] = 100 * sign[::7]
    if family == "logistic":
        labels = (sign > 0).astype(float)
    elif family == "linear":
        labels = sign / np.sqrt(np.mean(sign**2))
    else:
        labels = np.zeros(300)
        labels[::7] = 6.0 * math.sqrt(7) * 0.99  # all counts in few rows: as large as they may be
    return dataclasses.replace(base, guest=guest, host=host, labels=labels)


def check_bounds(given: Job, found: dict[int, Any]) -> float:
    """Check coefficients and scores before every iteration; return the longest, as a share."""
    plan, longest = given.plan, 0.0
    for iteration, values in found.items():
        norm = math.sqrt(sum(int(each) ** 2 for each in values.tolist()))
        assert norm <= plan.ball * plan.coefficient_scale * (1 + 1e-12)
        longest = max(longest, norm / (plan.ball * plan.coefficient_scale))
        if iteration == plan.iterations:
            break
        rows = given.rows(iteration)
        size = plan.batch_size(iteration)
        scores = np.array(
            [sum(int(a) * int(b) for a, b in zip(row, values, strict=True)) for row in rows]
        )
        assert np.abs(scores[:size]).max() <= plan.score_bound / plan.period * T * (1 + 1e-12)
        if plan.penalty:
            most = plan.identity_bound / plan.period * T * (1 + 1e-9)
            assert np.abs(scores[size:]).max() <= most
        assert np.abs(scores).max() < T // 2
        stepped, _ = moved(given, iteration, values)
        reach = plan.reach * plan.coefficient_scale
        assert np.linalg.norm(stepped) <= reach
        # Sure of it whatever rounding does to residuals.
        assert plan.projection.value_bits - 1 >= math.log2(reach)
    return longest


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["random signs", "separable", "at the bound"])
def test_no_score_leaves_its_bound(kind: str, family: Family) -> None:
    """Steps are Chebyshev's, of which the largest is 26 times the smallest."""
    given = hostile(kind, family, iterations=8, coefficients="shared", seed=8)
    if family == "logistic":
        assert max(given.plan.steps) > 20 * min(given.plan.steps)
    longest = check_bounds(given, history(*given.sides()))
    if kind == "separable" and family == "logistic":
        assert longest > 0.9  # the ball was needed, and is not much smaller than it may be


@pytest.mark.parametrize("family", FAMILIES)
def test_nor_with_a_penalty_and_batches(family: Family) -> None:
    given = hostile("separable", family, iterations=9, penalty=0.02, batches=3)
    given = dataclasses.replace(
        given, plan=given.plan.__class__(**{**as_settings(given.plan), "coefficients": "shared"})
    )
    assert check_bounds(given, history(*given.sides())) > 0.05


@pytest.mark.slow
def test_nor_in_many_iterations() -> None:
    given = hostile("separable", "logistic", iterations=150, coefficients="shared")
    assert check_bounds(given, history(*given.sides())) > 0.9


def as_settings(plan: VerticalPlan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__struct_fields__}


# -- rows -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_row_is_longer_than_the_plan_says(data: st.DataObject) -> None:
    columns = data.draw(st.integers(1, 9))
    plan = plan_of(columns)
    number = st.floats(-1e9, 1e9)
    flat = data.draw(st.lists(number, min_size=4 * columns, max_size=4 * columns))
    block = np.array(flat).reshape(4, columns)
    role: Role
    for role, norm in (("guest", plan.guest_norm), ("host", plan.host_norm)):
        rows = integer_rows(plan, role, block)
        lengths = [math.sqrt(sum(int(each) ** 2 for each in row)) for row in rows.tolist()]
        assert max(lengths) <= plan.entry_scale * norm
        assert np.array_equal(rows, np.rint(rows))
        sums = np.abs(rows).sum(axis=1)
        assert sums.max() <= layouts_of(plan, 0).guest_backward.row_sum / plan.rows


def plan_of(columns: int = 3, **changed: Any) -> VerticalPlan:
    settings_ = {
        "rows": 100,
        "guest_columns": columns,
        "host_columns": columns,
        "guest_names": columns,
        "host_names": columns,
    }
    return VerticalPlan(**{**settings_, **changed})


def test_usual_rows_are_not_clipped() -> None:
    given = job(rows=5000)
    plan = given.plan
    assert clipped_share(plan, "guest", given.guest) < 0.01
    far = np.vstack([given.guest[:-1], np.full((1, 4), 50.0)])
    assert clipped_share(plan, "guest", far) >= 1 / 5000
    short = np.full((5000, 4), 0.5)
    assert clipped_share(plan, "guest", short) == 0
    assert np.array_equal(integer_rows(plan, "guest", short), np.rint(64 * short))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_batch_is_no_wider_than_the_plan_says(data: st.DataObject) -> None:
    """Whatever was cut off to make integers of it again."""
    plan = plan_of(4, rows=20, batches=data.draw(st.sampled_from([1, 2])))
    scale = data.draw(st.sampled_from([0.3, 1.1, 1.2, 2.0, 50.0]))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    block = scale * random.normal(size=(20, 1)) + 0.1 * random.normal(size=(20, 4))
    rows = integer_rows(plan, "guest", block)
    matrix = batch_matrix(plan, "guest", rows, np.eye(4)[:, :3], 0)
    part = plan.batch_rows(0)
    width = np.linalg.eigvalsh(matrix.T @ matrix)[-1] / len(matrix) / plan.entry_scale**2
    assert width <= plan.covariance * (1 + 1e-12)
    assert np.all(np.abs(matrix) <= np.abs(rows[part.start : part.stop]))
    assert np.array_equal(matrix, np.rint(matrix))


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 30])
@pytest.mark.parametrize("penalty", [1e-4, 0.01, 1.0])
def test_penalty_rows_are_no_longer_than_the_plan_says(columns: int, penalty: float) -> None:
    """The worst whitening that a side may have: every direction at the plan's floor."""
    plan = plan_of(columns + 1, guest_names=columns, penalty=penalty)
    random = np.random.default_rng(0)
    turned = np.linalg.qr(random.normal(size=(columns, columns)))[0]
    whitening = turned / plan.whitening_floor
    rows = integer_rows(plan, "guest", np.zeros((100, columns + 1)))
    penalties = batch_matrix(plan, "guest", rows, whitening, 0)[100:]
    longest = np.linalg.norm(penalties, axis=1).max() / plan.entry_scale
    assert longest * plan.ball <= plan.identity_bound * (1 + 1e-12)
    assert longest * plan.ball > 0.9 * plan.identity_bound
    sums = np.abs(penalties).sum(axis=1)
    rows_in_all = 100 + plan.penalty_rows
    assert sums.max() <= layouts_of(plan, 0).guest_backward.row_sum / rows_in_all


# -- the projection -------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("change", [{}, {"penalty": 0.01}, {"rows": 20_000, "batches": 4}])
def test_what_comes_out_of_a_projection_is_in_the_ball(
    family: Family, change: dict[str, Any]
) -> None:
    plan = plan_of(family=family, **change)
    unit = plan.coefficient_scale / (1 << plan.drop)
    reach = math.ceil((plan.reach + 1 / 16) * unit) + plan.lanes
    assert projected_bound(plan.projection, reach) <= (plan.ball * unit) ** 2
    # In units of one: the ball times the longest row is the bound, within half a period.
    longest = math.hypot(plan.guest_norm, plan.host_norm)
    assert plan.ball * longest == pytest.approx(plan.score_bound)
    assert plan.score_bound < plan.period / 2
    assert plan.reach * plan.coefficient_scale < 1 << (plan.projection.value_bits - 1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("batches", [1, 5])
def test_a_step_reaches_no_farther_than_the_plan_says(family: Family, batches: int) -> None:
    """Both blocks alike and as wide as they may be, all residuals as large as they can be."""
    plan = plan_of(1, family=family, batches=batches)
    size = plan.batch_size(0)
    wide = math.sqrt(plan.covariance)  # of both columns, which are the same
    largest = plan.label_norm * math.sqrt(plan.rows / size)  # one batch has all long labels
    if family == "logistic":
        residual = 1.0
    elif family == "linear":
        residual = wide * math.sqrt(2) * plan.ball + largest
    else:
        residual = math.exp(plan.score_bound)
    farthest = plan.ball + max(plan.steps) * math.sqrt(2) * wide * residual
    assert farthest <= plan.reach < 3 * farthest + 60 * (family == "poisson")


def test_a_rounded_step_is_within_the_bound_on_steps() -> None:
    for iterations in (1, 2, 7, 20, 60):
        plan = plan_of(iterations=iterations)
        for iteration, step in enumerate(plan.steps):
            used = plan.multiplier(iteration) * min(plan.steps) / 4
            assert used <= 1.125 * step
            assert used >= 0.875 * step
            assert plan.multiplier(iteration) < 1 << 14


# -- floods ---------------------------------------------------------------------------------------

ERROR = 21  # the most of a centred binomial error


def noise(row_sum: int) -> int:
    """The most of |e| in an answer's phase m + t e, recomputed.

    Products of |plain| with fresh errors; the plaintext itself, whose message is from 0 to t; a
    public encryption e u + e0 + e1 s; and the carry of the mask.
    """
    return row_sum * ERROR + -(-row_sum // 2) + ERROR * (2 * DEGREE + 1) + 1


def distance(plan: VerticalPlan) -> Fraction:
    """The statistical distance of all answers that a plan allows, from bytes and counts alone."""
    total, worst = Fraction(0), Fraction(0)
    for iteration in range(plan.iterations):
        layouts = layouts_of(plan, iteration)
        each = Fraction(0)
        products = (
            layouts.guest_forward,
            layouts.host_forward,
            layouts.guest_backward,
            layouts.host_backward,
        )
        for layout in products:
            # Two primes of 50 bits: what is no second half is coefficients.
            body = layout.answers_bytes // layout.packing.answers
            places = body * 8 // 100 - DEGREE
            each += Fraction(
                layout.packing.answers * places * noise(layout.row_sum), 1 << layout.flood_bits
            )
        waves = layouts.waves
        row_sum = 2 * plan.harmonics * DEGREE * (T // 2)
        each += Fraction(waves.blocks * DEGREE * noise(row_sum), 1 << waves.flood_bits)
        total, worst = total + each, max(worst, each)
    total += 2 * (MOST_SESSIONS - 1) * worst
    if plan.coefficients == "shared":
        for side in ("guest", "host"):
            layout = prediction_layout(plan, side, 1)
            total += Fraction(plan.predictions * noise(layout.row_sum), 1 << layout.flood_bits)
    return total


@pytest.mark.parametrize(
    "change",
    [
        {}, {"iterations": 1, "predictions": 0}, {"rows": 10_000}, {"rows": 30_000, "batches": 2},
        {"coefficients": "shared"}, {"coefficients": "shared", "predictions": 10**6},
        {"iterations": 200}, {"rows": 10_000, "penalty": 0.01, "guest_columns": 51},
        {"family": "poisson"}, {"family": "linear", "rows": 2, "iterations": 1, "predictions": 0},
    ],
)  # fmt: skip
def test_all_floods_of_a_plan_are_wide_enough(change: dict[str, Any]) -> None:
    plan = plan_of(**change)
    found = distance(plan)
    assert found <= Fraction(1, 1 << 40)
    assert found > Fraction(1, 1 << 60)  # and no much wider than they need


def test_row_sums_count_what_a_polynomial_holds() -> None:
    """The worst matrix that rows may be, encoded: no polynomial sums to more."""
    plan = plan_of(4, rows=700)
    block = np.full((700, 4), 100.0)
    rows = integer_rows(plan, "guest", block)
    layouts = layouts_of(plan, 0)
    for layout, matrix in (
        (layouts.guest_forward, rows),
        (layouts.guest_backward, rows.T),
    ):
        laid = np.abs(layout.packing.matrix(matrix.astype(np.int64)))
        most = laid.sum(axis=(1, 2)).max()
        assert most <= layout.row_sum
        assert layout.row_sum < 1.5 * most + 1000 * len(rows)


# -- plans that are refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"coefficients": "shared", "predictions": 10**13}, CapacityError, "fewer rows|take fewer"),
        ({"rows": 4_000_000}, CapacityError, "take 2 batches or more"),
        ({"family": "linear", "rows": 4_000_000}, CapacityError, "take 2 batches or more"),
        ({"family": "lasso"}, ConfigError, "the family is one of"),
        ({"rows": 1}, ConfigError, "common rows"),
        ({"rows": 10, "batches": 6}, ConfigError, "common rows"),
        ({"rows": 1 << 23}, ConfigError, "common rows"),
        ({"guest_columns": 0}, ConfigError, "1 or more"),
        ({"iterations": 0}, ConfigError, "1 or more"),
        ({"batches": 0}, ConfigError, "1 or more"),
        ({"least_rows": 0}, ConfigError, "1 or more"),
        ({"predictions": -1}, ConfigError, "1 or more"),
        ({"penalty": -0.1}, ConfigError, "between 0 and 1"),
        ({"penalty": math.nan}, ConfigError, "between 0 and 1"),
        ({"penalty": 1.5}, ConfigError, "between 0 and 1"),
    ],
)
def test_plans_that_cannot_be_are_refused_when_made(
    change: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        plan_of(**change)


def test_more_batches_make_a_large_plan_fit() -> None:
    assert plan_of(rows=4_000_000, batches=4).batch_size(0) == 1_000_000


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 101}, {"penalty": 0.5}, {"iterations": 21}, {"batches": 2}, {"least_rows": 9},
        {"coefficients": "shared"}, {"family": "linear"}, {"predictions": 7}, {"guest_names": 2},
    ],
)  # fmt: skip
def test_every_setting_is_in_the_fingerprint(change: dict[str, Any]) -> None:
    assert plan_of().fingerprint() == plan_of().fingerprint()
    assert plan_of(**change).fingerprint() != plan_of().fingerprint()


def test_batches_take_every_row_once() -> None:
    plan = plan_of(rows=101, batches=4, iterations=9)
    seen = [row for iteration in range(4) for row in plan.batch_rows(iteration)]
    assert seen == list(range(101))
    assert plan.batch_rows(4) == plan.batch_rows(0)


def test_an_intercept_is_a_column_of_ones() -> None:
    assert with_intercept(np.zeros((2, 1))).tolist() == [[0, 1], [0, 1]]
