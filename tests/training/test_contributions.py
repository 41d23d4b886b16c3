"""What a party puts into a sum never moves it by more than the plan's clip norm."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from privfed.dp import PrivacyPlan, SecretRandomness, SeededRandomness
from privfed.errors import ConfigError
from privfed.training import (
    AdamTrainer,
    AdaptiveClip,
    CentralNoise,
    ClientUpdates,
    ClippedSum,
    FixedClip,
    RecordGradients,
    SharedNoise,
    get_arrays,
    set_arrays,
    train_private,
)
from privfed.training.contributions import Clip

CLIENTS = 40
SIZE = 12


def plan(clients: int = CLIENTS, **other: Any) -> PrivacyPlan:
    """Client-level: one "row" a party, the client itself."""
    settings: dict[str, Any] = {
        "noise": "central",
        "rows": (1,) * clients,
        "sampling_rates": (0.5,) * clients,
        "rounds": 20,
        "steps_per_round": (1,) * clients,
        "l2_clip_norm": 1.0,
        "noise_multiplier": 0.8,
        "delta": 1e-5,
        "privacy_unit": "one client",
        "placements": [tuple(int(i == j) for j in range(clients)) for i in range(clients)],
        "quorum": clients,
        "dimension": SIZE,
    }
    return PrivacyPlan(**(settings | other))


class Moved:
    """Local training that moves every parameter by a given number."""

    def __init__(self, by: float) -> None:
        self.by, self.rounds = by, 0

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        self.rounds += 1
        set_arrays(model, {name: array + self.by for name, array in get_arrays(model).items()})


class Descent:
    """Five steps of plain gradient descent on a client's few rows."""

    def __init__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self._x, self._y = x, y

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        sgd = torch.optim.SGD(model.parameters(), lr=0.5)
        for _ in range(5):
            sgd.zero_grad()
            nn.functional.cross_entropy(model(self._x), self._y).backward()
            sgd.step()


def network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(5, 2)  # 12 parameters


def client(by: float, rate: float = 1.0, adaptive: bool = False) -> tuple[ClientUpdates, Moved]:
    found = plan(2, sampling_rates=(0.5, rate), noise_multiplier=0.2, dimension=SIZE + adaptive)
    trainer = Moved(by)
    clip = AdaptiveClip(found) if adaptive else FixedClip(found)
    return ClientUpdates(network(), trainer, clip, found, 1, SecretRandomness()), trainer


# --- Clipping ---------------------------------------------------------------------------------

updates = st.lists(
    st.floats(-1e30, 1e30) | st.floats(-2, 2) | st.just(0.0), min_size=SIZE, max_size=SIZE
).map(np.array)


@given(updates, st.floats(1e-6, 1e6))
def test_a_fixed_clip_bounds_the_norm_and_keeps_what_is_shorter(
    update: np.ndarray, norm: float
) -> None:
    clip = FixedClip(plan(l2_clip_norm=norm))
    packed = clip.pack(update)
    assert np.linalg.norm(packed) <= norm * (1 + 1e-9)
    length = np.linalg.norm(update)
    if length <= norm:
        assert np.array_equal(packed, update)
    else:
        assert np.allclose(packed * length, update * norm, rtol=1e-9)
    assert np.array_equal(clip.unpack(packed), packed)


@given(updates, st.floats(1e-6, 1e6), st.floats(0.1, 50), st.lists(st.floats(-9, 9), max_size=5))
def test_the_adaptive_vector_has_norm_one(
    update: np.ndarray, initial: float, noise_multiplier: float, before: list[float]
) -> None:
    """Also after rounds whose noisy count was anything; the count is in the norm."""
    found = plan(dimension=SIZE + 1, noise_multiplier=noise_multiplier)
    clip = AdaptiveClip(found, initial_norm=initial)
    for count in before:
        clip.unpack(np.append(np.zeros(SIZE), count))
    packed = clip.pack(update)
    assert packed.shape == (SIZE + 1,)
    assert np.linalg.norm(packed) <= 1 + 1e-9
    share = min(0.5, 10 * noise_multiplier / (0.5 * CLIENTS))
    below = np.linalg.norm(update) <= clip.norm
    assert packed[-1] == pytest.approx(share if below else -share)
    # Alone in a sum without noise it comes back clipped to the current norm.
    clipped = update * min(1.0, clip.norm / max(float(np.linalg.norm(update)), 1e-300))
    assert np.allclose(clip.unpack(packed.copy()), clipped, rtol=1e-9)


