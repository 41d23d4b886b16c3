"""A plan binds what must agree, and its figures are those that the accountant gives."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privfed.dp import PrivacyPlan, calibrate, dominating_variance, domination_gap, dp_sgd_epsilon
from privfed.errors import ConfigError, PrivacyWarning
from privfed.rounding import at_most

GOOD: dict[str, Any] = {
    "noise": "local",
    "delta": 1e-5,
    "rounds": 2,
    "rows": (100, 30),
    "expected_batch_size": 32,
    "l2_clip_norm": 0.5,
    "placements": [(1, 0), (1, 1), (0, 1)],
    "privacy_unit": "all rows of one ID at all parties",
}
SHARES: dict[str, Any] = {
    "noise": "shares",
    "rows": (50,) * 10,
    "sampling_rates": (0.2,) * 10,
    "rounds": 150,
    "steps_per_round": (1,) * 10,
    "l2_clip_norm": 0.7,
    "noise_multiplier": 4.0,
    "delta": 1e-5,
    "privacy_unit": "one row",
    "placements": [tuple(int(i == j) for j in range(10)) for i in range(10)],
    "quorum": 10,
    "dimension": 650,
}


def shares(**other: Any) -> PrivacyPlan:
    return PrivacyPlan(**(SHARES | other))


def two(**other: Any) -> PrivacyPlan:
    """Shares of two parties, who take all their rows in one step."""
    settings = {
        "rows": (50, 50),
        "sampling_rates": (1.0, 1.0),
        "steps_per_round": (1, 1),
        "rounds": 1,
        "placements": [(1, 0), (0, 1)],
        "quorum": 2,
    }
    return shares(**(settings | other))


@pytest.fixture(scope="module")
def plan() -> PrivacyPlan:
    return calibrate(4.0, **GOOD)


def gaussian(sigma: float, plan: PrivacyPlan, placement: tuple[int, ...] | None = None) -> float:
    """ε of the plan's steps under one continuous noise on the sum."""
    return dp_sgd_epsilon(
        sigma,
        sampling_rates=plan.sampling_rates,
        steps=plan.steps,
        placement=placement or plan.placements[0],
        delta=plan.delta,
        joint=True,
    )


# --- Local noise --------------------------------------------------------------------------------


def test_the_numbers_follow_from_rows_and_batch_size(plan: PrivacyPlan) -> None:
    assert plan.sampling_rates == (0.32, 1.0)  # the smaller party takes all its rows
    assert plan.steps_per_round == (4, 1)
    assert plan.steps == (8, 2)
    assert plan.rows == (100, 30)
    assert plan.parties == plan.quorum == 2
    assert plan.placements == ((1, 1),)  # which covers the others


def test_what_is_spent_is_what_was_asked(plan: PrivacyPlan) -> None:
    def spent(placement: tuple[int, int]) -> float:
        return dp_sgd_epsilon(
            plan.noise_multiplier,
            sampling_rates=plan.sampling_rates,
            steps=plan.steps,
            placement=placement,
            delta=plan.delta,
        )

    assert plan.target_epsilon == 4.0
    assert spent((1, 1)) <= plan.epsilon <= plan.target_epsilon
    assert plan.epsilon == pytest.approx(spent((1, 1)), rel=1e-3)
    single = max(spent((1, 0)), spent((0, 1)))
    assert single <= plan.epsilon_single_row < plan.epsilon
    assert plan.epsilon_single_row == pytest.approx(single, rel=1e-3)
    assert plan.epsilon_outsider == plan.epsilon_insiders  # nobody knows a part of this noise


@pytest.mark.parametrize("noise", ["local", "central", "shares"])
def test_a_target_is_met_with_little_waste(noise: str) -> None:
    found = calibrate(
        1.5,
        1e-5,
        noise=noise,  # type: ignore[arg-type]
        rows=(40, 60, 50),
        rounds=20,
        l2_clip_norm=1.0,
        sampling_rates=(0.3, 0.1, 0.2),
        steps_per_round=(1, 1, 1),
        dimension=1000,
    )
    assert 0.99 * 1.5 < found.epsilon <= 1.5
    less = {"noise_multiplier": 0.98 * found.noise_multiplier}
    with pytest.raises(ConfigError, match=r"more than the 1\.5 asked"):
        dataclasses.replace(found, **less)  # type: ignore[arg-type]
    assert dataclasses.replace(found, **less, target_epsilon=None).epsilon > 1.5  # type: ignore[arg-type]


def test_what_is_spent_grows_with_the_rounds(plan: PrivacyPlan) -> None:
    spent = [plan.spent(rounds) for rounds in range(4)]
    assert spent[0] == 0
    assert spent[2] == plan.epsilon
    assert all(one < more for one, more in itertools.pairwise(spent))


