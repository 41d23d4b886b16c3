"""One odd cell costs next to nothing: what is learnt of the other rows stays."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from privfed.data import load_dataset
from privfed.errors import TableWarning
from privfed.experiment import Settings
from tests.experiment.mini import run_mini

SEEDS = 5


def table() -> pd.DataFrame:
    """Two numbers and a word that tell who is late, as far as can be told."""
    drawn = np.random.default_rng(16)
    n = 400
    income, age = drawn.uniform(5, 2000, n), drawn.uniform(18, 80, n)
    region = drawn.choice(["north", "south", "east"], n)
    odds = income / 400 - 2.5 - 0.03 * (age - 50) + (region == "north") - 0.3
    late = drawn.uniform(size=n) < 1 / (1 + np.exp(-odds))
    return pd.DataFrame(
        {
            "income": [f"{x:.2f}" for x in income],
            "age": [f"{x:.1f}" for x in age],
            "region": region,
            "late": np.where(late, "yes", "no"),
        }
    )


def auc(folder: Path, frame: pd.DataFrame) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)
        data = load_dataset("table", frame, label="late")
    settings = Settings(splits=("disjoint",), arms=("federated",), rounds=12, seeds=SEEDS)
    runs = run_mini(folder, settings, data).results.runs
    assert len(runs) == SEEDS
    return float(np.mean([run.test_auc for run in runs]))


def test_one_cell_unknown_costs_at_most_two_hundredths_of_auc(tmp_path: Path) -> None:
    """Pooled over five seeds. In text order, as categories, the same column costs far more."""
    frame = table()
    odd = frame.copy()
    odd.loc[77, "income"] = "unknown"
    clean = auc(tmp_path / "clean", frame)
    assert clean > 0.75  # there is something to lose
    assert auc(tmp_path / "odd", odd) > clean - 0.02
    order = {cell: place for place, cell in enumerate(sorted(odd["income"]))}
    in_text_order = odd.assign(income=[f"{order[cell]}.0" for cell in odd["income"]])
    assert auc(tmp_path / "text", in_text_order) < clean - 0.02  # the fault is seen