@pytest.mark.parametrize(("quantile", "initial"), [(0.5, 0.01), (0.5, 50.0), (0.9, 1.0)])
def test_the_clip_norm_finds_the_quantile(quantile: float, initial: float) -> None:
    """Without noise, over clients whose norms are 1 … 200."""
    found = plan(200, sampling_rates=(1.0,) * 200, dimension=2, noise_multiplier=0.1)
    clip = AdaptiveClip(found, initial_norm=initial, target_quantile=quantile)
    for _ in range(150):
        clip.unpack(np.sum([clip.pack(np.array([float(norm)])) for norm in range(1, 201)], axis=0))
    assert clip.norm == pytest.approx(200 * quantile, rel=0.03)


def test_what_the_count_costs_is_in_the_noise() -> None:
    """Noise z on everything becomes z/√(1 − s²) clip norms on the updates, 1/20 on the count."""
    found = plan(200, sampling_rates=(1.0,) * 200, dimension=3001, noise_multiplier=4.0)
    clip = AdaptiveClip(found, initial_norm=7.0)
    share = 10 * 4.0 / 200
    nothing = ClippedSum({}, np.zeros(3001), 1.0)
    noise = CentralNoise(found).release(1, [nothing] * 200).total
    before = clip.norm
    noisy = clip.unpack(noise)
    assert noisy.shape == (3000,)
    # The deviation of 3,000 values is within 8 %, six of its own deviations.
    assert noisy.std() == pytest.approx(7.0 * 4.0 / math.sqrt(1 - share**2), rel=0.08)
    count = noise[-1] / (share * 200)
    below = min(max((count + 1) / 2, 0.0), 1.0)
    assert clip.norm == pytest.approx(before * math.exp(-0.2 * (below - 0.5)))
    assert 4.0 / (share * 200) / 2 == pytest.approx(1 / 20)  # as in the paper


def test_the_clip_norm_survives_a_restart(tmp_path: Path) -> None:
    """To the bit: a run in three processes goes on as one that never stopped."""
    found, path = plan(dimension=SIZE + 1), tmp_path / "clip.json"
    totals = np.random.default_rng(1).normal(0, 9, (6, SIZE + 1))
    whole = AdaptiveClip(found, initial_norm=3.0)
    for total in totals:
        whole.unpack(total)
    for part in np.split(totals, 3):
        clip = AdaptiveClip(found, initial_norm=3.0, path=path)
        for total in part:
            clip.unpack(total)
        clip.close()
    assert AdaptiveClip(found, initial_norm=3.0, path=path).norm == whole.norm != 3.0


def test_a_clip_norm_that_cannot_be_kept_does_not_move(tmp_path: Path) -> None:
    clip = AdaptiveClip(plan(dimension=SIZE + 1), path=tmp_path / "clip.json")
    clip.close()
    with pytest.raises(ConfigError, match="was closed"):
        clip.unpack(np.ones(SIZE + 1))
    assert clip.norm == 0.1


def test_a_file_that_is_no_clip_norm_of_this_plan_is_refused(tmp_path: Path) -> None:
    found, path = plan(dimension=SIZE + 1), tmp_path / "clip.json"
    clip = AdaptiveClip(found, path=path)
    clip.unpack(np.ones(SIZE + 1))
    with pytest.raises(ConfigError, match="in use"):
        AdaptiveClip(found, path=path)
    clip.close()
    with pytest.raises(ConfigError, match="another plan's clip norm"):
        AdaptiveClip(plan(dimension=SIZE + 2), path=path)
    kept = json.loads(path.read_text())
    for wrong in ("", "{}", "[1]", *(json.dumps(kept | {"norm": x}) for x in (0, -1.0, "1", None))):
        path.write_text(wrong)
        with pytest.raises(ConfigError, match="is no clip norm"):
            AdaptiveClip(found, path=path)
    path.write_text(json.dumps(kept).replace(str(kept["norm"]), "1e999"))
    with pytest.raises(ConfigError, match="is no clip norm"):
        AdaptiveClip(found, path=path)


