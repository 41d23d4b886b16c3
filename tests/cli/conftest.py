"""The command in this process, as the console script calls it, and one finished benchmark."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from privfed.cli import benchmark_progress, main
from psi.network import create_identity
from tests.cli.command import Command, Done

torch.set_num_threads(1)


@pytest.fixture
def privfed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    # However busy the machine is: what a test says of standard error depends on no clock.
    monkeypatch.setattr(benchmark_progress, "LINE_SECONDS", 1e6)

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["privfed", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        status = end.value.code or 0
        assert isinstance(status, int)
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a small benchmark on the surrogate, by the command."""
    out = tmp_path_factory.mktemp("finished")
    arms = "guest,federated,federated-he"
    arguments = ["benchmark", "--quick", "--rounds", "3", "--arms", arms, "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["privfed", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code
    return out


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank's and a shop's table, in other orders, and an identity for each."""
    place = tmp_path_factory.mktemp("companies")
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 400))
    late = (rng.random(400) < 1 / (1 + np.exp(-x - 2 * z))).astype(int)
    bank = pd.DataFrame({"id": [f"c{n}" for n in range(400)], "income": x, "late": late})
    shop = pd.DataFrame({"id": bank["id"], "returns": z, "kind": np.where(z > 1, "a", "b")})
    bank.to_csv(place / "bank.csv", index=False)
    shop.sample(frac=0.8, random_state=1).to_csv(place / "shop.csv", index=False)
    shop.assign(id="x" + shop["id"]).to_csv(place / "others.csv", index=False)
    shop.assign(always=1).to_csv(place / "constant.csv", index=False)
    shop.assign(late=late).to_csv(place / "both_labels.csv", index=False)
    bank.drop(columns="late").to_csv(place / "no_label.csv", index=False)
    for name in ("bank", "shop"):
        create_identity(place / name, unlocked=True)
    return place
