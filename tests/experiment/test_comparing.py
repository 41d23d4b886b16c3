"""Arms on the same rows: the pairs, their rows and their values, by models trained here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privfed.data import split_parties
from privfed.experiment.arms import MAJORITY
from privfed.experiment.measures import measures_for
from privfed.experiment.model_file import load_model
from privfed.experiment.results import Comparison
from privfed.training import evaluate
from tests.experiment.mini import Mini, PlainAligner, of, surrogate


def found(mini: Mini, arm: str, beside: str, rows: str, measure: str = "accuracy") -> Comparison:
    (one,) = [
        each
        for each in mini.results.comparisons
        if (each.arm, each.beside, each.rows, each.measure) == (arm, beside, rows, measure)
    ]
    return one


def test_all_arms_stand_beside_the_federated_one_and_the_majority_class(mini: Mini) -> None:
    assert mini.results.measures == list(measures_for(surrogate().labels))
    arms = {run.arm for run in mini.results.runs}
    pairs = {(each.arm, each.beside, each.rows) for each in mini.results.comparisons}
    assert pairs == (
        {("federated", arm, "all") for arm in arms - {"federated"}}
        | {(arm, MAJORITY, rows) for arm in arms for rows in ("all", "unseen")}
        | {("federated", arm, "own") for arm in ("guest", "host")}
    )
    assert len(mini.results.comparisons) == 3 * len(pairs)  # three measures


@pytest.mark.parametrize("arm", ["guest", "host", "overall", "single-party", "federated-he"])
def test_every_arm_answers_for_the_rows_of_all(mini: Mini, arm: str) -> None:
    """Also a party alone: its model from its file, on the test rows of every party."""
    values = []
    for seed in (0, 1):
        data = surrogate().centred() if arm == "single-party" else surrogate()
        parties = split_parties(surrogate(), "overlapping", seed=seed, align=PlainAligner())
        rows = np.concatenate([party.test for party in parties])
        saved = load_model(mini.directory / str(of(mini, arm, seed).model))
        features, labels = (torch.from_numpy(each[rows]) for each in (data.features, data.labels))
        values.append(evaluate(saved.network(), features, labels))
    pair = found(mini, "federated", arm, "all")
    assert pair.beside_value == pytest.approx(np.mean([each.accuracy for each in values]))
    assert found(mini, "federated", arm, "all", "AUC").beside_value == pytest.approx(
        np.mean([each.auc for each in values]), abs=1e-6
    )
    assert pair.value == pytest.approx(
        np.mean([of(mini, "federated", seed).test_accuracy for seed in (0, 1)])
    )
    assert pair.test_rows == sum(of(mini, "federated", seed).test_rows for seed in (0, 1))
    ids = surrogate().require_ids("this test")
    assert pair.seeds == 2
    assert pair.units <= len(np.unique(ids))


@pytest.mark.parametrize("party", ["guest", "host"])
def test_a_partys_own_rows_are_those_it_was_tested_on(mini: Mini, party: str) -> None:
    own = found(mini, "federated", party, "own")
    runs = [of(mini, party, seed) for seed in (0, 1)]
    assert own.beside_value == pytest.approx(np.mean([run.test_accuracy for run in runs]))
    assert own.test_rows == sum(run.test_rows for run in runs)


def test_unseen_rows_are_those_of_the_runs(mini: Mini) -> None:
    pair = found(mini, "federated", MAJORITY, "unseen")
    runs = [of(mini, "federated", seed) for seed in (0, 1)]
    assert pair.test_rows == sum(run.unseen_n for run in runs)
    assert pair.value == pytest.approx(np.mean([run.unseen_accuracy for run in runs]))
    assert pair.beside_value == pytest.approx(
        np.mean([run.unseen_majority_correct / run.unseen_n for run in runs])
    )


def test_what_is_equal_bit_for_bit_differs_by_nothing(mini: Mini) -> None:
    for measure in mini.results.measures:
        pair = found(mini, "federated", "federated-he", "all", measure)
        assert (pair.difference, pair.ci95, pair.standard_error) == (0, (0, 0), 0)


def test_no_row_is_in_the_file(mini: Mini) -> None:
    for each in mini.document["comparisons"]:
        lists = [value for value in each.values() if isinstance(value, list)]
        assert lists == [each["ci95"]]
