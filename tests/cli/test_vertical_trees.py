"""`privfed vertical --model trees`: both companies at once, and two over a connection."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from privfed.vertical.trees.results import TreesResults
from tests.cli.command import Command
from tests.cli.companies import killed, lines_of, run, together, training

pytest.importorskip("grpc")
TREES = ("--model", "trees", "--depth", "3")


@pytest.mark.slow
def test_two_companies_train_break_off_go_on_and_predict(place: Path, tmp_path: Path) -> None:
    """The host's process is killed after its second tree; the guest is told how to go on."""
    guest_command, host_command = training(place, tmp_path, *TREES, "--trees", "4")
    guest_command += ["--rate", "0.5"]
    host_command += ["--bins", "16", "--memory", "20MB"]
    said = killed("tree 2", (guest_command, host_command))
    assert "both companies go on by the same commands and --resume" in said[0]
    for name in ("bank", "shop"):
        assert (tmp_path / name / "unfinished.json").stat().st_mode & 0o777 == 0o600
        assert not (tmp_path / name / "results.json").exists()
    together([*guest_command, "--resume"], [*host_command, "--resume"])
    guest, host = (TreesResults.load(tmp_path / name / "results.json") for name in ("bank", "shop"))
    assert guest.plan == host.plan
    assert guest.common_rows == host.common_rows == 320
    assert guest.rounds == host.rounds == 4
    assert (guest.learning_rate, host.learning_rate, host.host.bins) == (0.5, None, 16)
    assert guest.host.splits == host.host.splits
    assert guest.measures[0].pooled is None
    assert not host.measures
    assert guest.audit is None
    assert {each.name for each in host.audit or ()} <= {"returns", "kind"}
    assert guest.nodes_told == host.nodes_told == 4 * 7
    assert [tree.won for tree in guest.bits] == [tree.won for tree in host.bits]
    assert sum(host.host.nodes_won or ()) == sum(tree.won for tree in host.bits) > 0
    assert 0 < guest.sides_read <= host.sides_read
    assert not (tmp_path / "bank" / "unfinished.json").exists()
    lines = lines_of(place)
    together(
        ["predict", "guest", place / "bank.csv", "--model", tmp_path / "bank" / "half.json",
         *lines["bank"], "--out", tmp_path / "scores.csv"],
        ["predict", "host", place / "shop.csv", "--model", tmp_path / "shop" / "half.json",
         *lines["shop"]],
    )  # fmt: skip
    scored = pd.read_csv(tmp_path / "scores.csv").merge(pd.read_csv(place / "bank.csv"), on="id")
    assert len(scored) == 320
    assert ((scored["score"] > 0) == scored["late"]).mean() > 0.75
    counted = json.loads((tmp_path / "shop" / "answered.json").read_text())
    assert counted["rows"] == host.test_rows + 320


@pytest.mark.slow
def test_both_are_played_with_classes_weights_and_early_stopping(
    place: Path, tmp_path: Path
) -> None:
    bank, shop = (pd.read_csv(place / f"{name}.csv", dtype=str) for name in ("bank", "shop"))
    returns = bank["id"].map(shop.set_index("id")["returns"]).astype(float)
    score = bank["income"].astype(float) + 2 * returns
    bank["late"] = pd.cut(score, [-99, -1, 1, 99], labels=["low", "middle", "high"]).astype(str)
    bank["count"] = [str(1 + n % 3) for n in range(len(bank))]
    bank[score.notna()].to_csv(tmp_path / "bank.csv", index=False)
    said = run(
        "--guest", tmp_path / "bank.csv", "--host", place / "shop.csv", "--id", "id", "--label",
        "late", *TREES, "--trees", "6", "--early-stopping", "2", "--validation", "30", "--weight",
        "count", "--reveal", "histograms", "--out", tmp_path / "out",
    )  # fmt: skip
    results = TreesResults.load(tmp_path / "out" / "results.json")
    assert results.classes == ("high", "low", "middle")
    assert (results.trees_a_round, results.weighted, results.validation_rows) == (3, True, 72)
    assert "count" not in (results.guest.names or ())
    assert len(results.losses) == results.rounds
    assert [each.name for each in results.measures] == ["accuracy", "mean AUC"]
    nodes = results.rounds * 3 * 7
    assert results.nodes_told == nodes
    assert results.opened_sums == nodes * (results.host.splits or 0)
    assert "sides of rows, a bit each" in said
    assert "scores of host’s splits opened to guest" in said
    assert "If guest were told, too" in said
    assert (tmp_path / "out" / "report.html").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "trees", "--penalty", "0.1"], "--penalty goes with --model glm"),
        (["--model", "trees", "--coefficients", "own"], "--coefficients goes with --model glm"),
        (["--depth", "3"], "--depth goes with --model trees"),
        (["--early-stopping", "3"], "--early-stopping goes with --model trees"),
        (["--memory", "1GB"], "--memory goes with --model trees"),
        (["--model", "trees", "--validation", "9"], "--validation goes with --early-stopping"),
        (["--model", "trees", "--memory", "much"], "much is no size: give it as 500MB or 2GB"),
        (["--model", "trees", "--opened", "class", "--family", "linear"], "only a logistic model"),
        (["--model", "forest"], "forest is none of glm, trees"),
        (["host", "t.csv", "--rate", "0.1"], "No such option"),
        (["guest", "t.csv", "--memory", "1GB"], "No such option"),
    ],
)
def test_options_of_another_model_are_refused(
    privfed: Command, tmp_path: Path, arguments: list[str], words: str
) -> None:
    out = tmp_path / "out"
    [*command, option, value] = arguments
    done = privfed("vertical", *command, option, value, "--out", out)
    assert done.status == 2
    assert words in done.err
    assert not out.exists()


def test_help_tells_which_options_go_with_which_model(
    privfed: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    played, host = privfed("vertical", "--help").out, privfed("vertical", "host", "--help").out
    for panel in ("Alike too, with --model glm", "Alike too, with --model trees"):
        assert panel in played
        assert panel in host
    assert "--early-stopping" in played
    assert "--early-stopping" not in host
    assert "--memory" in host
