"""Guest and host against exact fits, the bounds that the plan proves, and faults on the way."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privfed.errors import CapacityError, ConfigError, ContextMismatchError, DecodeError
from privfed.vertical.capacity import MOST_SESSIONS
from privfed.vertical.guest import Guest
from privfed.vertical.plan import VerticalPlan
from privfed.vertical.references import fit_exactly
from privfed.vertical.series import Family, identity_series, link_series
from privfed.vertical.state import TrainingState
from privfed.vertical.steps import step_sizes
from psi.errors import ProtocolError, StateError, TranscriptError
from tests.vertical.halves import Pair, converse, tables, whole

REFUSED = (ProtocolError, DecodeError, ContextMismatchError)
# Rounded sines and cosines move coefficients, the fewer the rows the more; three times the largest
# of ten runs.
CLOSE = {"logistic": 0.01, "linear": 0.03, "poisson": 0.01}


@pytest.mark.parametrize("family", ["logistic", "linear", "poisson"])
@pytest.mark.parametrize("penalty", [0.0, 0.05])
def test_both_reach_the_exact_fit_of_both_tables(family: Family, penalty: float) -> None:
    data = tables(family)
    pair = Pair(data, penalty)
    converse(pair.guest, pair.host)
    exact = fit_exactly(np.hstack([data.guest, data.host]), data.labels, family, penalty)
    found = np.append(exact.coefficients, exact.intercept)
    np.testing.assert_allclose(pair.coefficients, found, atol=CLOSE[family])
    assert pair.guest.model == pair.host.model


def test_rows_that_take_turns_are_all_learnt_from() -> None:
    data = tables(rows=2000)
    pair = Pair(data, batches=2, iterations=16)
    converse(pair.guest, pair.host)
    exact = fit_exactly(np.hstack([data.guest, data.host]), data.labels, "logistic", 0.0)
    np.testing.assert_allclose(
        pair.coefficients[:-1], exact.coefficients, atol=0.1
    )  # a half of the rows has another optimum


def test_coefficients_that_stay_shared_open_to_nobody() -> None:
    pair = Pair(tables(), coefficients="shared", iterations=4)
    converse(pair.guest, pair.host)
    for side in (pair.guest, pair.host):
        assert len(side.shares) == pair.plan.lanes
        with pytest.raises(StateError, match="stay shared"):
            _ = side.coefficients


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_no_score_and_no_coefficient_passes_its_bound(sign: float) -> None:
    """Separable labels under the largest steps: what training would run away on."""
    data = tables(rows=300)
    labels = (sign * data.host[:, 0] > 0).astype(float)
    pair = Pair(type(data)(data.guest, data.host, labels), iterations=12)
    bounds = []

    def watch(number: int, message: bytes) -> bytes:
        if number >= 2 and (number - 2) % 6 == 1:  # both have the iteration's shares
            coefficients = whole(pair.guest.state, pair.host.state)
            scores = pair.integer_rows @ coefficients
            unit = pair.plan.coefficient_scale
            norm = np.linalg.norm(coefficients / unit)
            largest = np.abs(scores).max() / (unit * pair.plan.entry_scale)
            bounds.append((norm / pair.plan.ball, largest / pair.plan.score_bound))
        return message

    converse(pair.guest, pair.host, watch)
    assert len(bounds) >= 12
    norms, scores = np.array(bounds).T
    assert norms.max() <= 1
    assert norms.max() > 0.9  # it was held back
    assert scores.max() <= 1


@pytest.mark.parametrize("family", ["logistic", "linear", "poisson"])
def test_a_series_is_as_near_to_its_function_as_it_says(family: Family) -> None:
    plan = Pair(tables(family)).plan
    scores = np.random.default_rng(0).uniform(-plan.score_bound, plan.score_bound, 5000)
    wanted = {
        "logistic": 1 / (1 + np.exp(-scores)), "linear": scores, "poisson": np.exp(scores),
    }[family]  # fmt: skip
    series = link_series(family, plan.period, plan.harmonics, plan.score_bound)
    error = np.abs(series.values(scores, plan.period) - wanted).max()
    assert error <= 1.05 * series.error + 1e-12  # fitted on a grid
    assert series.error < 0.001 * max(1, np.abs(wanted).max())
    identity = identity_series(plan.period, plan.harmonics, plan.identity_bound)
    assert identity.error < 1e-3


@given(st.integers(1, 60))
def test_steps_are_one_over_chebyshevs_points(count: int) -> None:
    steps = step_sizes(count, 0.02, 0.52)
    assert len(steps) == count
    curvatures = np.linspace(0.02, 0.52, 50)
    left = np.abs(np.prod([1 - step * curvatures for step in steps], axis=0))
    ratio = (np.sqrt(0.52 / 0.02) - 1) / (np.sqrt(0.52 / 0.02) + 1)
    assert left.max() <= 2 * ratio**count * 1.001


# -- plans that cannot hold ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"rows": 1}, ConfigError, "common rows"),
        ({"penalty": -0.1}, ConfigError, "penalty"),
        ({"penalty": float("nan")}, ConfigError, "penalty"),
        ({"iterations": 0}, ConfigError, "1 or more"),
        ({"rows": 4_000_000}, CapacityError, "batches"),
        ({"predictions": 10**40, "coefficients": "shared"}, CapacityError, "flood"),
    ],
)
def test_a_plan_that_cannot_hold_is_refused_when_it_is_made(
    change: dict[str, object], error: type[Exception], words: str
) -> None:
    plan = msgspec.structs.asdict(Pair(tables(rows=100)).plan)
    with pytest.raises(error, match=words):
        VerticalPlan(**(plan | change))


def test_every_field_is_in_the_fingerprint() -> None:
    plan = Pair(tables(rows=100)).plan
    others = [
        msgspec.structs.replace(plan, **{name: value})
        for name, value in {
            "family": "linear", "rows": 101, "guest_columns": 5, "host_columns": 3,
            "guest_names": 4, "host_names": 5, "penalty": 0.1, "iterations": 3, "batches": 2,
            "coefficients": "shared", "least_rows": 3, "predictions": 5,
        }.items()
    ]  # fmt: skip
    assert len(others) == len(plan.__struct_fields__)
    assert len({each.fingerprint() for each in (plan, *others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.full(100, 2.0), "0 and 1"),
        (np.ones(100), "all labels are the same"),
        (np.ones(99), "one finite label"),
        (np.full(100, np.nan), "one finite label"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(labels: np.ndarray, words: str) -> None:
    pair = Pair(tables(rows=100))
    with pytest.raises(ConfigError, match=words):
        Guest(pair.plan, pair.blocks[0], pair.whitenings[0], labels)


# -- faults on the way ---------------------------------------------------------------------------

MESSAGES = 2 + 6 * 2 + 2


def test_a_training_of_two_iterations_has_so_many_messages() -> None:
    pair = Pair(tables(rows=100), iterations=2)
    assert len(converse(pair.guest, pair.host)) == MESSAGES


@pytest.mark.parametrize("number", range(MESSAGES))
@pytest.mark.parametrize("fault", ["changed", "cut", "longer", "repeated"])
def test_a_message_that_was_touched_ends_the_session(number: int, fault: str) -> None:
    pair = Pair(tables(rows=100), iterations=2)
    seen: list[bytes] = []

    def watch(at: int, message: bytes) -> bytes:
        seen.append(message)
        if at != number:
            return message
        return {
            "changed": message[:-40] + bytes([message[-40] ^ 1]) + message[-39:],
            "cut": message[:-1],
            "longer": message + b"\0",
            "repeated": seen[max(0, at - 2)] if at >= 2 else message[:-1],
        }[fault]

    with pytest.raises(REFUSED):
        converse(pair.guest, pair.host, watch)
    taker = pair.host if number % 2 == 0 else pair.guest
    assert not taker.done
    with pytest.raises(StateError):
        taker.receive(seen[-1])
    with pytest.raises(StateError):
        _ = taker.coefficients


def test_another_plan_is_refused() -> None:
    one, other = Pair(tables(rows=100)), Pair(tables(rows=100), iterations=7)
    with pytest.raises(ContextMismatchError, match="another plan"):
        converse(one.guest, other.host)


def test_a_message_of_another_session_is_refused() -> None:
    one, other = (Pair(tables(rows=100), iterations=2) for _ in range(2))
    sent = converse(one.guest, one.host)
    with pytest.raises(TranscriptError):
        converse(other.guest, other.host, lambda at, message: sent[at] if at == 4 else message)


@pytest.mark.parametrize("number", [*range(2, 2 + 7), MESSAGES - 1])
def test_a_training_that_broke_off_goes_on_with_fresh_keys(number: int) -> None:
    data = tables(rows=200)
    pair = Pair(data, iterations=2)
    whole_run = Pair(data, iterations=2)
    converse(whole_run.guest, whole_run.host)
    first = converse(pair.guest, pair.host, lambda at, message: message if at < number else None)
    states = [
        msgspec.json.decode(msgspec.json.encode(side.state.resumed()), type=TrainingState)
        for side in (pair.guest, pair.host)
    ]
    pair.fresh(*states)
    second = converse(pair.guest, pair.host)
    np.testing.assert_allclose(pair.coefficients, whole_run.coefficients, atol=0.01)
    assert not set(first) & set(second)


def test_a_state_of_another_plan_or_of_too_many_sessions_is_refused() -> None:
    pair = Pair(tables(rows=100))
    state = TrainingState.begun(Pair(tables(rows=100), iterations=3).plan)
    with pytest.raises(ConfigError, match="another plan"):
        pair.fresh(state)
    state = TrainingState.begun(pair.plan)
    for _ in range(MOST_SESSIONS):
        state = state.resumed()
    with pytest.raises(ConfigError, match="broke off"):
        pair.fresh(state)


def test_nothing_secret_is_shown_or_pickled() -> None:
    pair = Pair(tables(rows=100))
    assert repr(pair.guest) == "Guest(100 rows)"
    assert repr(pair.guest.state) == "TrainingState(iterations=(0,))"
    with pytest.raises(TypeError, match="not pickled"):
        pair.host.__reduce__()
