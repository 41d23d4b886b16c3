"""A plan binds what must agree, and its figures are those that the accountant gives."""

from __future__ import annotations

import dataclasses
import math

import pytest

from privfed.dp import DPSGDPlan, dp_sgd_epsilon, plan_dp_sgd
from privfed.errors import ConfigError

GOOD = {
    "delta": 1e-5,
    "rounds": 2,
    "rows": (100, 30),
    "expected_batch_size": 32,
    "l2_clip_norm": 0.5,
    "placements": [(1, 0), (1, 1), (0, 1)],
    "privacy_unit": "all rows of one ID at all parties",
}


@pytest.fixture(scope="module")
def plan() -> DPSGDPlan:
    return plan_dp_sgd(4.0, **GOOD)  # type: ignore[arg-type]


def test_the_numbers_follow_from_rows_and_batch_size(plan: DPSGDPlan) -> None:
    assert plan.sampling_rates == (0.32, 1.0)  # the smaller party takes all its rows
    assert plan.steps_per_round == (4, 1)
    assert plan.steps == (8, 2)
    assert plan.rows == (100, 30)
    assert plan.placements == ((1, 1),)  # which covers the others


def test_what_is_spent_is_what_was_asked(plan: DPSGDPlan) -> None:
    def spent(placement: tuple[int, int]) -> float:
        return dp_sgd_epsilon(
            plan.noise_multiplier,
            sampling_rates=plan.sampling_rates,
            steps=plan.steps,
            placement=placement,
            delta=plan.delta,
        )

    assert spent((1, 1)) <= plan.epsilon <= plan.target_epsilon == 4.0
    assert plan.epsilon == pytest.approx(spent((1, 1)), rel=1e-3)
    single = max(spent((1, 0)), spent((0, 1)))
    assert single <= plan.epsilon_single_row < plan.epsilon
    assert plan.epsilon_single_row == pytest.approx(single, rel=1e-3)


def test_an_epsilon_comes_with_what_it_means(plan: DPSGDPlan) -> None:
    assert plan.adjacency == "add or remove one unit"
    assert plan.privacy_unit == GOOD["privacy_unit"]
    assert "Poisson" in plan.sampling
    assert "PLD" in plan.accountant


def test_a_plan_is_not_changed_afterwards(plan: DPSGDPlan) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.noise_multiplier = 0.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rounds": 0}, "at least 1"),
        ({"expected_batch_size": 0}, "at least 1"),
        ({"rows": (100, 0)}, "at least 1"),
        ({"rows": ()}, "at least 1"),
        ({"l2_clip_norm": 0.0}, "clip norm"),
        ({"l2_clip_norm": math.nan}, "clip norm"),
        ({"l2_clip_norm": math.inf}, "clip norm"),
        ({"delta": 0.0}, "delta"),
        ({"delta": -1e-5}, "delta"),
        ({"delta": math.nan}, "delta"),
        ({"delta": 0.01}, "allows a row to be published"),  # 1/100: one row in the clear
        ({"placements": []}, "at least one unit"),
        ({"placements": [(0, 0)]}, "at least one unit"),
        ({"placements": [(1, 1, 1)]}, "a party"),
        ({"placements": [(1,), (1, 1)]}, "a party"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        plan_dp_sgd(4.0, **(GOOD | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [0.0, -3.0, math.nan, math.inf])
def test_wrong_targets_are_refused(target: float) -> None:
    with pytest.raises(ConfigError, match="epsilon"):
        plan_dp_sgd(target, **GOOD)  # type: ignore[arg-type]
