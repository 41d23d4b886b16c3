"""scikit-learn beside the arms: the same rows, and a named error where it is missing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from privfed.errors import ConfigError
from privfed.experiment.arms import MAJORITY, REFERENCES
from privfed.experiment.references import reference_scores
from privfed.report import findings
from tests.experiment.mini import SETTINGS, run_mini


def test_references_learn_what_there_is() -> None:
    drawn = np.random.default_rng(1)
    features = drawn.normal(size=(300, 3)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(np.int64)
    found = reference_scores(features[:200], labels[:200], features[200:], classes=3, seed=0)
    assert tuple(found) == REFERENCES
    for scores in found.values():
        assert scores.shape == (100, 3)
        assert (scores.argmax(axis=1) == labels[200:]).mean() > 0.9
        assert not scores[:, 2].any()  # a class that no training row has


def test_without_scikit_learn_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(ConfigError, match="`reference` needs scikit-learn: pip install"):
        reference_scores(
            np.zeros((2, 1), np.float32), np.array([0, 1]), np.zeros((1, 1), np.float32),
            classes=2, seed=0,
        )  # fmt: skip


def test_references_stand_beside_the_arms_in_the_results(tmp_path: Path) -> None:
    asked = replace(SETTINGS, arms=("guest", "federated-float"), rounds=1, seeds=1)
    with_them = run_mini(tmp_path, replace(asked, reference=True)).results
    pairs = {(each.arm, each.beside, each.rows) for each in with_them.comparisons}
    for name in REFERENCES:
        assert ("federated-float", name, "all") in pairs
        assert (name, MAJORITY, "all") in pairs
    said = next(each for each in findings(with_them) if each.name == "reference")
    assert all(name in said.text for name in REFERENCES)
    # Nothing that ran is run again without them, and nothing of them is left.
    again = run_mini(tmp_path, asked)
    assert again.results.runs == with_them.runs
    names = {each.beside for each in again.results.comparisons}
    assert not names & set(REFERENCES)
    assert not any(each.name == "reference" for each in findings(again.results))