@pytest.mark.parametrize(
    ("found", "settings", "says"),
    [
        (plan(l2_clip_norm=0.5), {}, "l2_clip_norm=1"),
        (plan(), {"initial_norm": 0.0}, "positive"),
        (plan(), {"initial_norm": math.nan}, "positive"),
        (plan(), {"learning_rate": 0.0}, "positive"),
        (plan(), {"target_quantile": 1.5}, "quantile"),
        (plan(), {"target_quantile": math.nan}, "quantile"),
    ],
)
def test_wrong_adaptive_clips(found: PrivacyPlan, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        AdaptiveClip(found, **settings)


# --- Clients ----------------------------------------------------------------------------------


def test_a_client_sends_minus_its_clipped_update_and_puts_the_model_back() -> None:
    contributor, _ = client(by=0.5)
    model = contributor._model
    before = get_arrays(model)
    sent = contributor.contribute(1)
    assert np.allclose(sent.flat, -np.full(SIZE, 1 / math.sqrt(SIZE)))
    assert 1.0 < sent.l2_sensitivity < 1.0 + 1e-6
    assert all(np.array_equal(array, before[name]) for name, array in get_arrays(model).items())
    assert "0.28" not in repr(sent)


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_client_left_out_sends_zeros(adaptive: bool) -> None:
    """It doesn't even train; and with its noise share nobody can tell (two shares, real sum)."""
    contributor, trainer = client(by=0.5, rate=1e-300, adaptive=adaptive)
    sent = contributor.contribute(1)
    assert trainer.rounds == 0
    assert sent.flat.shape == (SIZE + adaptive,)
    assert not sent.flat.any()
    found = plan(2, noise="shares", dimension=SIZE + adaptive)
    total = SharedNoise(found).release(1, [sent, sent]).total
    assert np.count_nonzero(total) > SIZE / 2


def test_coins_take_clients_at_their_rate() -> None:
    """2,000 coins at 0.3: 600 ± 123 is six deviations."""
    contributor, trainer = client(by=0.5, rate=0.3)
    for round_id in range(2000):
        contributor.contribute(round_id)
    assert abs(trainer.rounds - 600) < 123


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("by", [math.nan, math.inf, -math.inf])
def test_an_update_that_is_not_finite_is_like_none(by: float, adaptive: bool) -> None:
    """No round ends for it: that would tell of the client's rows. The model is put back."""
    contributor, trainer = client(by=by, adaptive=adaptive)
    before = get_arrays(contributor._model)
    sent = contributor.contribute(1)
    assert trainer.rounds == 1
    assert sent.flat.shape == (SIZE + adaptive,)
    assert not sent.flat.any()
    after = get_arrays(contributor._model)
    assert all(np.array_equal(array, before[name]) for name, array in after.items())


def test_weights_that_are_not_finite_are_refused() -> None:
    """They are public, and no client's update would be finite."""
    contributor, trainer = client(by=0.5, rate=1e-300)
    with torch.no_grad():
        next(contributor._model.parameters())[0] = math.nan
    with pytest.raises(ConfigError, match="not a finite number"):
        contributor.contribute(1)
    assert trainer.rounds == 0


class Fails(Moved):
    """Moves the model, leaves gradients on it, and then breaks off."""

    def train_epoch(self, model: nn.Module, seed: int) -> None:
        super().train_epoch(model, seed)
        model(torch.ones(1, 5)).sum().backward()
        raise RuntimeError("out of memory")


def test_no_trace_stays_on_the_model_when_training_fails() -> None:
    contributor, _ = client(by=0.5)
    contributor._trainer = Fails(0.5)
    model = contributor._model
    before = get_arrays(model)
    with pytest.raises(RuntimeError):
        contributor.contribute(1)
    assert all(np.array_equal(array, before[name]) for name, array in get_arrays(model).items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_running_statistics_are_refused_by_name() -> None:
    """They would carry a client's raw means into the global model."""
    found = plan(2, dimension=20)

    def make(model: nn.Module) -> None:
        ClientUpdates(model, Moved(0), FixedClip(found), found, 0, SecretRandomness())

    with pytest.raises(ConfigError, match=r"1\.running_mean follows the rows.*GroupNorm"):
        make(nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2)))
    make(nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2, track_running_stats=False)))
    make(nn.Sequential(nn.Linear(5, 2), nn.GroupNorm(1, 2)))
    model = network()
    model.register_buffer("spectrum", torch.zeros(3, dtype=torch.complex64))
    with pytest.raises(ConfigError, match="spectrum follows the rows"):
        make(model)


def test_a_clip_of_another_plan_is_refused() -> None:
    """Its norm may be larger than the one that this plan's noise hides."""
    found, wide = plan(2), plan(2, l2_clip_norm=100.0)
    with pytest.raises(ConfigError, match="clip is another plan's"):
        ClientUpdates(network(), Moved(5), FixedClip(wide), found, 0, SecretRandomness())
    model = network()
    clients = [
        ClientUpdates(model, Moved(5), FixedClip(found), found, place, SecretRandomness())
        for place in range(2)
    ]
    sgd, budget = torch.optim.SGD(model.parameters(), lr=1.0), generous(found)
    with pytest.raises(ConfigError, match="clip is another plan's"):
        train_private(model, clients, CentralNoise(found), budget, sgd, clip=FixedClip(wide))
    assert budget.spent_epsilon == 0


