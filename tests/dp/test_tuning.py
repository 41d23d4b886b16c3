"""A tuning is one charge: for one run and its score, for how many there are, and for each unit."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dp_accounting.dp_event import (
    GaussianDpEvent,
    PoissonSampledDpEvent,
    RepeatAndSelectDpEvent,
    SelfComposedDpEvent,
)
from dp_accounting.dp_event_builder import DpEventBuilder
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import RdpAccountant

from privfed.dp import (
    FixedRuns,
    PrivacyBudget,
    PrivacyPlan,
    RandomRuns,
    TunedPlan,
    calibrate_tuning,
    dp_sgd_epsilon,
)
from privfed.dp.losses import pair_losses
from privfed.dp.renyi import ORDERS
from privfed.errors import BudgetExceededError, ConfigError
from privfed.rounding import as_given, at_most

DELTA = 1e-6
GEOMETRIC = RandomRuns(10)


def plan(**other: Any) -> PrivacyPlan:
    settings: dict[str, Any] = {
        "noise": "central", "rows": (1000,), "sampling_rates": (0.1,), "rounds": 100,
        "steps_per_round": (1,), "l2_clip_norm": 1.0, "noise_multiplier": 4.0, "delta": DELTA,
        "privacy_unit": "one row", "placements": ((1,),), "quorum": 1,
    }  # fmt: skip
    return PrivacyPlan(**(settings | other))


def score(**other: Any) -> PrivacyPlan:
    settings = {"rows": (200,), "sampling_rates": (1.0,), "rounds": 1, "noise_multiplier": 10.0}
    return plan(**(settings | other))


def tuned(**other: Any) -> TunedPlan:
    settings: dict[str, Any] = {
        "plan": plan(), "runs": GEOMETRIC, "score": score(), "delta": DELTA,
    }  # fmt: skip
    return TunedPlan(**(settings | other))


@pytest.mark.parametrize("shape", [0.0, 1.0, 5.0, math.inf])
def test_the_cost_is_that_of_dp_accounting(shape: float) -> None:
    """Their Rényi accountant at our orders; for Poisson it knows less of δ and asks for more."""
    events = DpEventBuilder()
    events.compose(SelfComposedDpEvent(PoissonSampledDpEvent(0.1, GaussianDpEvent(4.0)), 100))
    events.compose(GaussianDpEvent(10.0))
    theirs = RdpAccountant(orders=list(ORDERS))
    theirs.compose(RepeatAndSelectDpEvent(events.build(), 10, shape))
    wanted = float(theirs.get_epsilon(DELTA))
    found = tuned(runs=RandomRuns(10, shape)).epsilon
    if shape == math.inf:
        assert 0.8 * wanted < found < wanted
    else:
        assert found == pytest.approx(wanted, rel=1e-5)


def test_a_fixed_number_of_runs_composes() -> None:
    """As dp-accounting composes three trainings and three scores."""
    steps = pld.from_gaussian_mechanism(
        4.0, sampling_prob=0.1, value_discretization_interval=5e-4, use_connect_dots=True
    ).self_compose(300)
    scores = pld.from_gaussian_mechanism(
        10.0, value_discretization_interval=5e-4, use_connect_dots=True
    ).self_compose(3)
    wanted = float(steps.compose(scores).get_epsilon_for_delta(DELTA))
    assert tuned(runs=FixedRuns(3)).epsilon == pytest.approx(wanted, rel=2e-3)
    alone = tuned(runs=FixedRuns(2), score=None).epsilon
    assert alone == pytest.approx(plan(rounds=200).epsilon, rel=1e-9)


def test_ten_random_runs_cost_what_four_or_five_fixed_ones_do() -> None:
    random = tuned()
    assert 1.5 * random.epsilon_once < random.epsilon < 3 * random.epsilon_once
    four, five = (tuned(runs=FixedRuns(count)).epsilon for count in (4, 5))
    assert four < random.epsilon < five
    more = tuned(runs=RandomRuns(100)).epsilon
    assert random.epsilon < more < 1.5 * random.epsilon


@pytest.mark.parametrize("runs", [GEOMETRIC, FixedRuns(2)], ids=str)
def test_the_score_is_charged(runs: RandomRuns | FixedRuns) -> None:
    free, far, near = (
        tuned(runs=runs, score=each).epsilon
        for each in (None, score(), score(noise_multiplier=2.0))
    )
    assert free * 1.01 < far < near / 1.5


def test_the_worst_placed_unit_is_charged() -> None:
    """A person with three rows to train on and two to score by."""
    person = {"privacy_unit": "one person"}
    found = TunedPlan(
        plan=plan(placements=((3,),), **person),
        runs=GEOMETRIC,
        score=score(placements=((2,),), **person),
        delta=DELTA,
    )
    assert found.epsilon > 2 * tuned().epsilon
    assert found.epsilon_once > dp_sgd_epsilon(
        4.0, sampling_rates=[0.1], steps=[100], placement=(3,), delta=DELTA
    )


def test_the_gap_of_integers_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is some 1e-20; were it 0.01, every order would lose it at least three times."""
    exact = tuned().epsilon
    monkeypatch.setattr(PrivacyPlan, "gap", lambda self, rounds: 0.01)
    assert tuned().epsilon > exact + 2 * 3 * 0.01


