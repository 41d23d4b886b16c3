"""What is worked out of every round, and nothing that nobody reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from privfed.experiment import recorder
from privfed.experiment.recorder import Recorder, TestRows
from privfed.training import Evaluation, evaluate, initial_model, paper_network


def test_no_auc_of_training_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting them each round took a fifth of it."""
    made: list[Evaluation] = []

    def kept(*rows: Any) -> Evaluation:
        made.append(evaluate(*rows))
        return made[-1]

    monkeypatch.setattr(recorder, "evaluate", kept)
    model = initial_model(lambda: paper_network(3, 2), 0)
    rows = torch.zeros(8, 3), torch.arange(8) % 2
    test = TestRows(torch.ones(6, 3), torch.arange(6) % 2, "00", None, None)
    advanced: list[int] = []
    watching = Recorder([rows], test, advanced.append)
    for number in (1, 2):
        watching.on_round(number, model, 0.0, None)
    assert [(len(each.truth), "auc" in vars(each)) for each in made] == [
        *[(8, False), (6, True)] * 2
    ]
    assert advanced == [1, 1]
    assert np.array_equal(made[1].predicted, made[3].predicted)