def test_frozen_parameters_are_no_part_of_an_update() -> None:
    model = nn.Sequential(nn.Linear(5, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    found = plan(2, sampling_rates=(1.0, 1.0), dimension=6)
    clip = FixedClip(found)
    x, y = torch.randn(20, 5), torch.randint(0, 2, (20,))
    clients = [
        ClientUpdates(model, AdamTrainer(x, y), clip, found, place, SecretRandomness())
        for place in range(2)
    ]
    first = model[0]
    assert isinstance(first, nn.Linear)
    frozen = first.weight.clone()
    budget = generous(found)
    sgd = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    train_private(model, clients, CentralNoise(found), budget, sgd, clip=clip, rounds=1)
    assert torch.equal(first.weight, frozen)


def generous(found: PrivacyPlan) -> Any:
    from privfed.dp import PrivacyBudget

    return PrivacyBudget(1e3, found.delta, privacy_unit=found.privacy_unit)


@pytest.mark.parametrize("certain", [0, 1, 2])
def test_each_party_samples_at_its_own_rate(certain: int) -> None:
    """One party takes all its rows, the others next to none; each party's rate is its own."""
    rates = tuple(1.0 if place == certain else 1e-9 for place in range(3))
    found = plan(3, noise="local", rows=(9, 9, 9), sampling_rates=rates, l2_clip_norm=100.0)
    for place in range(3):
        model, x = nn.Linear(5, 2), torch.ones(9, 5)
        party = RecordGradients(
            model, x, torch.zeros(9, dtype=torch.long), found, place, SecretRandomness()
        )
        drawn = np.linalg.norm(party.contribute(0).flat)
        assert (drawn > 0) == (place == certain)


@pytest.mark.parametrize("adaptive", [False, True])
def test_clients_learn_together(adaptive: bool) -> None:
    """Forty clients with a few rows each; fixed seeds. The loss falls by half."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(CLIENTS * 8, 5, generator=generator)
    y = (x[:, 0] > 0).long()
    found = plan(
        sampling_rates=(0.8,) * CLIENTS,
        dimension=SIZE + adaptive,
        noise_multiplier=0.5,
        rounds=15,
    )
    clip: Clip = AdaptiveClip(found, initial_norm=0.05) if adaptive else FixedClip(found)
    model = network()
    clients = [
        ClientUpdates(
            model,
            Descent(x[8 * place : 8 * place + 8], y[8 * place : 8 * place + 8]),
            clip,
            found,
            place,
            SeededRandomness(place),
            simulation=True,
        )
        for place in range(CLIENTS)
    ]

    def loss() -> float:
        return nn.functional.cross_entropy(model(x), y).item()

    before, norm = loss(), clip.norm  # type: ignore[attr-defined]
    sums = CentralNoise(found, [SeededRandomness(99)], simulation=True)
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    train_private(model, clients, sums, generous(found), sgd, clip=clip)
    assert loss() < before / 2
    assert (clip.norm != norm) == adaptive  # type: ignore[attr-defined]


# --- What doesn't fit ---------------------------------------------------------------------------


def test_seeded_randomness_is_refused_unless_simulation_is_meant() -> None:
    found, rows = plan(2), (torch.zeros(1, 5), torch.zeros(1, dtype=torch.long))
    for simulation in (False, True):
        settings: dict[str, Any] = {"simulation": simulation}

        def make(settings: dict[str, Any] = settings) -> None:
            seeded = SeededRandomness(0)
            ClientUpdates(network(), Moved(0), FixedClip(found), found, 0, seeded, **settings)
            RecordGradients(network(), *rows, found, 0, seeded, **settings)

        if simulation:
            make()
        else:
            with pytest.raises(ConfigError, match="seeded"):
                make()


@pytest.mark.parametrize(("party", "rows"), [(2, 1), (-1, 1), (0, 2), (0, 0)])
def test_rows_and_places_are_the_plans(party: int, rows: int) -> None:
    found = plan(2)
    with pytest.raises(ConfigError, match="privacy plan"):
        RecordGradients(
            network(),
            torch.zeros(rows, 5),
            torch.zeros(rows, dtype=torch.long),
            found,
            party,
            SecretRandomness(),
        )


def test_a_record_level_plan_is_not_for_clients() -> None:
    found = plan(2, rows=(30, 30))
    with pytest.raises(ConfigError, match="counts 30"):
        ClientUpdates(network(), Moved(0), FixedClip(found), found, 0, SecretRandomness())
