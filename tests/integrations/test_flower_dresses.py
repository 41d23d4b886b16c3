"""examples/flower_dresses trains what `privfed benchmark` trains, bit for bit."""

import importlib
import runpy
import sys
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from privfed.cli import app as privfed
from privfed.experiment import load_model
from privfed.integrations import trained_model
from tests.integrations.grid import RUN_ID, OneProcessGrid
from tests.places import ROOT

ROUNDS = 3


def test_after_three_rounds_the_weights_are_those_of_the_benchmark_s_encrypted_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "flower_dresses"))  # as Flower does
    client, server = (
        importlib.import_module(f"dresses.{name}") for name in ("client_app", "server_app")
    )
    monkeypatch.setattr(sys, "argv", ["dresses.keys", str(tmp_path)])
    runpy.run_module("dresses.keys", run_name="__main__")
    nodes = [{"privfed-keys": str(tmp_path), "partition-id": place} for place in range(2)]
    grid = OneProcessGrid([client.app] * 2, nodes)
    server.app(grid, Context(RUN_ID, 1, {}, RecordDict(), {"num-server-rounds": ROUNDS}))

    out = tmp_path / "benchmark"
    asked = f"--quick --split overlapping --arms federated-he --rounds {ROUNDS} --seeds 1"
    privfed(["benchmark", *asked.split(), "--out", str(out)], standalone_mode=False)
    wanted = load_model(out / "models" / "overlapping-federated-he-seed0.npz").arrays
    for place in range(2):
        found = trained_model(tmp_path / str(place))
        assert list(found) == list(wanted)
        assert all(found[name].tobytes() == wanted[name].tobytes() for name in wanted)
