"""Real processes of two companies that are new to it, with tables and a model of their own."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from privfed.partner.results import TrainingResults
from privfed.records import RESULTS_FILE
from tests.partner.test_commands import PRIVFED, free_port, started, until

MODEL = """
from torch import nn


def network(features, classes):
    return nn.Sequential(nn.Linear(features, 8), nn.Tanh(), nn.Linear(8, classes))
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def run(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PRIVFED, *map(str, arguments)], cwd=folder, env=ENVIRONMENT, capture_output=True,
        text=True,
    )  # fmt: skip


def people(first: int, count: int) -> pd.DataFrame:
    """Mixed columns, of which one has cells without a value."""
    coins = np.random.default_rng(first)
    return pd.DataFrame(
        {
            "customer": [f"C{first + at}" for at in range(count)],
            "age": [int(coins.integers(18, 80)) for _ in range(count)],
            "income": [round(coins.uniform(10, 70), 1) if at % 9 else None for at in range(count)],
            "region": [str(coins.choice(["north", "south", "east"])) for _ in range(count)],
            "buys": ["yes" if coins.random() < 0.4 else "no" for _ in range(count)],
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two identities, a table each under names of its own, a model, and a plan."""
    place = tmp_path_factory.mktemp("newcomers")
    (place / "own_networks.py").write_text(MODEL)
    (place / "secret").write_text("correct horse battery staple\n")
    assert not run(place, "keys", "identity", "maker", "--passphrase-file", "secret").returncode
    assert not run(place, "keys", "identity", "shop", "--unlocked").returncode
    people(900, 60).to_csv(place / "public.csv", index=False)
    people(0, 90).to_csv(place / "rows.csv", index=False)
    other = {"customer": "Number", "buys": "Bought?"}
    shared = pd.concat([people(0, 20), people(500, 50)])
    shared.rename(columns=other).to_excel(place / "rows.xlsx", index=False)
    shared.tail(12).rename(columns=other).to_csv(place / "held-out.csv", index=False)
    said = run(
        place, "train", "init", "--plan", "plan.toml",
        "--party", f"maker=maker/tls.crt@localhost:{free_port()}", "--party", "shop=shop/tls.crt",
        "--address", f"localhost:{free_port()}", "--rows", "100", "--rounds", "3",
        "--overlap", "rows", "--example", "public.csv", "--label", "buys", "--id", "customer",
        "--model", "own_networks:network",
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    return place


@pytest.mark.slow
def test_tables_and_a_model_of_their_own(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One joins before the other listens; all the ways to go on afterwards lose nothing."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    common = ("--plan", "plan.toml", "--model", "own_networks:network")
    maker = (
        "train", "serve", "rows.csv", *common, "--identity", "maker", "--passphrase-file", "secret",
        "--out", tmp_path / "maker",
    )  # fmt: skip
    shop = (
        "train", "join", "rows.xlsx", *common, "--identity", "shop", "--label", "Bought?",
        "--id", "Number", "--test", "held-out.csv", "--out", tmp_path / "shop",
    )  # fmt: skip
    log = tmp_path / "shop.log"
    with started(log, *shop) as joins:
        until(lambda: "waiting for the server at localhost" in log.read_text(), joins)
        second = run(place, *shop)
        assert second.returncode == 2
        assert "another process trains by this plan? End it first" in second.stderr.splitlines()[-1]
        serves = run(place, *maker)
        assert joins.wait() == 0, log.read_text()
    assert serves.returncode == 0, serves.stderr
    found = TrainingResults.load(tmp_path / "shop" / RESULTS_FILE)
    assert found.overlap is not None
    assert (found.overlap.shared_ids, found.overlap.rows_taken_out) == ((20, 70), 20)
    assert (found.train_rows, found.seen_n, found.unseen_n) == (50, 12, 0)

    # Once more, alone: Ctrl-C ends the wait for somebody who lacks nothing.
    log = tmp_path / "again.log"
    with started(log, *shop) as again:
        until(lambda: "all rounds are finished here, and Ctrl-C" in log.read_text(), again)
        again.send_signal(signal.SIGINT)
        assert again.wait() == 0, log.read_text()
    same = TrainingResults.load(tmp_path / "shop" / RESULTS_FILE)
    assert (same.overlap, same.weights_sha256) == (found.overlap, found.weights_sha256)
    assert (same.history, same.seen_accuracy) == (found.history, found.seen_accuracy)

    predicted = ("predict", "rows.xlsx", "--model", tmp_path / "shop" / "model.npz")
    refused = run(place, *predicted)
    assert (refused.returncode, "give that as --code" in refused.stderr) == (2, True)
    own = ("--code", "own_networks:network", "--id", "Number", "--label", "Bought?")
    judged = run(place, *predicted, *own)
    assert judged.returncode == 0, judged.stderr
    assert judged.stdout.startswith("id,prediction,probability of no,probability of yes\nC0,")


def test_a_host_that_nobody_knows_is_named(place: Path, tmp_path: Path) -> None:
    text = (place / "plan.toml").read_text()
    line = next(each for each in text.splitlines() if each.startswith("address = "))
    (place / "far.toml").write_text(text.replace(line, 'address = "nowhere.invalid:7790"'))
    done = run(
        place, "train", "join", "rows.xlsx", "--plan", "far.toml", "--identity", "shop",
        "--label", "Bought?", "--id", "Number", "--model", "own_networks:network",
        "--out", tmp_path / "out", "--wait", "0.5",
    )  # fmt: skip
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "nobody knows its host, nowhere.invalid:7790" in done.stderr.splitlines()[-1]