# --- Noise shares -------------------------------------------------------------------------------


@pytest.mark.parametrize("colluders", [0, 1, 2, 5])
@pytest.mark.parametrize("quorum", [6, 8, 10])
def test_honest_shares_are_the_whole_noise(quorum: int, colluders: int) -> None:
    """σC/√(k−t) each, but for what the proof takes: a thousandth of the variance, at most."""
    found = shares(quorum=quorum, colluders=colluders)
    honest = quorum - colluders
    assert found.share_grid_std >= 4
    variance = dominating_variance([found.share_grid_std**2] * honest)
    assert math.sqrt(variance) * found.grid == pytest.approx(4.0, rel=1e-12)
    share = found.share_grid_std * found.grid  # in clip norms
    assert 4.0 / math.sqrt(honest) <= share <= 4.0 / math.sqrt(honest) * 1.0006
    insiders, outsider = 4.0, 4.0 * math.sqrt(quorum / honest)
    assert found.epsilon_insiders == pytest.approx(gaussian(insiders, found), rel=2e-3)
    assert found.epsilon_outsider == pytest.approx(gaussian(outsider, found), rel=2e-3)
    if colluders:
        assert found.epsilon_outsider < found.epsilon_insiders == found.epsilon
    else:
        assert found.epsilon_outsider == found.epsilon_insiders


@pytest.mark.parametrize("left_out", [0, 1, 3])
def test_shares_that_are_left_out_are_missed_by_everybody(left_out: int) -> None:
    """Who sees the models sees k - left_out shares; who leaves one out knows no more by that."""
    found = shares(quorum=8, colluders=3, left_out=left_out)
    present = 4.0 * math.sqrt((8 - left_out) / 5)
    assert found.epsilon_outsider == pytest.approx(gaussian(present, found), rel=2e-3)
    assert found.epsilon_insiders == shares(quorum=8, colluders=3).epsilon_insiders
    assert (found.epsilon_outsider == found.epsilon_insiders) == (left_out == 3)


def test_a_plan_of_shares_counts_one_party_as_known_unless_told() -> None:
    """With none, each party would see the others' shares alone and be promised all."""
    default = {name: value for name, value in SHARES.items() if name != "colluders"}
    assert PrivacyPlan(**default).colluders == 1
    made = calibrate(
        2.0, 1e-5, noise="shares", rows=(50,) * 3, rounds=5, l2_clip_norm=1.0,
        sampling_rates=(0.2,) * 3,
    )  # fmt: skip
    assert made.colluders == 1
    assert made.share_grid_std * made.grid >= made.noise_multiplier / math.sqrt(2)


def test_shares_of_two_cost_one_of_them_as_computed_by_hand() -> None:
    """Balle and Wang's formula (arXiv 1805.06530, theorem 8) at σ = 1.5835: 2.59, σ/√2: 3.84."""
    alone = two(noise_multiplier=1.5835 / math.sqrt(2), colluders=1)
    assert alone.epsilon_outsider == pytest.approx(2.59, abs=0.01)
    assert alone.epsilon_insiders == alone.epsilon == pytest.approx(3.84, abs=0.01)
    together = two(noise_multiplier=1.5835, colluders=0)
    assert together.epsilon == pytest.approx(2.59, abs=0.01)
    assert together.share_grid_std * together.grid == pytest.approx(1.5835 / math.sqrt(2), rel=1e-3)


def test_shares_never_cost_less_than_the_continuous_noise_they_hold() -> None:
    """The grid's price is paid in ε, and the discrete law's gap on top."""
    found = shares(colluders=1)
    held = found.share_grid_std * found.grid * math.sqrt(9)
    assert found.epsilon_insiders > gaussian(held, found) - 1e-9
    assert held > found.noise_multiplier
    big = shares(dimension=10**9, rounds=2500, noise_multiplier=20.0)
    gap = domination_gap(10**9, 2500, 10)
    assert 0 < gap < 1e-18  # never seen, always added
    assert big.gap(2500) == gap
    # Local and central noise are single shares of a model whose size the plan does not know.
    for noise, steps in (("local", (4,) * 10), ("central", (1,) * 10)):
        single = shares(noise=noise, steps_per_round=steps)
        assert single.gap(150) == domination_gap(2**40, 150 * sum(steps), 1) > 0
    # Of a size that nobody trains, it can be seen: 2η, and a smaller δ.
    plain, endless = two(), two(dimension=10**33)
    eta = domination_gap(10**33, 1, 2)
    assert eta == pytest.approx(0.108, abs=0.001)
    assert 2 * eta < endless.epsilon - plain.epsilon < 2 * eta + 0.05


