"""The commands as they are meant to be used."""

from __future__ import annotations

import csv
import io
import json
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import privfed as package
from privfed.data import surrogate_tables
from privfed.partner.results import TrainingResults
from privfed.report import load_results
from privfed.report.training import render_training
from tests.cli.command import PRIVFED, Command
from tests.report.training_samples import training

INTERRUPTED_AT_THE_FIRST_RUN = """
import os, signal
from privfed.experiment.store import RunStore
save = RunStore.save
def save_and_interrupt(self, *run):
    save(self, *run)
    os.kill(os.getpid(), signal.SIGINT)
RunStore.save = save_and_interrupt
from privfed.cli import main; main()
"""


def test_version(privfed: Command) -> None:
    assert privfed("--version").out == f"{package.__version__}\n"


@pytest.mark.parametrize("command", [[], ["audit"], ["benchmark"], ["predict"], ["report"]])
def test_help(privfed: Command, command: list[str]) -> None:
    done = privfed(*command, "--help")
    assert (done.status, done.err) == (0, "")
    assert "Usage: privfed" in done.out
    if command == ["benchmark"]:
        for option in ("--data", "--split", "--arms", "--epsilon", "--seeds", "--quick", "--out"):
            assert option in done.out


def test_nothing_asked_shows_the_help(privfed: Command) -> None:
    done = privfed()
    assert done.status == 2
    assert "benchmark" in done.out + done.err


def test_a_benchmark_leaves_results_report_and_models(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == [
        *("models", "report.html", "results.json", "runs")
    ]
    results = load_results(finished / "results.json")
    assert [run.arm for run in results.runs] == ["guest", "federated", "federated-he"]
    assert all((finished / str(run.model)).is_file() for run in results.runs)
    assert results.runs[1].history["weights_sha256"] == results.runs[2].history["weights_sha256"]
    assert results.provenance["seeds"] == [0]
    assert results.provenance["command"] == (
        "privfed benchmark --quick --rounds 3 --arms guest,federated,federated-he "
        f"--out {finished.name}"
    )
    assert results.provenance["data"]["is_surrogate"] is True
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>") or page.startswith("<!doctype html>")
    assert "surrogate" in page


def test_called_again_it_keeps_the_runs_and_prints_the_table(
    privfed: Command, finished: Path
) -> None:
    kept = {path: path.stat().st_mtime_ns for path in (finished / "runs").iterdir()}
    arms = "guest,federated,federated-he"
    done = privfed("benchmark", "--quick", "--rounds", 3, "--arms", arms, "--out", finished)
    assert (done.status, done.err) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in (finished / "runs").iterdir()} == kept
    assert "embedded surrogate (not real data)" in done.out
    for word in ("federated, encrypted", "unseen", f"Report: {finished.name}/report.html"):
        assert word in done.out