def test_calibration_finds_the_noise_for_the_whole() -> None:
    for runs in (GEOMETRIC, FixedRuns(4)):
        found = calibrate_tuning(2.0, plan(), runs=runs, score=score())
        assert found.runs == runs
        assert 0.995 * 2.0 < found.epsilon <= 2.0
        less = dataclasses.replace(found.plan, noise_multiplier=0.995 * found.plan.noise_multiplier)
        assert dataclasses.replace(found, plan=less).epsilon > 2.0 * 0.999
    with pytest.raises(ConfigError, match="no noise multiplier"):
        calibrate_tuning(0.3, plan(), runs=GEOMETRIC, score=score(noise_multiplier=1.0))
    with pytest.raises(ConfigError, match="positive"):
        calibrate_tuning(0.0, plan(), runs=GEOMETRIC, score=score())


# --- Who sees what -------------------------------------------------------------------------------


def test_parties_that_see_every_run_must_be_trusted_with_them() -> None:
    two: dict[str, Any] = {
        "rows": (500, 500), "sampling_rates": (0.1, 0.1), "steps_per_round": (1, 1),
        "placements": ((1, 0), (0, 1)), "quorum": 2,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="parties see every run"):
        tuned(plan=plan(**two))
    held = dict(two, rows=(100, 100), sampling_rates=(1.0, 1.0))
    with pytest.raises(ConfigError, match="parties see every run"):
        tuned(score=score(**held))
    assert tuned(plan=plan(**two), runs=FixedRuns(2)).epsilon > 0
    trusted = tuned(plan=plan(**two), trusted_parties=True)
    assert "which the parties, who see all, are trusted with" in trusted.statement()


@pytest.mark.parametrize("runs", [GEOMETRIC, RandomRuns(10, math.inf), FixedRuns(3)], ids=str)
def test_an_epsilon_never_stands_alone(runs: RandomRuns | FixedRuns) -> None:
    said = tuned(runs=runs).statement()
    found = tuned(runs=runs)
    for part in (found.adjacency, "one row", found.sampling, found.accountant, str(runs)):
        assert part in said
    assert f"ε = {at_most(found.epsilon)}" in said
    assert f"δ = {as_given(DELTA)}" in said
    assert "scores: private and paid" in said
    assert "scores: public" in tuned(runs=runs, score=None).statement()


# --- One charge of a budget ----------------------------------------------------------------------


def test_a_tuning_is_paid_once_and_stays_paid(tmp_path: Path) -> None:
    found, where = tuned(), tmp_path / "budget.json"

    def opened() -> PrivacyBudget:
        return PrivacyBudget(4.0, 1e-5, privacy_unit="one row", path=where)

    with opened() as budget:
        assert budget.rounds_left(found) == 1
        assert budget.spend_round(found) == 1
        spent = budget.spent_epsilon
    assert spent <= found.epsilon + 1e-3
    with opened() as budget:
        assert budget.rounds_spent(found) == 1
        assert budget.spent_epsilon == spent
        with pytest.raises(BudgetExceededError):
            budget.spend_round(found)
        assert budget.spend_round(plan()) == 1
        assert spent < budget.spent_epsilon < 4.0
        assert "Poisson, secret coins at each party; every row" in budget.statement()


