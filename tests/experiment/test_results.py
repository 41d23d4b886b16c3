"""What is taken down of a run, and how it is written."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import structs
from torch import nn

from privfed.errors import ConfigError
from privfed.experiment import Results, choose_arms
from privfed.experiment.recorder import Recorder, TestRows
from tests.experiment.mini import RUN


def results(**changes: object) -> Results:
    run = structs.replace(RUN, **changes)
    return Results({"seeds": [0]}, [], [], [run], [], [], [])


def test_what_is_no_number_is_written_as_null() -> None:
    broken = results(test_loss_last=math.nan, history={"train_loss": [0.5, math.inf, -math.inf]})
    [run] = json.loads(broken.to_json())["runs"]
    assert run["test_loss_last"] is None
    assert run["history"] == {"train_loss": [0.5, None, None]}
    assert run["train_loss_last"] == 0.5


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    results().write(path)
    before = path.read_text()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConfigError, match=r"results\.json cannot be written \(No space left"):
        results(seed=5).write(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_json_cannot_carry_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        results(history={"train_loss": [np.float32(0.5)]}).write(tmp_path / "results.json")
    assert not list(tmp_path.iterdir())


def test_a_run_by_hand() -> None:
    """The majority is that of the training rows, which the test rows do not share."""
    train = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1])
    test = TestRows(
        features=torch.tensor([[-1.0], [-2.0], [3.0], [4.0]]),
        labels=torch.tensor([1, 1, 1, 0]),
        sha256="22",
        seen=np.array([True, False, False, True]),
        unseen=np.array([False, True, True, False]),
    )
    model = nn.Linear(1, 2, bias=False)
    model.weight.data = torch.tensor([[-1.0], [1.0]])  # class 1 for whatever is above zero
    told: list[int] = []
    recorder = Recorder([train], test, told.append)
    for round_id in (1, 2):
        recorder.on_round(round_id, model, 0.25, None)
    [arm] = choose_arms(["guest"], ["guest", "host"])
    run = recorder.finish(arm, "disjoint", 0, None, None, {"w": np.zeros(1, np.float32)}, "m.npz")
    assert (run.rounds, run.train_rows, run.test_rows) == (2, 3, 4)
    assert run.test_accuracy == 1 / 4
    assert run.train_accuracy_last == 1 / 3
    assert (run.seen_accuracy, run.seen_n) == (0, 2)
    assert (run.unseen_accuracy, run.unseen_n, run.unseen_correct) == (1 / 2, 2, 1)
    assert run.majority_accuracy == 1 / 4
    assert run.unseen_majority_correct == 0
    assert run.seconds["train"] == 0.5
    assert told == [1, 1]


def test_a_run_of_no_round_is_none() -> None:
    rows = torch.zeros(2, 1), torch.tensor([0, 1])
    recorder = Recorder([rows], TestRows(*rows, "", None, None), lambda rounds: None)
    [arm] = choose_arms(["guest"], ["guest", "host"])
    with pytest.raises(RuntimeError, match="no round"):
        recorder.finish(arm, "disjoint", 0, None, None, {}, "m.npz")