def test_no_folder_of_the_user_stands_in_anything_that_is_left_or_printed(
    privfed: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "private folder"
    folder.mkdir()
    table = pd.DataFrame(
        {"x": [n + 0.5 for n in range(80)], "late": ["no", "yes"] * 40, "who": range(80)}
    )
    table.to_csv(folder / "own.csv", index=False)
    out = folder / "out"
    done = privfed(
        "benchmark", "--data", folder / "own.csv", "--label", "late", "--id", "who", "--rounds", 1,
        "--seeds", 1, "--arms", "guest,federated", "--out", out,
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    again = privfed("report", out)
    assert "Report: out/report.html" in again.out
    command = load_results(out).provenance["command"]
    assert command == (
        "privfed benchmark --data own.csv --label late --id who --rounds 1 --seeds 1 "
        "--arms guest,federated --out out"
    )
    left = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    for text in (left, done.out.encode(), again.out.encode()):
        assert b"own table, own.csv" in text or text == again.out.encode()
        assert b"private folder" not in text
        assert str(tmp_path).encode() not in text
    host = socket.gethostname().encode()
    words = [  # in weights, a host's few letters would be there by chance
        path.read_bytes() for path in out.rglob("*") if path.is_file() and path.suffix != ".npz"
    ]
    assert not any(host in text for text in (*words, done.out.encode(), again.out.encode()))


def test_the_report_is_drawn_again(privfed: Command, finished: Path) -> None:
    before = (finished / "report.html").read_text(encoding="utf-8")
    (finished / "report.html").unlink()
    done = privfed("report", finished)
    assert (done.status, done.err) == (0, "")
    assert "federated, encrypted" in done.out
    assert (finished / "report.html").read_text(encoding="utf-8") == before


def model(finished: Path) -> Path:
    return finished / "models" / "overlapping-federated-he-seed0.npz"


def test_predictions_are_csv_with_remarks_aside(
    privfed: Command, finished: Path, tmp_path: Path
) -> None:
    rows = surrogate_tables()[0].head(4).drop(columns="Recommendation")
    rows.loc[1, "Style"] = "steampunk"
    rows.loc[3, "Material"] = "[bold]\N{LATIN SMALL LETTER E WITH ACUTE}toffe, " + "x" * 200
    rows.to_csv(tmp_path / "new.csv", index=False)
    done = privfed("predict", "--model", model(finished), tmp_path / "new.csv")
    assert done.status == 0
    header, *judged = csv.reader(io.StringIO(done.out))
    assert header == [
        *("id", "prediction", "probability of do not recommend", "probability of recommend")
    ]
    assert [row[0] for row in judged] == rows["Dress_ID"].tolist()
    for _, name, no, yes in judged:
        assert name == ("recommend" if float(yes) > float(no) else "do not recommend")
        assert float(no) + float(yes) == pytest.approx(1, abs=2e-4)
    about, first, second = done.err.splitlines()  # one line each, however long
    assert "surrogate" in about
    assert first == "row 2: Style 'steampunk' was never seen; taken as unknown"
    assert second.startswith("row 4: Material '[bold]\N{LATIN SMALL LETTER E WITH ACUTE}toffe")


def test_predictions_without_ids_count_rows(
    privfed: Command, finished: Path, tmp_path: Path
) -> None:
    rows = surrogate_tables()[0].head(3).drop(columns=["Recommendation", "Dress_ID"])
    rows.to_csv(tmp_path / "new.csv", index=False)
    done = privfed("predict", "--model", model(finished), tmp_path / "new.csv")
    assert [line.split(",")[0] for line in done.out.splitlines()] == ["id", "1", "2", "3"]


def test_parties_and_a_table_of_ones_own(privfed: Command, tmp_path: Path) -> None:
    """The options that the surrogate does not exercise."""
    table = tmp_path / "orders.csv"
    lines = [f"C{i // 2},{i % 7},{'red' if i % 3 else 'blue'},{i % 2}" for i in range(120)]
    table.write_text("\n".join(["customer,hours,colour,late", *lines]) + "\n")
    out = tmp_path / "out"
    done = privfed(
        *("benchmark", "--data", table, "--label", "late", "--id", "customer", "--parties", 3),
        *("--encoding", "onehot", "--arms", "party-3,federated-he", "--rounds", 2, "--seeds", 2),
        *("--out", out),
    )
    assert (done.status, done.err) == (0, "")
    document = json.loads((out / "results.json").read_text())
    assert [run["arm"] for run in document["runs"]] == ["party-3", "federated-he"] * 2
    assert document["provenance"]["settings"]["splits"] == ["disjoint"]
    assert document["provenance"]["data"]["encoding"] == "onehot"
    assert len(document["overlaps"][0]["party_rows"]) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("always::privfed.errors.PrivacyWarning")
def test_a_delta_that_publishes_a_row_is_warned_of_in_a_line(
    privfed: Command, tmp_path: Path
) -> None:
    few = ("--rounds", "1", "--seeds", "1", "--epsilon", "8", "--arms", "local-noise")
    asked = ("--dataset", "breast-cancer", "--delta", "0.003", *few)
    done = privfed("benchmark", *asked, "--out", str(tmp_path))
    assert done.status == 0
    [line] = [line for line in done.err.splitlines() if "warning" in line]
    assert line.startswith("privfed: warning: delta=0.003 is not below 1/4")
    assert "ask for a smaller one" in line


def test_interrupted_it_says_so_and_goes_on(tmp_path: Path) -> None:
    """Ctrl+C after the first arm; the second call runs the second arm only."""
    arms = ["--rounds", "2", "--seeds", "1", "--arms", "guest,federated-float"]
    asked = ["benchmark", *arms, "--out", str(tmp_path)]
    stopped = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AT_THE_FIRST_RUN, *asked],
        capture_output=True,
        text=True,
        check=False,
    )
    assert stopped.returncode == 130
    assert "Plan, dresses: " in stopped.stdout
    assert "Report: " not in stopped.stdout
    assert stopped.stderr == "privfed: interrupted; what had finished is kept\n"
    [guest] = (tmp_path / "runs").iterdir()
    assert not (tmp_path / "results.json").exists()
    before = guest.stat().st_mtime_ns
    done = subprocess.run([*PRIVFED, *asked], capture_output=True, text=True, check=True)
    assert "Report:" in done.stdout
    assert guest.stat().st_mtime_ns == before
    assert len(load_results(tmp_path).runs) == 2


def test_report_draws_a_trainings_page_again(tmp_path: Path, privfed: Command) -> None:
    path = training().write(tmp_path)
    done = privfed("report", tmp_path)
    assert done.status == 0
    assert (tmp_path / "report.html").read_text() == render_training(TrainingResults.load(path))
    path.write_text(path.read_text().replace("results 1", "results 9"))
    done = privfed("report", tmp_path)
    assert (done.status, "holds no results of a training" in done.err) == (2, True)
    assert "Traceback" not in done.err
