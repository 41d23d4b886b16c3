"""Private training: every round paid before it begins, from parts of one plan, and it learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from privfed.dp import PrivacyBudget, PrivacyPlan, SecretRandomness, SeededRandomness, calibrate
from privfed.errors import BudgetExceededError, ConfigError, QuorumError
from privfed.training import (
    CentralNoise,
    ClippedSum,
    DPSGDTrainer,
    GradientClipper,
    LocalNoise,
    NoisySums,
    RecordGradients,
    Released,
    SharedNoise,
    train_private,
)

PARTIES, ROWS, RATE = 3, 60, 0.3
DIMENSION = 22  # of a linear model, 10 features to 2 classes
NOISY = {"local": LocalNoise, "central": CentralNoise, "shares": SharedNoise}


def plan(noise: str = "shares", **other: Any) -> PrivacyPlan:
    settings: dict[str, Any] = {
        "noise": noise,
        "rows": (ROWS,) * PARTIES,
        "sampling_rates": (RATE,) * PARTIES,
        "rounds": 30,
        "steps_per_round": (1,) * PARTIES,
        "l2_clip_norm": 1.0,
        "noise_multiplier": 1.0,
        "delta": 1e-5,
        "privacy_unit": "one row",
        "placements": [tuple(int(i == j) for j in range(PARTIES)) for i in range(PARTIES)],
        "quorum": PARTIES,
        "dimension": DIMENSION,
    }
    return PrivacyPlan(**(settings | other))


@pytest.fixture(scope="module")
def rows() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(8)
    x = torch.randn(PARTIES, ROWS, 10, generator=generator)
    return [(each, (each[:, 0] + 0.5 * each[:, 1] > 0).long()) for each in x]


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(10, 2)


class Recorded:
    """Noisy sums that note what they were given and let out."""

    def __init__(self, inner: NoisySums, fails_at: int | None = None) -> None:
        self.plan, self.inner, self.fails_at = inner.plan, inner, fails_at
        self.given: list[Any] = []
        self.released: list[np.ndarray] = []
        self.rounds: list[int] = []
        self.prepared: dict[int, int] = {}

    def prepare(self, round_id: int) -> None:
        self.prepared[round_id] = len(self.given)
        self.inner.prepare(round_id)

    def release(self, round_id: int, sums: Any) -> Released:
        self.given.append([each.flat.copy() for each in sums])
        if round_id == self.fails_at:
            sums = [None, None, *sums[2:]]  # two parties are gone
        released = self.inner.release(round_id, sums)
        self.rounds.append(round_id)
        self.released.append(released.total)
        return released


class Training:
    """A model, its parties, and all that a plan needs, from secret or seeded randomness."""

    def __init__(self, found: PrivacyPlan, rows: Any, seed: int | None = None) -> None:
        def source(*place: int) -> Any:
            return SecretRandomness() if seed is None else SeededRandomness(seed, *place)

        simulation = seed is not None
        self.model = linear()
        self.contributors = [
            RecordGradients(self.model, x, y, found, place, source(place), simulation=simulation)
            for place, (x, y) in enumerate(rows)
        ]
        sources = [source(9, place) for place in range(1 if found.noise == "central" else PARTIES)]
        self.sums = Recorded(NOISY[found.noise](found, sources, simulation=simulation))
        self.sgd = torch.optim.SGD(self.model.parameters(), lr=2.0)

    def run(self, budget: PrivacyBudget, **how: Any) -> None:
        train_private(self.model, self.contributors, self.sums, budget, self.sgd, **how)


def generous(found: PrivacyPlan, path: Path | None = None) -> PrivacyBudget:
    return PrivacyBudget(1e3, found.delta, privacy_unit=found.privacy_unit, path=path)


def loss(model: nn.Module, rows: Any) -> float:
    x, y = (torch.cat(each) for each in zip(*rows, strict=True))
    return functional.cross_entropy(model(x), y).item()


@pytest.mark.parametrize("noise", NOISY)
def test_it_learns(noise: str, rows: Any) -> None:
    """The loss falls by half: fixed seed, as much noise as one clip norm a step."""
    training = Training(plan(noise), rows, seed=4)
    before = loss(training.model, rows)
    budget = generous(training.sums.plan)
    training.run(budget)
    assert loss(training.model, rows) < before / 2
    assert training.sums.rounds == list(range(1, 31))
    assert budget.spent_epsilon == training.sums.plan.epsilon


def test_a_step_is_the_noisy_sum_over_the_expected_rows(rows: Any) -> None:
    """Never over the realised batch, whose size is secret."""
    training = Training(plan(), rows)
    before = [p.detach().clone() for p in training.model.parameters()]
    training.run(generous(plan()), rounds=1)
    (total,) = training.sums.released
    step = torch.from_numpy(2.0 * total / (PARTIES * ROWS * RATE)).float()
    moved = torch.cat(
        [
            (b - p.detach()).flatten()
            for b, p in zip(before, training.model.parameters(), strict=True)
        ]
    )
    assert torch.allclose(moved, step, atol=1e-6)


def test_seeds_repeat_a_simulation_and_secrets_do_not(rows: Any) -> None:
    def weights(seed: int | None) -> np.ndarray:
        training = Training(plan(), rows, seed)
        training.run(generous(plan()), rounds=2)
        return training.model.weight.detach().numpy().copy()

    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))
    assert not np.array_equal(weights(None), weights(None))


def test_tiny_batches_are_noise_and_count(rows: Any) -> None:
    """q = 1e-9: nobody is ever drawn, and every round is released and paid all the same."""
    found = plan(sampling_rates=(1e-9,) * PARTIES)
    training, budget = Training(found, rows), generous(found)
    training.run(budget, rounds=3)
    assert not np.any(training.sums.given)
    assert all(np.count_nonzero(total) > DIMENSION / 2 for total in training.sums.released)
    assert budget.rounds_spent(found) == 3


@pytest.mark.parametrize("noise", NOISY)
def test_what_shares_need_ahead_is_made_before_the_rows_are_touched(noise: str, rows: Any) -> None:
    training = Training(plan(noise), rows)
    seconds: list[dict[str, float]] = []
    training.run(
        generous(training.sums.plan),
        rounds=2,
        on_round=lambda number, net, spent, exchange: seconds.append(exchange.seconds),
    )
    assert training.sums.prepared == {1: 0, 2: 1}  # round: sums given until then
    assert [set(each) for each in seconds] == 2 * [
        {"prepare", "noise", "encrypt", "aggregate", "decrypt"} if noise == "shares" else {"noise"}
    ]


# --- Paid before it begins -----------------------------------------------------------------------


def test_the_round_that_would_exceed_the_budget_is_not_begun(rows: Any) -> None:
    found = plan()
    budget = PrivacyBudget(found.spent(7) + 1e-6, found.delta, privacy_unit="one row")
    training = Training(found, rows)
    with pytest.raises(BudgetExceededError, match="round 8"):
        training.run(budget)
    assert training.sums.rounds == list(range(1, 8))
    assert len(training.sums.given) == 7  # no gradient of an eighth was asked for
    assert budget.spent_epsilon == found.spent(7)


def test_a_restart_goes_on_with_the_next_round(rows: Any, tmp_path: Path) -> None:
    found = plan(rounds=6)
    first, path = Training(found, rows), tmp_path / "budget.json"
    budget = generous(found, path)
    first.run(budget, rounds=4)
    del budget
    second, budget = Training(found, rows), generous(found, path)
    second.run(budget)
    assert (first.sums.rounds, second.sums.rounds) == ([1, 2, 3, 4], [5, 6])
    # Nothing is left: a further call says so, and doesn't return an untrained model.
    with pytest.raises(BudgetExceededError, match="6 rounds are spent"):
        Training(found, rows).run(budget)


def test_a_round_that_fails_is_paid_and_its_retry_is_new(rows: Any) -> None:
    """Fresh coins, fresh noise, and a payment of its own."""
    found = plan()
    training, budget = Training(found, rows), generous(found)
    training.sums.fails_at = 2
    with pytest.raises(QuorumError):
        training.run(budget, rounds=5)
    assert budget.rounds_spent(found) == 2
    assert training.sums.rounds == [1]
    training.run(budget, rounds=1)
    assert training.sums.rounds == [1, 3]
    assert budget.rounds_spent(found) == 3
    _, failed, again = training.sums.given
    assert not np.array_equal(failed, again)


def test_rows_that_are_not_finite_add_nothing_and_stop_no_round(rows: Any) -> None:
    x, y = rows[1]
    broken = x.clone()
    broken[:, 3] = float("nan")
    found = plan(sampling_rates=(1.0,) * PARTIES)
    training, budget = Training(found, [rows[0], (broken, y), rows[2]]), generous(found)
    training.run(budget)
    assert len(training.sums.rounds) == found.rounds
    assert torch.isfinite(training.model.weight).all()
    clipper = GradientClipper(linear(), broken, y, found.l2_clip_norm)
    assert not clipper.clipped_sum(np.ones(len(broken), bool)).flat.any()


# --- Parts of one plan ---------------------------------------------------------------------------


def test_contributors_of_another_plan_are_refused(rows: Any) -> None:
    """One that samples more, or clips wider, would spend more than is printed."""
    found = plan()
    for other in (
        plan(sampling_rates=(0.9,) * PARTIES),
        plan(l2_clip_norm=0.9),
        plan("central"),
        dataclasses.replace(found, rounds=31),
    ):
        training, budget = Training(found, rows), generous(found)
        training.contributors[1] = Training(other, rows).contributors[1]
        with pytest.raises(ConfigError, match="the plan of the sums"):
            training.run(budget)
        assert budget.spent_epsilon == 0
        assert training.sums.given == []


def test_contributors_stand_in_the_plans_order(rows: Any) -> None:
    found = plan()
    for places in ((0, 0, 2), (1, 0, 2), (0, 1), (0, 1, 2, 2)):
        training, budget = Training(found, rows), generous(found)
        training.contributors = [training.contributors[place] for place in places]
        with pytest.raises(ConfigError, match="part"):
            training.run(budget)
        assert budget.spent_epsilon == 0


def test_a_model_of_another_size_is_told_before_anything_is_paid(rows: Any) -> None:
    found = plan(dimension=DIMENSION + 1)
    training, budget = Training(found, rows), generous(found)
    with pytest.raises(ConfigError, match="dimension=22"):
        training.run(budget)
    assert budget.spent_epsilon == 0


def test_a_budget_of_another_unit_is_refused(rows: Any) -> None:
    training = Training(plan(), rows)
    with pytest.raises(ConfigError, match="one person"):
        training.run(PrivacyBudget(10.0, 1e-5, privacy_unit="one person"))
    assert training.sums.given == []


def test_several_local_steps_are_not_for_shares() -> None:
    for noise in ("shares", "central"):
        with pytest.raises(ConfigError, match="one aggregation a gradient step"):
            calibrate(
                1.0,
                1e-5,
                noise=noise,
                rows=(ROWS,) * PARTIES,
                rounds=5,
                l2_clip_norm=1.0,
                expected_batch_size=8,
                steps_per_round=(4,) * PARTIES,
            )


@pytest.mark.parametrize("build", ["closed form", "vmap"])
def test_one_row_moves_a_contribution_by_at_most_its_sensitivity(build: str, rows: Any) -> None:
    """Through the coins too: with the row drawn or not, all else alike."""
    model: nn.Module = linear()
    if build == "vmap":
        model = nn.Sequential(
            nn.Unflatten(1, (1, 10)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(16, 2)
        )
    x, y = rows[0]
    clipper = GradientClipper(model, x, y, 0.05)
    assert clipper.method == build
    batch = SeededRandomness(1).coins(0.5, ROWS)
    for row in range(ROWS):
        with_row, without = batch.copy(), batch.copy()
        with_row[row], without[row] = True, False
        one, other = clipper.clipped_sum(with_row), clipper.clipped_sum(without)
        assert isinstance(one, ClippedSum)
        assert np.linalg.norm(one.flat - other.flat) <= one.l2_sensitivity


@pytest.mark.parametrize("trainer", ["gradients", "dp-sgd"])
def test_more_rows_of_a_unit_than_the_plan_counts_are_refused(trainer: str, rows: Any) -> None:
    """Each party looks at its own rows alone, before it trains."""
    found = plan("local", placements=((2, 1, 0), (0, 1, 1)))
    x, y = rows[0]
    twice = [f"unit {row // 2}" for row in range(ROWS)]
    thrice = [*twice[:-1], "unit 0"]

    def build(place: int, ids: Any) -> None:
        if trainer == "gradients":
            RecordGradients(linear(), x, y, found, place, SecretRandomness(), ids=ids)
        else:
            budget = generous(found)
            DPSGDTrainer(x, y, found, place, SecretRandomness(), budget=budget, ids=ids)

    build(0, twice)
    build(1, range(ROWS))
    for place, ids in ((0, thrice), (1, twice), (2, twice)):
        with pytest.raises(ConfigError, match="more rows here than the") as refused:
            build(place, ids)
        assert "unit 0" not in str(refused.value)
    with pytest.raises(ConfigError, match="IDs"):
        build(0, twice[1:])


@pytest.mark.parametrize("trainer", ["gradients", "dp-sgd"])
def test_no_batch_is_longer_than_the_plan_allows(
    trainer: str, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of 18 rows expected and 20 at most, which many would exceed; all rows have a turn."""
    found = plan("local", truncated_batch_sizes=(20, ROWS, 5), rounds=60)
    taken: list[np.ndarray] = []
    inner = GradientClipper.clipped_sum

    def noted(self: GradientClipper, batch: np.ndarray) -> ClippedSum:
        taken.append(batch)
        return inner(self, batch)

    monkeypatch.setattr(GradientClipper, "clipped_sum", noted)
    for place, most in enumerate((20, ROWS, 5)):
        taken.clear()
        x, y = rows[place]
        source = SeededRandomness(4, place)
        if trainer == "gradients":
            contributor = RecordGradients(linear(), x, y, found, place, source, simulation=True)
            for round_id in range(60):
                contributor.contribute(round_id)
        else:
            private = DPSGDTrainer(x, y, found, place, source, simulation=True)
            for round_id in range(60):
                private.train_epoch(linear(), round_id)
        sizes = [int(batch.sum()) for batch in taken]
        assert len(sizes) == 60
        assert max(sizes) == most if most < ROWS else max(sizes) > 20
        assert np.logical_or.reduce(taken).all()
