"""A user's own network: saved by name, and predicted with where the user names the same code."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from privfed.data import surrogate_tables
from privfed.errors import ConfigError
from privfed.experiment import SavedModel, load_model, predict, save_model
from privfed.training import get_arrays, initial_model, weights_sha256
from privfed.training.builders import model_builder
from privfed.training.model import Loss
from tests.experiment.mini import surrogate
from tests.places import VECTORS

CODE = '''"""Two networks, and things that are none of the trained one."""

from pathlib import Path

import torch
from torch import nn

Path("imported").write_text("")


class Convolved(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.header = nn.Conv1d(1, 4, 3)  # named as what is beside the weights in a file
        self.file = nn.Parameter(torch.zeros(classes))
        self.scores = nn.LazyLinear(classes)

    def forward(self, rows):
        return self.scores(torch.relu(self.header(rows[:, None])).flatten(1)) + self.file


def convolved(features, classes):
    model = Convolved(classes)
    model(torch.zeros(1, features))
    return model


class Recurrent(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.cells, self.scores = nn.LSTM(1, 5, batch_first=True), nn.Linear(5, classes)

    def forward(self, rows):
        return self.scores(self.cells(rows[:, :, None])[0][:, -1])


def recurrent(classes):
    return Recurrent(classes)


def narrow(features):
    return nn.Linear(features, 1)
'''


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a user's module, in which Python looks for modules."""
    (tmp_path / "own_networks.py").write_text(CODE)
    rows = surrogate_tables()[0].head(20).drop(columns="Recommendation")
    rows.to_csv(tmp_path / "rows.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_networks", None)


def saved(path: Path, function: str, loss: Loss = "softmax") -> SavedModel:
    data, name = surrogate(), f"own_networks:{function}"
    build = model_builder(name, data.encoder.num_features, 2)
    arrays = get_arrays(initial_model(build, 4))
    model = SavedModel(arrays, data.encoder, data.class_names, "the surrogate", name, loss)
    save_model(path, model)
    return model


@pytest.mark.parametrize("function", ["convolved", "recurrent"])
@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_an_own_model_predicts_in_another_process(place: Path, function: str, loss: Loss) -> None:
    model = saved(place / "m.npz", function, loss)
    found = load_model(place / "m.npz", model.model)
    assert (found.model, found.loss) == (model.model, loss)
    assert weights_sha256(found.arrays) == weights_sha256(model.arrays)
    with torch.inference_mode():
        scores = model.network().eval()(torch.from_numpy(surrogate().features[:20]))
    shares = scores.softmax(1) if loss == "softmax" else scores.sigmoid()
    wanted = (shares / shares.sum(1, keepdim=True)).numpy()
    assert np.allclose(predict(found, place / "rows.csv").probabilities, wanted, atol=1e-6)

    command = ("predict", "rows.csv", "--model", "m.npz", "--code", model.model)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "privfed", *command],
        capture_output=True, text=True, cwd=place,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [list(map(float, row[2:])) for row in [*csv.reader(done.stdout.splitlines())][1:]]
    assert np.allclose(said, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ((), "give that as --code, if you trust"),
        (("--code", "os:getcwd"), "made by own_networks:convolved, not by os:getcwd"),
        (("--code", "dress"), "made by own_networks:convolved, not by dress"),
    ],
)
def test_a_file_brings_no_code(place: Path, code: tuple[str, ...], said: str) -> None:
    """Nothing that it names is imported but what the command line names, too."""
    saved(place / "m.npz", "convolved")
    (place / "imported").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "privfed", "predict", "rows.csv", "--model", "m.npz", *code],
        capture_output=True, text=True, cwd=place,
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (place / "imported").exists()


def test_the_houses_own_network_needs_no_code(place: Path) -> None:
    path = VECTORS / "model_format_1.npz"
    assert load_model(path, "dress").model == "dress"
    with pytest.raises(ConfigError, match="made by dress, not by own_networks:convolved"):
        load_model(path, "own_networks:convolved")


def test_code_that_has_changed_is_named(place: Path) -> None:
    model = saved(place / "m.npz", "recurrent")
    (place / "own_networks.py").write_text(CODE.replace("LSTM(1, 5", "LSTM(1, 6"))
    del sys.modules["own_networks"]
    with pytest.raises(ConfigError, match=r"has other weights than .*m\.npz: take the code as it"):
        load_model(place / "m.npz", model.model)


def test_a_score_for_each_class(place: Path) -> None:
    model = saved(place / "m.npz", "narrow")
    with pytest.raises(
        ConfigError, match=r"makes \[2, 1\]: it must give one score a row and class"
    ):
        predict(load_model(place / "m.npz", model.model), place / "rows.csv")


def test_a_file_of_the_first_format_predicts_as_it_did(tmp_path: Path) -> None:
    """Written, and predicted with, before there was a second format."""
    vector = json.loads((VECTORS / "model_format_1.json").read_text())
    pd.DataFrame(vector["rows"]).to_csv(tmp_path / "rows.csv", index=False)
    model = load_model(VECTORS / "model_format_1.npz")
    assert (model.model, model.loss) == ("dress", "sigmoid")
    found = predict(model, tmp_path / "rows.csv")
    assert np.allclose(found.probabilities, vector["probabilities"], atol=1e-6)
    save_model(tmp_path / "again.npz", model)
    again = predict(load_model(tmp_path / "again.npz"), tmp_path / "rows.csv")
    assert np.array_equal(again.probabilities, found.probabilities)
