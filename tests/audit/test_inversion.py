"""Every attack has a known answer: what it must recover, and what it must not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from privfed.audit.inversion import FeatureReader, likeliest_row, row_by_svd, rows_by_unit
from privfed.audit.onlookers import (
    NoisyStep,
    SecondParty,
    SecondPartyUnderShares,
    Step,
    Upload,
    flat,
    network_dimension,
)
from privfed.data import Dataset
from privfed.dp import PrivacyPlan, SeededRandomness, calibrate

LONE = 24


@pytest.fixture(scope="module")
def step(dresses: Dataset) -> Step:
    return Step(dresses, seed=3)


@pytest.fixture(scope="module")
def lone(step: Step) -> list[np.ndarray]:
    return np.array_split(step.order[:LONE], LONE)


def step_plan(step: Step, noise: str, multiplier: float | None = None) -> PrivacyPlan:
    rows = [len(step.labels)] if noise == "local" else [len(step.labels) // 2] * 2
    plan = calibrate(
        8.0,
        1e-5,
        noise=noise,  # type: ignore[arg-type]
        rows=rows,
        rounds=20,
        l2_clip_norm=1.0,
        sampling_rates=[0.1] * len(rows),
        steps_per_round=[1] * len(rows),
        dimension=network_dimension(step.model),
    )
    if multiplier is None:
        return plan
    return dataclasses.replace(plan, noise_multiplier=multiplier, target_epsilon=None)


def test_one_rows_gradient_is_the_row() -> None:
    rng = np.random.default_rng(0)
    row, delta = rng.normal(size=7), rng.normal(size=5)
    candidates = rows_by_unit(np.outer(delta, row), delta)
    assert candidates.shape == (5, 7)
    np.testing.assert_allclose(candidates, np.broadcast_to(row, (5, 7)), rtol=1e-12)
    np.testing.assert_allclose(row_by_svd(np.outer(delta, row), delta), row, rtol=1e-9)


def test_a_matched_row_survives_noise_that_inversion_does_not() -> None:
    rng = np.random.default_rng(5)
    table, delta = rng.normal(size=(200, 12)), rng.normal(size=128)
    noise = 0.5 * rng.normal(size=(128, 13))
    seen = np.outer(delta, np.append(table[17], 1.0)) + noise
    assert likeliest_row(seen[:, :-1], seen[:, -1], table) == 17
    assert np.abs(rows_by_unit(seen[:, :-1], seen[:, -1]) - table[17]).max(axis=1).min() > 0.1


@pytest.mark.parametrize("encoding", ["dresses", "onehot"])
def test_a_batch_of_one_is_recovered_exactly(request: pytest.FixtureRequest, encoding: str) -> None:
    step = Step(request.getfixturevalue(encoding), seed=3)
    found = step.attack(
        "plaintext", "", np.array_split(step.order[:64], 64), lambda b: flat(step.update(b))
    )
    assert (found.recovered, found.rows, found.identified) == (64, 64, 64)
    assert found.attributes_right == 1.0 > found.attributes_blind
    row = step.order[:1]
    _, best = step.guess(flat(step.update(row)))
    np.testing.assert_allclose(best, step.true[row[0]], atol=2e-3)  # float32 weights were updated


def test_batches_hide_rows_and_an_epoch_hides_all(step: Step) -> None:
    rows = step.order[:64]
    recovered = [
        step.attack(
            "plaintext", "", np.array_split(rows, 64 // size), lambda b: flat(step.update(b))
        ).recovered
        for size in (1, 4, 64)
    ]
    assert recovered[0] == 64 > recovered[1] > 32 > recovered[2]
    epoch = step.attack("plaintext-epoch", "", [step.order[:250]], lambda b: flat(step.epoch(b)))
    assert epoch.recovered == 0


def test_ciphertext_gives_nothing_and_the_same_bytes_in_the_clear_give_all(
    step: Step, lone: list[np.ndarray]
) -> None:
    control = step.attack("control", "", lone, Upload(step, "reference"))
    assert (control.recovered, control.identified) == (LONE, LONE)
    encrypted = step.attack("encrypted", "", lone, Upload(step, "packed"))
    # Picking one of 500 at random is right 3 times in 24 with chance 1.6e-5.
    assert encrypted.recovered == 0
    assert encrypted.identified is not None
    assert encrypted.identified < 3


def test_what_is_read_off_ciphertext_is_not_correlated_with_the_update(step: Step) -> None:
    update = step.update(step.order[:1])
    clear = Upload(step, "reference").read(update)
    np.testing.assert_allclose(clear, flat(update), atol=64 / 2**23)
    read = np.concatenate([Upload(step, "packed").read(update) for _ in range(4)])
    correlation = np.corrcoef(read, np.tile(flat(update), 4))[0, 1]
    assert abs(correlation) < 5 / np.sqrt(160)  # its energy is in some 160 of 5858 values


def test_the_second_of_two_parties_has_the_others_rows(step: Step, lone: list[np.ndarray]) -> None:
    second = SecondParty(step)
    np.testing.assert_allclose(second(lone[0]), flat(step.update(lone[0])), atol=4 * 64 / 2**23)
    found = step.attack("second-party", "", lone, SecondParty(step))
    assert (found.recovered, found.identified) == (LONE, LONE)


def test_little_noise_stops_inversion_and_not_recognition(
    step: Step, lone: list[np.ndarray]
) -> None:
    source = SeededRandomness(1)
    little = step.attack(
        "little-noise", "", lone, NoisyStep(step, step_plan(step, "local", 0.003), source)
    )
    assert little.recovered == 0
    assert little.identified is not None
    assert little.identified > LONE / 2
    enough = step.attack("dp-sgd", "", lone, NoisyStep(step, step_plan(step, "local"), source))
    assert enough.recovered == 0
    assert enough.identified is not None
    assert enough.identified < 3


def test_an_insider_of_two_sees_one_share_and_an_outsider_both(step: Step) -> None:
    plan = step_plan(step, "shares")
    assert plan.epsilon_insiders > plan.epsilon_outsider
    batch = step.order[:1]
    levels = {}
    for insider in (True, False):
        sources = [SeededRandomness(7, party) for party in range(2)]
        onlooker = SecondPartyUnderShares(step, plan, sources, insider=insider)
        # The clipped row is one clip norm over 5858 values: next to nothing beside the noise.
        levels[insider] = onlooker(batch).std() / plan.l2_clip_norm
    one_share = plan.grid * plan.share_grid_std
    # A standard deviation of n values is off by one part in √(2n) = 108.
    assert levels[True] == pytest.approx(one_share, rel=0.05)
    assert levels[False] == pytest.approx(np.sqrt(2) * one_share, rel=0.05)


def test_candidates_are_judged_without_knowing_the_rows(dresses: Dataset, onehot: Dataset) -> None:
    for data in (dresses, onehot, dresses.centred(), onehot.centred()):
        reader, true = FeatureReader(data.encoder), data.features.astype(np.float64)
        assert reader.plausible(true).all()
        assert not reader.plausible(true + 0.3).any()
        assert reader.right(reader.read(true), reader.read(true)).all()
    both = [
        FeatureReader(d.encoder).read(d.features[:50].astype(np.float64))
        for d in (dresses, onehot.centred())
    ]
    categorical = [
        i for i, name in enumerate(FeatureReader(dresses.encoder).names) if name != "Rating"
    ]
    np.testing.assert_array_equal(both[0][:, categorical], both[1][:, categorical])


def test_rows_are_said_in_the_words_of_the_code_table(dresses: Dataset) -> None:
    reader = FeatureReader(dresses.encoder)
    row = np.array([1, 4, 4.7, 2, 3, 15, 7, 0, 4, 3, 0, 10], dtype=np.float64)
    assert reader.words(reader.read(row[None])[0]) == [
        *("bohemian", "high", "4.7", "M", "summer", "v-neck", "sleeveless", "missing", "cotton"),
        *("chiffon", "missing", "print"),
    ]