def test_a_tuning_that_is_too_dear_is_not_begun() -> None:
    budget = PrivacyBudget(2.0, 1e-5, privacy_unit="one row")
    with pytest.raises(BudgetExceededError, match="would spend"):
        budget.spend_round(tuned())
    assert budget.spent_epsilon == 0
    small = PrivacyBudget(50.0, 1e-7, privacy_unit="one row")
    with pytest.raises(BudgetExceededError):
        small.spend_round(tuned())  # its δ alone is more
    with pytest.raises(ConfigError, match="one unit"):
        PrivacyBudget(9.0, 1e-5, privacy_unit="one person").spend_round(tuned())


def test_an_epsilon_and_a_delta_compose_as_dp_accounting_composes_them() -> None:
    """Two tunings and a training, by the pair of laws that everything (ε, δ)-DP keeps to."""
    first, second = tuned(), tuned(runs=RandomRuns(5))
    budget = PrivacyBudget(50.0, 1e-5, privacy_unit="one row")
    budget.spend_round(first)
    budget.spend_round(second)
    for _ in range(20):
        budget.spend_round(plan())
    together = pld.from_gaussian_mechanism(
        4.0, sampling_prob=0.1, value_discretization_interval=5e-4, use_connect_dots=True
    ).self_compose(20)
    for each in (first, second):
        pair = pld.common.DifferentialPrivacyParameters(each.epsilon, each.delta)
        together = together.compose(
            pld.from_privacy_parameters(pair, value_discretization_interval=5e-4)
        )
    wanted = float(together.get_epsilon_for_delta(1e-5))
    assert budget.spent_epsilon == pytest.approx(wanted, rel=2e-3)
    assert budget.spent_epsilon < first.epsilon + second.epsilon + plan().spent(20)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.3, 1e-6), (4.0, 0.01), (0.0, 1e-3)])
def test_the_pair_of_laws_has_the_curve_of_what_it_stands_for(epsilon: float, delta: float) -> None:
    removed, added = pair_losses(epsilon, delta, 2.0**-12)
    assert removed is added
    for at in np.linspace(0, 5, 11):
        found = removed.infinite + float(
            removed.masses @ np.maximum(-np.expm1(at - removed.values), 0)
        )
        # The least curve of all that is (ε, δ)-DP, between its two points and after them.
        wanted = delta + (1 - delta) * max(
            0.0, (math.exp(epsilon) - math.exp(at)) / (1 + math.exp(epsilon))
        )
        assert wanted * (1 - 1e-12) <= found <= wanted + 1e-3
    assert removed.masses.sum() + removed.infinite == pytest.approx(1)


# --- Settings ------------------------------------------------------------------------------------


def test_settings_survive_json_and_change_the_fingerprint() -> None:
    several = [
        tuned(), tuned(runs=RandomRuns(11)), tuned(runs=RandomRuns(10, math.inf)),
        tuned(runs=FixedRuns(10)), tuned(score=None), tuned(delta=1e-7),
        tuned(plan=plan(rounds=99)), tuned(trusted_parties=True),
    ]  # fmt: skip
    assert len({each.fingerprint for each in several}) == len(several)
    for each in several:
        again = TunedPlan.from_dict(json.loads(json.dumps(each.to_dict(), allow_nan=False)))
        assert again == each
        assert again.fingerprint == each.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"delta": 0.0},
        {"delta": 1e-70},
        {"score": score(privacy_unit="one person")},
    ],
)
def test_settings_at_odds_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        tuned(**change)


def test_what_is_no_tuning_is_refused() -> None:
    good = tuned().to_dict()
    for name in good.keys() - {"trusted_parties"}:
        with pytest.raises(ConfigError):
            TunedPlan.from_dict({key: value for key, value in good.items() if key != name})
    with pytest.raises(ConfigError):
        TunedPlan.from_dict(good | {"more": 1})


def test_a_run_has_a_budget_for_itself_and_nothing_else() -> None:
    """Another plan may cost no more by itself, and many times more as the best of many runs."""
    own = tuned().budget_of_a_run()
    for other in (plan(rounds=1), plan(noise_multiplier=900.0), score(noise_multiplier=900.0)):
        with pytest.raises(BudgetExceededError, match="for other plans"):
            own.spend_round(other)
        with pytest.raises(BudgetExceededError, match="for other plans"):
            own.rounds_left(other)
    for _ in range(100):
        own.spend_round(plan())
    own.spend_round(score())
    for further in (plan(), score(), plan(rounds=101), score(noise_multiplier=9.0)):
        with pytest.raises(BudgetExceededError):
            own.spend_round(further)
