"""Five companies on digits at ε = 1: as accurate as the benchmark's noise shares in one process."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from benchmarks.privacy_arms import ARMS, Setting
from benchmarks.privacy_split import partition
from privfed.data import Dataset, load_dataset, split_parties
from privfed.experiment.model_file import load_model, predict
from tests.partner.test_commands import free_port, run, started

PARTIES, ROUNDS, BATCH, RATE = 5, 100, 58, 0.05
SEEDS = range(20, 28)
FALSE_ALARM = 1e-4
MODEL = """
from torch import nn

def linear(features, classes):
    return nn.Linear(features, classes)
"""


def prepare(place: Path, data: Dataset, seed: int) -> list[int]:
    """Write each party's table, the test rows, an example of public ranges, and the model."""
    names = [column.name for column in data.encoder.schema.columns]
    raw = np.rint(data.features * 16).astype(int)

    def write(name: str, rows: np.ndarray) -> None:
        table = pd.DataFrame(raw[rows], columns=names).assign(digit=data.labels[rows])
        table.to_csv(place / f"{name}.csv", index=False)

    held = split_parties(data, "disjoint", parties=PARTIES, seed=seed)
    for number, party in enumerate(held):
        write(f"p{number}", party.train)
    write("test", np.concatenate([party.test for party in held]))
    ends = pd.DataFrame([[0] * len(names), [16] * len(names)] * 5, columns=names)
    ends.assign(digit=range(10)).to_csv(place / "example.csv", index=False)
    (place / "own_digits.py").write_text(MODEL)
    return [len(party.train) for party in held]


def train(place: Path, data: Dataset, seed: int) -> float:
    """Train in processes of their own; return the accuracy on all test rows."""
    counts = prepare(place, data, seed)
    parties = [f"p{number}" for number in range(PARTIES)]
    for name in (*parties, "server"):
        run("keys", "identity", place / name, "--unlocked")
    plan = ("--plan", place / "plan.toml")
    own = ("--model", "own_digits:linear", "--label", "digit")
    given = [word for name in parties for word in ("--party", f"{name}={place / name}/tls.crt")]
    run(
        "train", "init", *plan, *given, "--server", place / "server" / "tls.crt",
        "--address", f"localhost:{free_port()}", "--rows", ",".join(map(str, counts)),
        "--rounds", str(ROUNDS), "--seed", str(seed), *own, "--example", place / "example.csv",
        "--epsilon", "1", "--batch", str(BATCH), "--learning-rate", str(RATE),
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        serves = ("aggregate", *plan, "--identity", place / "server")
        stack.enter_context(started(place / "server.log", *serves))
        joined = [
            stack.enter_context(
                started(
                    place / f"{name}.log", "train", "join", place / f"{name}.csv", *plan, *own,
                    "--identity", place / name, "--out", place / f"{name}-out", "--wait", "500",
                )
            )
            for name in parties
        ]  # fmt: skip
        for name, process in zip(parties, joined, strict=True):
            assert process.wait() == 0, (place / f"{name}.log").read_text()
    models = {(place / f"{name}-out" / "model.npz").read_bytes() for name in parties}
    assert len(models) == 1
    model = load_model(place / "p0-out" / "model.npz", "own_digits:linear")
    truth = pd.read_csv(place / "test.csv")
    truth.drop(columns="digit").to_csv(place / "new.csv", index=False)
    found = predict(model, place / "new.csv").classes
    return fmean(int(one) == other for one, other in zip(found, truth["digit"], strict=True))


@pytest.mark.slow
@pytest.mark.deep(normal=1, stated=4)
def test_companies_are_as_accurate_as_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Student's prediction interval of the benchmark's runs; a false alarm once in 10,000 runs."""
    torch.set_num_threads(1)
    data = load_dataset("digits")
    between = []
    for seed in SEEDS[:count]:
        place = tmp_path / str(seed)
        place.mkdir()
        monkeypatch.chdir(place)
        monkeypatch.syspath_prepend(place)
        between.append(train(place, data, seed))
    (arm,) = (each for each in ARMS if each.name == "noise-shares")
    setting = Setting(RATE, 0.2, ROUNDS, 1, 1.0)
    in_one = [
        arm.run(
            setting, partition(data.centred(), "disjoint", PARTIES, seed), epsilon=1.0, delta=1e-5
        ).accuracy
        for seed in SEEDS
    ]
    print(f"between companies {between}, in one process {in_one}")
    width = stats.t.isf(FALSE_ALARM / 2, len(in_one) - 1) * stdev(in_one)
    width *= math.sqrt(1 / len(between) + 1 / len(in_one))
    assert abs(fmean(between) - fmean(in_one)) < width
    assert fmean(between) > 0.8  # a model of noise alone has a tenth