def test_a_person_at_two_parties_is_counted_as_such() -> None:
    """Nominal 1 at q = 0.2 over 150 steps; two coins for one person, so 2.16."""
    nominal = calibrate(
        1.0,
        1e-5,
        noise="shares",
        rows=(150, 150),
        rounds=150,
        l2_clip_norm=1.0,
        sampling_rates=(0.2, 0.2),
    )
    assert nominal.epsilon == pytest.approx(1.0, abs=0.005)
    spent = nominal.spent(150, placements=[(1, 1)])
    assert spent == pytest.approx(2.16, abs=0.01)
    # One sum under one noise: where the two rows lie doesn't matter.
    assert spent == pytest.approx(nominal.spent(150, placements=[(0, 2)]), rel=1e-9)
    real = dataclasses.replace(nominal, placements=((1, 1),), target_epsilon=None)
    assert real.epsilon == pytest.approx(2.16, abs=0.01)
    assert real.epsilon_single_row == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"quorum": 0}, "quorum"),
        ({"quorum": 11}, "quorum"),
        ({"colluders": 10}, "no honest share"),
        ({"quorum": 3, "colluders": 3}, "no honest share"),
        ({"colluders": -1}, "colluders"),
        ({"dimension": 0}, "dimension"),
        ({"steps_per_round": (2,) * 10}, "one aggregation a gradient step"),
        ({"steps_per_round": (1,) * 9 + (2,)}, "one aggregation a gradient step"),
        ({"noise": "central", "steps_per_round": (3,) * 10}, "noise='local'"),
        ({"noise": "none"}, "noise is"),
        ({"sampling_rates": (0.2,) * 9}, "one sampling rate"),
        ({"steps_per_round": (1,) * 11}, "number of steps"),
        ({"noise_multiplier": 0.0}, "multiplier"),
        ({"noise_multiplier": math.inf}, "multiplier"),
        ({"left_out": 2}, "leave their share out"),
        ({"left_out": -1}, "leave their share out"),
        ({"rounds": 2.5}, "whole"),
        ({"rows": (50.5,) * 10}, "whole"),
        ({"l2_clip_norm": "much"}, "real"),
        ({"target_epsilon": 1e-3}, "more than"),
        ({"truncated_batch_sizes": (20,) * 9}, "one largest batch a party"),
        ({"truncated_batch_sizes": (20,) * 9 + (0,)}, "one largest batch a party"),
        ({"truncated_batch_sizes": ()}, "one largest batch a party"),
        ({"truncated_batch_sizes": (20.5,) * 10}, "whole"),
    ],
)
def test_settings_at_odds_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        shares(**wrong)


def test_no_party_is_left_out_of_the_placements() -> None:
    """Its rows would be sampled at a rate that no figure counts."""
    with pytest.raises(ConfigError, match="belong to no unit"):
        two(placements=[(1, 0)])
    with pytest.raises(ConfigError, match="one row count a party"):
        two(placements=[(1, 1, 1)])
    with pytest.raises(ConfigError, match="from 0 up"):
        two(placements=[(1, -1), (-1, 1)])


# --- What is said -------------------------------------------------------------------------------


def test_an_epsilon_comes_with_what_it_means(plan: PrivacyPlan) -> None:
    assert plan.adjacency == "zero-out of one unit"
    assert plan.privacy_unit == GOOD["privacy_unit"]
    assert "Poisson" in plan.sampling
    assert "PLD" in plan.accountant
    for each in (plan, shares(), two(noise="central")):
        said = each.statement()
        for part in (each.adjacency, each.privacy_unit, each.sampling, each.accountant):
            assert part in said
        assert f"δ = {each.delta:g}" in said
        assert f"ε = {at_most(each.epsilon_outsider)}" in said
        assert at_most(each.epsilon_insiders) in said
    assert (
        f"{at_most(shares().epsilon_outsider)} for who sees the models while no"
        in shares().statement()
    )
    assert "1 shares are left out" in shares(left_out=1).statement()
    assert "1 of the parties together" in shares().statement()
    assert "Poisson" not in two().statement()  # every row in every step: nothing is amplified


def test_a_plan_is_not_changed_afterwards(plan: PrivacyPlan) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.noise_multiplier = 0.0  # type: ignore[misc]


OTHER: dict[str, Any] = {
    "noise": "central",
    "rows": (51,) + (50,) * 9,
    "sampling_rates": (0.21,) + (0.2,) * 9,
    "rounds": 151,
    "steps_per_round": (2,) * 10,  # with local noise only
    "l2_clip_norm": 0.71,
    "noise_multiplier": 4.1,
    "delta": 1.1e-5,
    "privacy_unit": "one column",
    "placements": ((1,) * 10,),
    "quorum": 9,
    "colluders": 2,
    "left_out": 1,
    "dimension": 651,
    "target_epsilon": 50.0,
    "truncated_batch_sizes": (20,) * 10,
}


