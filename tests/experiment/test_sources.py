"""Other data than the dresses: digits among three, a table of one's own, rows without IDs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privfed.data import load_dataset
from privfed.experiment import Settings, load_model, predict
from tests.experiment.mini import run_mini


def test_digits_among_three_parties(tmp_path: Path) -> None:
    """Ten classes, masks under the encryption, and still the bits of the clear."""
    settings = Settings(
        splits=("disjoint",),
        parties=3,
        arms=("party-3", "federated", "federated-he"),
        rounds=4,
        seeds=1,
    )
    mini = run_mini(tmp_path, settings, load_dataset("digits"))
    alone, clear, hidden = mini.results.runs
    assert clear.history["weights_sha256"] == hidden.history["weights_sha256"]
    assert alone.test_rows * 3 == pytest.approx(clear.test_rows, abs=3)
    assert clear.test_accuracy > 0.5  # ten classes, data with signal
    assert 0.9 < clear.test_auc <= 1  # type: ignore[operator]
    assert (clear.seen_n, clear.unseen_n) == (0, clear.test_rows)  # each ID once
    assert len(mini.results.overlaps[0].party_rows) == 3


def own_table(path: Path, ids: bool = True) -> Path:
    """Two columns that tell the class, one that does not; every tenth customer is there twice."""
    drawn = np.random.default_rng(3)
    n = 160
    hours, colour = drawn.uniform(0, 10, n), drawn.choice(["red", "green", "blue"], n)
    late = (hours + 3 * (colour == "red") + drawn.normal(0, 0.5, n) > 6).astype(int)
    frame = pd.DataFrame({"hours": hours.round(3), "colour": colour})
    if ids:
        customers = np.arange(n)
        customers[::10] = customers[1::10]
        frame["customer"] = [f"C{number:04}" for number in customers]
    frame["noise"] = drawn.normal(0, 1, n).round(3)
    frame["late"] = np.where(late, "yes", "no")
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("encoding", ["codes", "onehot"])
def test_a_table_of_ones_own(tmp_path: Path, encoding: str) -> None:
    path = own_table(tmp_path / "orders.csv")
    data = load_dataset("table", str(path), label="late", id_column="customer", encoding=encoding)  # type: ignore[arg-type]
    settings = Settings(
        splits=("overlapping", "deduplicated"),
        arms=("guest", "federated-float", "federated-he"),
        rounds=30,
        seeds=1,
    )
    mini = run_mini(tmp_path / "out", settings, data)
    overlapping = {run.arm: run for run in mini.results.runs if run.split == "overlapping"}
    deduplicated = {run.arm: run for run in mini.results.runs if run.split == "deduplicated"}
    assert overlapping["federated-he"].seen_n > 20 > deduplicated["federated-he"].seen_n
    assert overlapping["federated-he"].test_accuracy > 0.75
    assert [overlap.shared_ids > 0 for overlap in mini.results.overlaps] == [True, False]

    new = pd.DataFrame(
        {"noise": [0, 0], "hours": [1, 9.5], "colour": ["green", "red"], "customer": ["a", "b"]}
    )
    new.to_csv(tmp_path / "new.csv", index=False)
    model = load_model(tmp_path / "out" / str(overlapping["federated-he"].model))
    found = predict(model, tmp_path / "new.csv")
    assert found.ids == ("a", "b")
    assert found.classes == ("no", "yes")


@pytest.mark.usefixtures("recorded_openml")
def test_rows_without_ids_have_no_seen_and_unseen(tmp_path: Path) -> None:
    data = load_dataset("dresses", "openml")
    settings = Settings(
        splits=("overlapping",),
        arms=("guest", "federated-he", "federated-he-dp"),
        rounds=2,
        private_rounds=1,
        seeds=1,
        epsilons=(8.0,),
    )
    mini = run_mini(tmp_path / "out", settings, data)
    assert mini.results.overlaps == []
    for run in mini.results.runs:
        assert run.seen_accuracy is run.unseen_accuracy is None
        assert run.seen_n == run.unseen_n == run.unseen_correct == run.unseen_majority_correct == 0
    private = mini.results.runs[-1].privacy
    assert private is not None
    assert private.privacy_unit == "one row (there are no IDs, so twins count as two)"
    assert private.epsilon == private.epsilon_single_row
    assert private.sampling_rate == (1.0, 1.0)
    assert all(summary.unseen_ci95 is None for summary in mini.results.summaries)


def test_a_table_without_ids_runs_too(tmp_path: Path) -> None:
    data = load_dataset("table", str(own_table(tmp_path / "orders.csv", ids=False)), label="late")
    settings = Settings(splits=("disjoint",), arms=("federated",), rounds=2, seeds=2)
    mini = run_mini(tmp_path / "out", settings, data)
    assert [run.unseen_n for run in mini.results.runs] == [0, 0]
    assert mini.results.overlaps == []


def test_the_data_are_left_as_they_were(tmp_path: Path) -> None:
    data = load_dataset("breast-cancer")
    before = data.features.copy(), data.labels.copy()
    settings = Settings(splits=("disjoint",), arms=("overall",), rounds=2, seeds=1)
    mini = run_mini(tmp_path, settings, data)
    assert np.array_equal(data.features, before[0])
    assert np.array_equal(data.labels, before[1])
    assert mini.results.summaries[0].test_accuracy_ci95 is None
