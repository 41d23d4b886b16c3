"""DP-SGD against loops written by hand: what is clipped, what is added, what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from scipy import stats
from torch import nn
from torch.nn import functional

from privfed.dp import (
    Noise,
    PrivacyBudget,
    PrivacyPlan,
    SecretRandomness,
    SeededRandomness,
)
from privfed.dp.randomness import NoiseSource, noise_grid
from privfed.errors import BudgetExceededError, ConfigError, PrivacyWarning
from privfed.training import (
    DPSGDTrainer,
    evaluate,
    get_arrays,
    initial_model,
    log_probabilities,
    paper_network,
    weights_sha256,
)

N, RATE, CLIP = 40, 0.5, 0.6
EXPECTED = N * RATE


class Chosen:
    """Coins chosen beforehand, a list for each step; noise from a seed, or none.

    `released` is the noisy sum of clipped gradients of the last step, as one vector.
    """

    simulation = True

    def __init__(self, *coins: ArrayLike, noise: SeededRandomness | None = None) -> None:
        self._coins, self._noise = list(coins), noise

    def words(self, count: int) -> np.ndarray:
        raise AssertionError("nothing but coins and noise is drawn")

    def coins(self, probability: float, count: int) -> np.ndarray:
        assert probability == RATE
        coins = np.array(self._coins.pop(0))
        assert coins.shape == (count,)
        return coins

    def noisy(self, values: np.ndarray, standard_deviation: float) -> np.ndarray:
        released = values.copy()
        if self._noise is not None:
            released = self._noise.noisy(values, standard_deviation)
        self.released = torch.from_numpy(released.copy()).float()
        return released


def plan(steps: int = 1, rounds: int = 2, noise_multiplier: float = 1.5) -> PrivacyPlan:
    return PrivacyPlan(
        noise="local",
        rounds=rounds,
        rows=(7, N),
        sampling_rates=(1.0, RATE),
        steps_per_round=(1, steps),
        l2_clip_norm=CLIP,
        noise_multiplier=noise_multiplier,
        delta=1e-5,
        privacy_unit="one row",
        placements=((1, 0), (0, 1)),
        quorum=2,
    )


def simulated(
    x: torch.Tensor,
    y: torch.Tensor,
    plan: PrivacyPlan,
    randomness: NoiseSource,
    learning_rate: float = 1e-3,
    budget: PrivacyBudget | None = None,
) -> DPSGDTrainer:
    return DPSGDTrainer(x, y, plan, 1, randomness, learning_rate, budget=budget, simulation=True)


@pytest.fixture
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of many sizes, so that the clip norm binds some and not others."""
    generator = torch.Generator().manual_seed(1)
    sizes = torch.linspace(0.02, 4, N)[:, None]
    x = sizes * torch.randn(N, 12, generator=generator)
    return x, torch.randint(0, 2, (N,), generator=generator)


def fresh() -> nn.Sequential:
    model = initial_model(lambda: paper_network(12, 2), 3)
    assert isinstance(model, nn.Sequential)
    return model


def one_by_one(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor, chosen: np.ndarray
) -> tuple[torch.Tensor, list[float]]:
    """The clipped sum by autograd on single rows, without Opacus; and each row's norm."""
    model.eval()  # no dropout
    total, norms = torch.zeros(5858), []
    for i in np.flatnonzero(chosen):
        loss = functional.nll_loss(log_probabilities(model(x[i : i + 1])), y[i : i + 1])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        norms.append(float(flat.norm()))
        total += flat * min(1.0, CLIP / norms[-1])
    return total, norms


@pytest.mark.parametrize("seed", range(4))
def test_the_clipped_sum_is_that_of_a_loop_over_rows(
    rows: tuple[torch.Tensor, torch.Tensor], seed: int
) -> None:
    chosen = SeededRandomness(seed).coins(RATE, N)
    wanted, norms = one_by_one(fresh(), *rows, chosen)
    assert min(norms) < CLIP < max(norms)
    source = Chosen(chosen)
    simulated(*rows, plan(), source).train_epoch(fresh(), 0)
    assert torch.allclose(source.released, wanted, rtol=0, atol=1e-6 * EXPECTED)


