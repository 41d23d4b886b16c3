"""The command of docs/nvflare.md: NVFlare's simulator trains the dress benchmark."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import nvflare.client as flare
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from privfed.data import load_dataset, split_parties
from privfed.training import AdamTrainer, get_arrays, initial_model, one_thread, paper_network
from privfed.training.federated import batch_seed
from tests.places import DOCS, ROOT
from tests.waiting import LONG_SECONDS

ROUNDS = 3


@one_thread()
def in_the_clear() -> dict[str, Any]:
    """The same training with plain weighted averages of whole weights."""
    model, table = initial_model(lambda: paper_network(12, 2), seed=0), load_dataset()
    features, labels = torch.from_numpy(table.features), torch.from_numpy(table.targets)
    rows = [each.train for each in split_parties(table, "overlapping", parties=2)]
    trainers = [AdamTrainer(features[each], labels[each]) for each in rows]
    mean = {name: torch.from_numpy(each) for name, each in get_arrays(model).items()}
    for round_id in range(1, ROUNDS + 1):
        sums = {name: torch.zeros_like(each) for name, each in mean.items()}
        for place, trainer in enumerate(trainers):
            model.load_state_dict(mean)
            trainer.train_epoch(model, batch_seed(0, round_id, place))
            for name, each in model.state_dict().items():
                sums[name] += each * len(rows[place])
        mean = {name: each / sum(map(len, rows)) for name, each in sums.items()}
    return {name: each.numpy() for name, each in mean.items()}


def blocks(language: str) -> list[str]:
    """What the page shows in a language."""
    page = (DOCS / "nvflare.md").read_text("utf-8")
    starts = {"python": "```python\n", "console": "```console\n"}
    return [each.partition("```")[0] for each in page.split(starts[language])[1:]]


def test_the_script_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = nn.Linear(12, 2), DataLoader(TensorDataset(torch.rand(50, 12)), 10)
    received, sent = flare.FLModel(params=model.state_dict()), list[flare.FLModel]()
    monkeypatch.setattr(flare, "init", lambda: None)
    monkeypatch.setattr(flare, "is_running", lambda: not sent)
    monkeypatch.setattr(flare, "receive", lambda: received)
    monkeypatch.setattr(flare, "send", sent.append)
    given = {"model": model, "batches": rows, "train_one_epoch": lambda model, batches: None}
    exec(compile(blocks("python")[0], "docs/nvflare.md", "exec"), given)  # noqa: S102
    assert sent[0].meta["NUM_STEPS_CURRENT_ROUND"] == 50


@pytest.mark.slow
def test_both_companies_have_the_model_of_training_in_the_clear(tmp_path: Path) -> None:
    (command,) = (each for each in blocks("console") if each.startswith("python "))
    done = subprocess.run(
        [sys.executable, *command.split()[1:], str(tmp_path / "model.npz")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONG_SECONDS,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "both companies have the same 5858 weights" in done.stdout
    with np.load(tmp_path / "model.npz") as trained:
        for name, each in in_the_clear().items():
            # The grid's step is 2^-15 of 1, with weights twice that, in each of three rounds; Adam
            # divides by the root of squares, and so may turn a step's rounding into its own size.
            np.testing.assert_allclose(trained[name], each, atol=5e-3, err_msg=name)
