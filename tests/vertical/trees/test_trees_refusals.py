"""What cannot be trained on is refused by name, before the other company waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from privfed.errors import ConfigError
from privfed.vertical.company import CompanyTable
from privfed.vertical.job import do_job
from privfed.vertical.linear.terms import LinearChoice
from privfed.vertical.results import UsedTable
from privfed.vertical.training import VerticalJob
from privfed.vertical.trees.boosting import Boosting
from privfed.vertical.trees.growing import TreeSettings
from privfed.vertical.trees.objective import Objective
from privfed.vertical.trees.side import there
from privfed.vertical.trees.splits import MOST_WEIGHT, Splits
from privfed.vertical.trees.terms import OwnTrees, TreesChoice
from privfed.vertical.trees.training import TreesTraining
from psi.errors import StateError

ROWS = 40


def job(tmp_path: Path, role: Any = "guest", **changed: Any) -> VerticalJob:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "id": [str(row) for row in range(ROWS)],
            "x": [f"{x:.3f}" for x in rng.normal(size=ROWS)],
            "often": ["1", "2"] * (ROWS // 2),
            "never": ["0"] * ROWS,
            "label": ["yes", "no"] * (ROWS // 2),
            "one": ["yes"] * ROWS,
        }
    )
    label = changed.pop("label", "label") if role == "guest" else None
    given: dict[str, Any] = {"choice": TreesChoice(), "own": OwnTrees()} | changed
    return VerticalJob(
        table=CompanyTable(role=role, frame=frame, id_columns=("id",), label=label),
        name=role, file=UsedTable("table.csv", None), out=tmp_path / "out",
        unfinished=tmp_path / "unfinished.json", **given,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("own", "label", "words"),
    [
        ({"weight": "nothing"}, "label", "no column 'nothing' of weights"),
        ({"weight": "label"}, "label", "of weights beside ID and label"),
        ({"weight": "x"}, "label", "is no weight: give a number of 0 or more"),
        ({"weight": "never"}, "label", "is no weight"),
        ({}, "one", "there is nothing to learn"),
    ],
)
def test_weights_and_labels_that_cannot_be(
    own: dict[str, Any], label: str, words: str, tmp_path: Path
) -> None:
    brought = job(tmp_path, label=label)
    training = TreesTraining(brought, TreesChoice(), OwnTrees(**own))
    nobody: Any = None  # is spoken to
    with pytest.raises(ConfigError, match=words):
        training.begin(nobody, None)


def test_a_host_weighs_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the guest alone weighs rows"):
        TreesTraining(job(tmp_path, "host"), TreesChoice(), OwnTrees(weight="often"))


def test_own_choices_are_of_the_model(tmp_path: Path) -> None:
    line: Any = None
    with pytest.raises(ConfigError, match="of another model"):
        do_job(job(tmp_path, choice=LinearChoice()), line)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"bins": 1}, "2 to 254 bins"),
        ({"bins": 255}, "2 to 254 bins"),
        ({"patience": 0}, "1 round or more"),
        ({"validation_percent": 0}, "1 to 90 percent"),
        ({"validation_percent": 91}, "1 to 90 percent"),
        ({"learning_rate": 0.0}, "a rate above 0"),
        ({"l2": -1.0}, "an l2 of 0 or more"),
    ],
)
def test_own_choices_out_of_range(own: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        OwnTrees(**own)


def test_rounds_take_what_is_theirs_alone() -> None:
    codes = np.arange(ROWS, dtype=np.uint8)[None] // 10
    boosting = Boosting(
        TreeSettings(depth=2), Objective("linear", codes.T.astype(float), np.ones(ROWS)),
        Splits.between(codes, [4], [True], 5), codes, rounds=1, most=2**23 - 1,
        weight=MOST_WEIGHT, generator=np.random.default_rng(0),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="still growing"):
        boosting.grown(boosting.tree())
    for scores in (np.zeros((ROWS - 1, 1)), np.full((ROWS, 1), np.nan)):
        with pytest.raises(ConfigError, match="of other rows"):
            boosting.go_on((), scores, ())


def test_a_session_that_did_not_begin_has_nothing() -> None:
    with pytest.raises(StateError, match="start a new one"):
        there(None)