def test_a_fingerprint_changes_with_every_setting() -> None:
    assert OTHER.keys() == {field.name for field in dataclasses.fields(PrivacyPlan)}
    base = shares()
    changed = [
        dataclasses.replace(base, **{name: value})
        for name, value in OTHER.items()
        if name != "steps_per_round"
    ]
    local = dataclasses.replace(base, noise="local")
    changed += [local, dataclasses.replace(local, steps_per_round=OTHER["steps_per_round"])]
    assert len({each.fingerprint for each in (base, *changed)}) == len(changed) + 1
    assert base.fingerprint == shares().fingerprint


def test_equal_plans_have_one_fingerprint_whatever_their_types() -> None:
    plain = shares(l2_clip_norm=1.0)
    other = shares(
        l2_clip_norm=1,
        rows=np.full(10, 50),
        sampling_rates=list(np.full(10, 0.2)),
        rounds=np.int64(150),
        placements=SHARES["placements"][::-1],
    )
    assert plain == other
    assert plain.fingerprint == other.fingerprint


def test_plans_travel_as_plain_values(plan: PrivacyPlan) -> None:
    for each in (plan, shares(), shares(noise="central", quorum=3)):
        there = PrivacyPlan.from_dict(json.loads(json.dumps(each.to_dict())))
        assert there == each
        assert there.fingerprint == each.fingerprint
        assert there.epsilon == each.epsilon


@pytest.mark.parametrize(
    "settings",
    [
        {},
        None,
        {**SHARES, "rows": 5},
        {**SHARES, "rows": "many"},
        {**SHARES, "placements": [1]},
        {**SHARES, "spent": 0.0},
        {**SHARES, "rounds": None},
    ],
)
def test_settings_that_are_none_are_refused(settings: Any) -> None:
    with pytest.raises(ConfigError):
        PrivacyPlan.from_dict(settings)


# --- Bad input ----------------------------------------------------------------------------------


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
        ({"delta": 1.0}, "delta"),
        ({"delta": -1e-5}, "delta"),
        ({"delta": math.nan}, "delta"),
        ({"sampling_rates": (0.3, 0.3)}, "either"),
        ({"expected_batch_size": None}, "either"),
        ({"expected_batch_size": None, "sampling_rates": (0.3, 0.0)}, "sampling rate"),
        ({"expected_batch_size": None, "sampling_rates": (0.3, 1.1)}, "sampling rate"),
        ({"expected_batch_size": None, "sampling_rates": (0.3,)}, "one sampling rate"),
        ({"placements": []}, "at least one unit"),
        ({"placements": [(0, 0)]}, "at least one unit"),
        ({"placements": [(1, 0)]}, "belong to no unit"),
        ({"placements": [(1, 1, 1)]}, "a party"),
        ({"placements": [(1,), (1, 1)]}, "a party"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        calibrate(4.0, **(GOOD | wrong))


@pytest.mark.parametrize("target", [0.0, -3.0, math.nan, math.inf])
def test_wrong_targets_are_refused(target: float) -> None:
    with pytest.raises(ConfigError, match="epsilon"):
        calibrate(target, **GOOD)


@pytest.mark.parametrize("target", [1e-12, 1e9])
def test_targets_that_no_noise_reaches_are_refused(target: float) -> None:
    with pytest.raises(ConfigError, match=r"ask for a (larger|smaller)"):
        calibrate(target, **(GOOD | {"delta": 1e-12}))


def test_a_delta_that_publishes_a_row_is_warned_of() -> None:
    with pytest.warns(PrivacyWarning, match="1/500"):
        shares(delta=1 / 500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shares(delta=1 / 501)


@settings(max_examples=10)
@given(st.floats(2, 20), st.integers(1, 6), st.integers(0, 3), st.integers(1, 10), st.booleans())
def test_whoever_knows_more_noise_pays_more(
    sigma: float, quorum: int, colluders: int, rounds: int, twice: bool
) -> None:
    """ε against insiders is never below the outsider's, nor a plan's share below 4 grid units."""
    if quorum <= colluders:
        return
    placement = tuple(1 + int(twice) for _ in range(6))
    found = shares(
        rows=(10,) * 6,
        sampling_rates=(0.1,) * 6,
        steps_per_round=(1,) * 6,
        placements=[placement],
        delta=1e-3,
        noise_multiplier=sigma,
        quorum=quorum,
        colluders=colluders,
        rounds=rounds,
    )
    assert found.share_grid_std >= 4
    assert 0 < found.epsilon_outsider <= found.epsilon_insiders == found.epsilon