def test_three_steps_are_adam_on_those_sums(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    coins = [SeededRandomness(step).coins(RATE, N) for step in range(6)]
    model, by_hand = fresh(), fresh()
    trainer = simulated(*rows, plan(steps=3), Chosen(*coins), learning_rate=2e-3)
    for round_id in (1, 2):  # the moments last from round to round
        trainer.train_epoch(model, round_id)
    adam = torch.optim.Adam(by_hand.parameters(), lr=2e-3)
    for chosen in coins:
        total, _ = one_by_one(by_hand, *rows, chosen)
        parts = torch.split(total / EXPECTED, [p.numel() for p in by_hand.parameters()])
        for parameter, part in zip(by_hand.parameters(), parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()
        adam.step()
    for name, array in get_arrays(model).items():
        assert np.allclose(array, get_arrays(by_hand)[name], rtol=0, atol=2e-5)


@pytest.mark.parametrize("row", [0, 1, 20, N - 1])
def test_one_row_more_moves_the_sum_by_at_most_the_clip_norm(
    rows: tuple[torch.Tensor, torch.Tensor], row: int
) -> None:
    """What the whole accounting rests on; dropout by place in the batch would break it."""
    with_row = np.ones(N, bool)
    without = with_row.copy()
    without[row] = False
    sums = []
    for coins in (with_row, without):
        source = Chosen(coins)
        simulated(*rows, plan(), source).train_epoch(fresh(), 0)
        sums.append(source.released)
    assert float((sums[0] - sums[1]).norm()) <= CLIP * (1 + 1e-5)


def test_nothing_depends_on_the_public_seed(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    digests = []
    for seed in (1, 2):
        model = fresh()
        simulated(*rows, plan(), SeededRandomness(0)).train_epoch(model, seed)
        digests.append(weights_sha256(get_arrays(model)))
    assert digests[0] == digests[1]


@pytest.mark.parametrize("noise_multiplier", [0.5, 3.0])
def test_the_noise_is_as_wide_as_planned(
    rows: tuple[torch.Tensor, torch.Tensor], noise_multiplier: float
) -> None:
    """σ·C on each value of the sum: Kolmogorov and Smirnov on 5858, fixed seed, alarm 0.001.

    Values lie on a grid, so each is first spread over its cell as the Gaussian has it.
    """
    chosen = np.arange(N) % 3 == 0
    clipped, _ = one_by_one(fresh(), *rows, chosen)
    settings = plan(noise_multiplier=noise_multiplier)
    source = Chosen(chosen, noise=SeededRandomness(11))
    simulated(*rows, settings, source).train_epoch(fresh(), 0)
    noise = (source.released - clipped).numpy() / (noise_multiplier * CLIP)
    half = noise_grid(noise_multiplier * CLIP) / (2 * noise_multiplier * CLIP)
    low, high = stats.norm.cdf([noise - half, noise + half])
    spread = low + np.random.default_rng(0).random(5858) * (high - low)
    assert stats.kstest(spread, "uniform").pvalue > 0.001
    assert noise.std() == pytest.approx(1.0, abs=0.03)  # 3.2 standard deviations of the estimate


def test_an_empty_batch_steps_with_noise_alone(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    model, settings = fresh(), plan()
    before = get_arrays(model)
    nobody = np.zeros(N, bool)
    source = Chosen(nobody, noise=SeededRandomness(5))
    simulated(*rows, settings, source).train_epoch(model, 0)
    wanted = SeededRandomness(5).noisy(np.zeros(5858), settings.noise_multiplier * CLIP)
    assert np.allclose(source.released, wanted, rtol=1e-5, atol=1e-6)
    moved = [(before[name] != after).ravel() for name, after in get_arrays(model).items()]
    assert np.array_equal(np.concatenate(moved), wanted != 0)


def test_secret_randomness_drives_it(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Two runs alike in everything else part ways."""
    digests = set()
    for _ in range(2):
        model = fresh()
        budget = PrivacyBudget(plan().epsilon, 1e-5, privacy_unit="one row")
        trainer = DPSGDTrainer(*rows, plan(), 1, SecretRandomness(), budget=budget)
        trainer.train_epoch(model, 0)
        digests.add(weights_sha256(get_arrays(model)))
    assert len(digests) == 2


def test_no_trace_of_the_rows_stays_on_the_model(
    rows: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """Neither Opacus's hooks nor single gradients nor the clipped sum before the noise."""
    model = fresh()
    clean = [sorted(vars(module)) for module in model.modules()]
    simulated(*rows, plan(steps=2), SeededRandomness(0)).train_epoch(model, 0)
    assert untouched(model)
    leftover = {
        name
        for module, names in zip(model.modules(), clean, strict=True)
        for name in set(vars(module)) - set(names)
    }
    assert leftover <= {"activations"}
    assert not any(getattr(module, "activations", None) for module in model.modules())
    assert evaluate(model, *rows).loss > 0
    simulated(*rows, plan(), SeededRandomness(0)).train_epoch(model, 0)  # hooks go on again


def untouched(model: nn.Module) -> bool:
    return not any(
        module._forward_hooks or module._backward_hooks  # noqa: SLF001  (torch's)
        for module in model.modules()
    ) and not any(vars(parameter) for parameter in model.parameters())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_no_clipping_bounds_add_exactly_nothing(
    rows: tuple[torch.Tensor, torch.Tensor], bad: float
) -> None:
    x, y = rows
    model, other = fresh(), fresh()
    without = np.arange(N) != 5
    simulated(x.clone(), y, plan(), Chosen(without)).train_epoch(other, 0)
    x[5, 3] = bad
    simulated(x, y, plan(), Chosen(np.ones(N, bool))).train_epoch(model, 0)
    assert weights_sha256(get_arrays(model)) == weights_sha256(get_arrays(other))
    assert untouched(model)


@pytest.mark.parametrize("size", [1e10, 1e20, 1e30, 1e38])
def test_a_huge_row_counts_no_more_than_the_clip_norm(
    rows: tuple[torch.Tensor, torch.Tensor], size: float
) -> None:
    """Its gradient is finite while the square of its norm need not be."""
    x, y = rows
    x[0, 3] = size
    source = Chosen(np.arange(N) == 0)
    simulated(x, y, plan(), source).train_epoch(fresh(), 0)
    assert float(source.released.norm()) <= CLIP * (1 + 1e-5)


def test_a_plan_of_other_rows_is_refused(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, y = rows
    with pytest.raises(ConfigError, match="counts 7 training rows at party 0, which has 40"):
        DPSGDTrainer(x, y, plan(), 0, SecretRandomness())
    with pytest.raises(ConfigError, match="counts 40 training rows at party 1, which has 39"):
        DPSGDTrainer(x[1:], y[1:], plan(), 1, SecretRandomness())


@pytest.mark.parametrize("noise", ["shares", "central"])
def test_a_plan_of_other_noise_is_refused(
    rows: tuple[torch.Tensor, torch.Tensor], noise: Noise
) -> None:
    other = dataclasses.replace(plan(), noise=noise)
    with pytest.raises(ConfigError, match=f"noise is {noise}"):
        DPSGDTrainer(*rows, other, 1, SecretRandomness())


def test_seeded_randomness_is_for_simulation_alone(
    rows: tuple[torch.Tensor, torch.Tensor],
) -> None:
    with pytest.raises(ConfigError, match="a seeded generator protects nobody"):
        DPSGDTrainer(*rows, plan(), 1, SeededRandomness(0))
    DPSGDTrainer(*rows, plan(), 1, SeededRandomness(0), simulation=True)


def test_no_round_beyond_the_plan(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    trainer = simulated(*rows, plan(rounds=2), SeededRandomness(0))
    model = fresh()
    for _ in range(2):
        trainer.train_epoch(model, 0)
    before = weights_sha256(get_arrays(model))
    with pytest.raises(BudgetExceededError, match="2 rounds are spent"):
        trainer.train_epoch(model, 0)
    assert weights_sha256(get_arrays(model)) == before


def test_a_restart_goes_on_with_what_is_left_on_disk(
    rows: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    settings = plan(rounds=3)
    for done in (2, 1):
        budget = PrivacyBudget(
            settings.epsilon, settings.delta, privacy_unit="one row", path=tmp_path / "budget.json"
        )
        trainer = simulated(*rows, settings, SeededRandomness(done), budget=budget)
        for _ in range(done):
            trainer.train_epoch(fresh(), 0)
        del trainer, budget  # which unlocks the file
    kept = PrivacyBudget(
        settings.epsilon, settings.delta, privacy_unit="one row", path=tmp_path / "budget.json"
    )
    assert kept.rounds_spent(settings) == 3
    again = simulated(*rows, settings, Chosen(), budget=kept)  # no coin is left to toss
    model = fresh()
    before = weights_sha256(get_arrays(model))
    with pytest.raises(BudgetExceededError, match="3 rounds are spent"):
        again.train_epoch(model, 0)
    assert weights_sha256(get_arrays(model)) == before


def test_a_round_beyond_the_budget_is_refused_before_it_runs(
    rows: tuple[torch.Tensor, torch.Tensor],
) -> None:
    settings = plan(rounds=5)
    budget = PrivacyBudget(settings.spent(2), settings.delta, privacy_unit="one row")
    trainer = simulated(*rows, settings, SeededRandomness(0), budget=budget)
    for _ in range(2):
        trainer.train_epoch(fresh(), 0)
    model = fresh()
    before = weights_sha256(get_arrays(model))
    with pytest.raises(BudgetExceededError, match="round 3 would spend"):
        trainer.train_epoch(model, 0)
    assert weights_sha256(get_arrays(model)) == before
    assert budget.rounds_spent(settings) == 2


def test_a_budget_of_another_unit_is_refused(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    budget = PrivacyBudget(9.0, 1e-5, privacy_unit="one customer")
    with pytest.raises(ConfigError, match="the budget protects 'one customer'"):
        simulated(*rows, plan(), SeededRandomness(0), budget=budget)


def test_a_refused_round_is_spent_all_the_same(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Some of its steps may be out already."""
    x, y = rows
    trainer = simulated(x, y, plan(rounds=1), Chosen(np.ones(N, bool)))
    broken = fresh()
    with torch.no_grad():
        next(broken.parameters())[0, 0] = np.nan
    with pytest.raises(ConfigError, match="not a finite number"):
        trainer.train_epoch(broken, 0)
    with pytest.raises(BudgetExceededError, match="spent"):
        trainer.train_epoch(fresh(), 0)


def test_a_trainer_without_a_budget_says_so_once(rows: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.warns(PrivacyWarning, match="no budget is given") as said:
        trainer = DPSGDTrainer(*rows, plan(), 1, SecretRandomness())
    assert len(said) == 1
    assert said[0].filename == __file__
    for _ in range(2):
        trainer.train_epoch(fresh(), 0)  # a warning here is an error
    budget = PrivacyBudget(plan().epsilon, 1e-5, privacy_unit="one row")
    DPSGDTrainer(*rows, plan(), 1, SecretRandomness(), budget=budget)
    simulated(*rows, plan(), SeededRandomness(0))


class Counted(nn.Module):
    """Counts its calls, in all copies."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.last, self.settings = nn.Linear(12, 2), {"scale": [1.0]}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        type(self).calls += 1
        scores: torch.Tensor = self.last(x) * self.settings["scale"][0]
        return scores


def test_a_model_is_checked_once_and_not_every_epoch(
    rows: tuple[torch.Tensor, torch.Tensor],
) -> None:
    model, nobody = Counted(), np.zeros(N, bool)
    trainer = simulated(*rows, plan(rounds=4), Chosen(*4 * [nobody]))
    trainer.train_epoch(model, 0)
    Counted.calls = 0
    trainer.train_epoch(model, 0)
    assert Counted.calls == 0  # no row takes part, and there is nothing to check
    model.settings["scale"][0] = 2.0
    trainer.train_epoch(model, 0)
    assert Counted.calls > 0
    Counted.calls = 0
    trainer.train_epoch(Counted(), 0)
    assert Counted.calls > 0


def test_a_layer_that_mixes_rows_is_refused_also_after_an_epoch(
    rows: tuple[torch.Tensor, torch.Tensor],
) -> None:
    model = fresh()
    trainer = simulated(*rows, plan(), Chosen(np.ones(N, bool)))
    trainer.train_epoch(model, 0)
    model.append(nn.BatchNorm1d(2))
    with pytest.raises(ConfigError, match="mixes the rows of a batch"):
        trainer.train_epoch(model, 0)
