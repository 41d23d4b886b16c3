"""Private arms on data that can be learnt, beside data on which none could show its price."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from privfed import defaults
from privfed.cli.alignment import PSIAligner
from privfed.data import load_dataset
from privfed.errors import ConfigError
from privfed.experiment import (
    BESIDE,
    Settings,
    load_model,
    prepare_benchmark,
    run_benchmark,
    settings_beside,
    usual_private_model,
)
from privfed.report import load_results


def test_what_runs_beside_keeps_what_was_asked_of_privacy() -> None:
    asked = Settings(
        epsilons=(0.5, 2.0), delta=1e-6, seeds=2, private_steps=40, private_rounds=8, centred=False
    )
    beside = settings_beside(asked)
    for name in ("epsilons", "delta", "seeds", "private_steps", "private_rounds", "centred"):
        assert getattr(beside, name) == getattr(asked, name), name
    assert (beside.parties, beside.private_model, beside.rounds) == (10, "linear", 40)
    assert beside.learning_rate == defaults.PRIVATE_LEARNING_RATE["linear"]
    assert Settings(private_learning_rate=0.5, private_model="linear").learning_rate == 0.5


def test_the_usual_model_is_the_one_that_was_measured() -> None:
    assert usual_private_model("digits") == usual_private_model("breast-cancer") == "linear"
    assert usual_private_model("dresses") == usual_private_model("table") == "dress"
    with pytest.raises(ConfigError, match="`private_model` is dress or linear, not 'deep'"):
        Settings(private_model="deep")  # type: ignore[arg-type]


def test_a_linear_private_arm_is_saved_as_it_was_trained(tmp_path: Path) -> None:
    """Its model predicts what the run's accuracy says, under a softmax."""
    settings = Settings(
        splits=("disjoint",), arms=("federated", "noise-shares", "federated-he-dp"), rounds=1,
        private_rounds=1, private_steps=2, seeds=1, epsilons=(8.0,), private_model="linear",
    )  # fmt: skip
    rows = load_dataset("breast-cancer")
    results = run_benchmark(settings, rows, align=PSIAligner(), directory=tmp_path, provenance={})
    prepared = prepare_benchmark(settings, rows, align=PSIAligner())
    test = np.concatenate([party.test for party in prepared.tasks[0].data.parties])
    for run in results.runs:
        saved = load_model(tmp_path / str(run.model))
        linear = run.arm != "federated"
        assert (saved.model, saved.loss) == (
            ("linear", "softmax") if linear else ("dress", "sigmoid")
        )
        if linear:
            features = rows.centred().features[test]
            weight, bias = saved.arrays["weight"], saved.arrays["bias"]
            right = (features @ weight.T + bias).argmax(axis=1) == rows.labels[test]
            assert run.test_accuracy == pytest.approx(right.mean())
    beside = structs.replace(results, beside=results)
    beside.write(tmp_path / "both.json")
    again = load_results(tmp_path / "both.json").beside
    assert again is not None
    assert [run.weights_sha256 for run in again.runs] == [r.weights_sha256 for r in results.runs]


@pytest.mark.slow
def test_a_newcomer_sees_the_readmes_figure(tmp_path: Path) -> None:
    """Noise shares at ε = 1 on ten parties' digits: .903 ± .007 of 20 seeds (privacy-digits.json).

    Of three seeds with 360 test rows each the mean has a standard error below .011 (binomial .009,
    with what noise and weights vary): outside of .845 to .96 once in 10^6 runs.
    """
    beside = settings_beside(Settings(epsilons=(1.0,), seeds=3))
    results = run_benchmark(
        dataclasses.replace(beside, arms=("noise-shares",)),
        load_dataset(BESIDE),
        align=PSIAligner(),
        directory=tmp_path,
        provenance={},
    )
    (found,) = results.summaries
    assert 0.845 < found.test_accuracy_mean < 0.96
