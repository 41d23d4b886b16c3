"""A whole benchmark in small: real intersection, real ciphertexts, real Opacus."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from privfed.data import PartyRows, split_parties
from privfed.experiment import load_model
from privfed.training import evaluate, weights_sha256
from tests.experiment.mini import SETTINGS, Mini, of, surrogate

ARMS = [
    *("guest", "host", "overall", "federated-float", "federated", "federated-he"),
    *("federated-he-dp", "single-party", "local-noise", "noise-shares", "central-noise"),
]
ROUNDS = dict.fromkeys(ARMS[:6], 3) | {"federated-he-dp": 2, "single-party": 2}
ON_SUMS = {"local-noise": "local", "noise-shares": "shares", "central-noise": "central"}


def parties(seed: int) -> tuple[PartyRows, ...]:
    return split_parties(surrogate(), "overlapping", seed=seed)


def test_every_arm_ran_with_every_seed(mini: Mini) -> None:
    assert [(run.seed, run.arm) for run in mini.results.runs] == [
        (seed, arm) for seed in (0, 1) for arm in ARMS
    ]
    assert all(run.split == "overlapping" for run in mini.results.runs)
    for run in mini.results.runs:
        assert run.rounds == ROUNDS.get(run.arm, 4)
        assert run.epsilon == (None if run.arm in ARMS[:6] else 8.0)
        assert {len(column) for column in run.history.values()} == {run.rounds}
    assert [arm.name for arm in mini.results.arms] == ARMS
    assert sum(mini.progress.rounds.values()) == 2 * (6 * 3 + 2 * 2 + 3 * 4)


def test_the_file_has_what_issue_2_names(mini: Mini) -> None:
    document = mini.document
    for run in document["runs"]:
        assert run.keys() >= {
            *("arm", "epsilon", "seed", "rounds", "test_accuracy", "seen_accuracy"),
            *("unseen_accuracy", "unseen_n", "test_auc", "train_loss_first", "train_loss_last"),
            *("test_loss_last", "weights_sha256", "upload_bytes_per_round"),
            *("encryption_seconds_per_round", "wall_seconds"),
        }
    provenance = document["provenance"]
    assert provenance["seeds"] == [0, 1]
    assert provenance["data"]["kind"] == "dresses"
    assert provenance["data"]["is_surrogate"] is True
    assert "surrogate" in provenance["data"]["source"]
    assert provenance["data"]["sha256"] == surrogate().sha256
    assert provenance["data"]["cleaning"]["dropped_rows"] == 0
    assert {"torch", "opacus", "tenseal", "python"} <= provenance["versions"].keys()
    assert provenance["machine"].keys() == {"system", "architecture", "processor", "cores"}
    assert provenance["settings"]["epsilons"] == [8.0]
    assert document["schema_version"] == 6


def test_arms_say_on_which_rows_they_were_tested(mini: Mini) -> None:
    found = {(run.arm, run.seed): run.test_rows_sha256 for run in mini.results.runs}
    for seed in (0, 1):
        own = {found["guest", seed], found["host", seed], found["federated", seed]}
        assert len(own) == 3
        for arm in ARMS:
            whose = {"guest": "guest", "single-party": "guest", "host": "host"}.get(arm)
            assert found[arm, seed] == found[whose or "federated", seed]
    assert found["federated", 0] != found["federated", 1]
    # It is of the rows themselves: the split's row numbers, in order, under the data's hash.
    rows = np.sort(np.concatenate([party.test for party in parties(0)])).tolist()
    named = " ".join([surrogate().sha256, *map(str, rows)])
    assert found["federated", 0] == hashlib.sha256(named.encode()).hexdigest()


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, float):
        yield value


def test_the_file_is_strict_json(mini: Mini) -> None:
    def never(name: str) -> None:
        raise AssertionError(name)

    text = (mini.directory / "results.json").read_text()
    document = json.loads(text, parse_constant=never)  # no NaN, no Infinity
    assert all(map(math.isfinite, numbers(document)))
    assert text == mini.results.to_json()


@pytest.mark.parametrize("seed", [0, 1])
def test_encryption_changes_no_bit_in_any_round(mini: Mini, seed: int) -> None:
    clear, hidden, floats = (
        of(mini, arm, seed) for arm in ("federated", "federated-he", "federated-float")
    )
    assert clear.history["weights_sha256"] == hidden.history["weights_sha256"]
    assert len(set(clear.history["weights_sha256"])) == 3
    assert clear.weights_sha256 == hidden.weights_sha256 == hidden.history["weights_sha256"][-1]
    for column in ("train_loss", "test_loss", "test_accuracy", "test_auc"):
        assert clear.history[column] == hidden.history[column]
    assert floats.weights_sha256 != clear.weights_sha256
    assert clear.encryption_seconds_per_round == floats.encryption_seconds_per_round == 0
    assert hidden.encryption_seconds_per_round > 0
    spent = sum(hidden.seconds[phase] for phase in ("prepare", "encrypt", "aggregate", "decrypt"))
    assert hidden.encryption_seconds_per_round == pytest.approx(spent / 3)


def test_all_bytes_are_counted(mini: Mini) -> None:
    assert of(mini, "federated-float").upload_bytes_per_round == 2 * 4 * 5858
    for arm in ("guest", "host", "overall"):
        assert of(mini, arm).upload_bytes_per_round == of(mini, arm).download_bytes_per_round == 0
    hidden = of(mini, "federated-he")
    assert 0 < hidden.upload_bytes_per_round < 2 * 4 * 5858  # smaller than float32 in the clear
    assert hidden.history["upload_bytes"] == [hidden.upload_bytes_per_round] * 3


def test_seeds_part_ways(mini: Mini) -> None:
    for arm in ARMS:
        assert of(mini, arm, 0).weights_sha256 != of(mini, arm, 1).weights_sha256


def test_an_epsilon_never_stands_alone(mini: Mini) -> None:
    for run in mini.document["runs"]:
        cost = run["privacy"]
        if run["arm"] in ARMS[:6]:
            assert cost is None
            continue
        assert 0 < cost["epsilon_single_row"] <= cost["epsilon"] <= cost["target_epsilon"] == 8.0
        assert cost["delta"] == 1e-4
        alone, on_sums = run["arm"] == "single-party", run["arm"] in ON_SUMS
        everywhere = "" if alone else " at all parties"
        assert cost["privacy_unit"] == f"all rows of one ID{everywhere}"
        assert cost["noise"] == ON_SUMS.get(run["arm"], "local")
        assert 0 < cost["epsilon_outsider"] <= cost["epsilon"]
        # With two parties each share is all of the noise, for who put nothing in twice that.
        assert (cost["epsilon_outsider"] < cost["epsilon"]) == (cost["noise"] == "shares")
        assert cost["adjacency"] == "zero-out of one unit"
        assert "Poisson" in cost["sampling"]
        assert "PLD" in cost["accountant"]
        rows = [len(party.train) for party in parties(run["seed"])][: 1 if alone else None]
        assert cost["sampling_rate"] == [64 / n for n in rows]
        assert cost["steps"] == [4 if on_sums else 2 * math.ceil(n / 64) for n in rows]
        assert cost["noise_multiplier"] > 0.5


def test_the_worst_placed_id_pays_more_than_a_single_row(mini: Mini) -> None:
    """The surrogate repeats IDs, and most are at both parties."""
    cost = of(mini, "federated-he-dp").privacy
    assert cost is not None
    assert cost.epsilon > 2 * cost.epsilon_single_row


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_figures_are_the_models(mini: Mini, arm: str, seed: int) -> None:
    """Each run again, from the model that it left and the split of its seed."""
    run = of(mini, arm, seed)
    data = surrogate().centred() if run.epsilon is not None else surrogate()
    ids = data.require_ids("this test")
    alone = {"guest": "guest", "host": "host", "single-party": "guest"}.get(arm)
    own = [party for party in parties(seed) if alone in (None, party.name)]
    train = np.concatenate([party.train for party in own])
    test = np.concatenate([party.test for party in own])
    assert (run.train_rows, run.test_rows) == (len(train), len(test))

    saved = load_model(mini.directory / str(run.model))
    assert weights_sha256(saved.arrays) == run.weights_sha256
    assert arm in saved.trained_on
    assert "surrogate" in saved.trained_on
    assert saved.encoder == data.encoder  # which centres new rows, too, for private arms alone

    def judged(rows: np.ndarray) -> Any:
        return evaluate(
            saved.network(),
            torch.from_numpy(data.features[rows]),
            torch.from_numpy(data.labels[rows]),
        )

    on_test, on_train = judged(test), judged(train)
    assert run.test_accuracy == on_test.accuracy == run.history["test_accuracy"][-1]
    assert run.test_loss_last == on_test.loss
    assert run.test_auc == on_test.auc
    assert run.train_loss_last == on_train.loss
    assert run.train_accuracy_last == on_train.accuracy

    everybody = np.concatenate([party.train for party in parties(seed)])
    right = on_test.predicted == data.labels[test]
    seen = np.isin(ids[test], ids[train])
    unseen = ~np.isin(ids[test], ids[everybody])
    first = np.zeros(len(test), bool)
    first[np.unique(ids[test], return_index=True)[1]] = True
    unseen &= first
    majority = np.bincount(data.labels[train]).argmax()
    assert run.seen_n == seen.sum()
    assert run.seen_accuracy == (right[seen].mean() if seen.any() else None)
    assert run.unseen_n == unseen.sum()
    assert run.unseen_correct == right[unseen].sum()
    assert run.unseen_majority_correct == (data.labels[test] == majority)[unseen].sum()
    assert run.majority_accuracy == (data.labels[test] == majority).mean()


def test_summaries_pool_the_runs(mini: Mini) -> None:
    assert [(s.arm, s.seeds) for s in mini.results.summaries] == [(arm, 2) for arm in ARMS]
    for summary in mini.results.summaries:
        runs = [of(mini, summary.arm, seed) for seed in (0, 1)]
        assert summary.unseen_n == sum(run.unseen_n for run in runs)
        assert summary.test_accuracy_mean == pytest.approx(
            np.mean([run.test_accuracy for run in runs])
        )
        assert summary.test_accuracy_ci95 is not None


def test_the_overlap_is_found_by_intersection(mini: Mini) -> None:
    assert [overlap.seed for overlap in mini.results.overlaps] == [0, 1]
    for overlap in mini.results.overlaps:
        assert overlap.protocol == "vole"  # the cheaper one for some hundred IDs
        assert 340 <= overlap.shared_ids <= 362
        assert overlap.psi_bytes > 32 * 800  # a tag and an entry for each ID, at least
        assert overlap.party_rows == tuple(len(p.rows) for p in parties(overlap.seed))


def test_the_folder_holds_nothing_half_written(mini: Mini) -> None:
    assert sorted(path.name for path in mini.directory.iterdir()) == [
        *("models", "results.json", "runs")
    ]
    assert len(list((mini.directory / "models").iterdir())) == len(mini.results.runs)
    assert len(list((mini.directory / "runs").iterdir())) == len(mini.results.runs)
    assert not list(mini.directory.rglob("*.partial"))
    assert SETTINGS.seeds == 2
