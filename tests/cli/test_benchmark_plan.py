"""What `privfed benchmark` says before it runs, and while it does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from privfed.cli.benchmark_progress import Pace, shown
from privfed.experiment import Forecast, Job, choose_arms
from privfed.report import load_results
from tests.cli.command import Command

ARMS = "guest,federated,federated-he-dp"
FEW = ("--rounds", 2, "--private-rounds", 1, "--epsilon", "3,8", "--arms", ARMS)

INTERRUPTED_WITH_WORKERS = """
import multiprocessing, os, signal
from privfed.cli.benchmark_progress import Pace
advance = Pace.advance
def advance_and_interrupt(self, *said):
    advance(self, *said)
    if self.rounds[0] == 1:
        print(*(each.pid for each in multiprocessing.active_children()), flush=True)
        os.killpg(0, signal.SIGINT)
Pace.advance = advance_and_interrupt
from privfed.cli import main; main()
"""


def test_a_dry_run_shows_the_plan_and_writes_nothing(privfed: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = privfed("benchmark", *FEW, "--seeds", 2, "--dry-run", "--out", out)
    assert (done.status, done.err) == (0, "")
    assert list(tmp_path.iterdir()) == []
    said = " ".join(done.out.split())
    assert "Plan, dresses: 3 arms × 1 split (overlapping) × 2 seeds, private arms at ε" in said
    for arm, rounds, runs in (
        ("guest alone", 2, 2),
        ("federated, quantised", 2, 2),
        ("federated, encrypted, private", 1, 4),
    ):
        assert re.search(rf"{arm} │ {rounds} │ {runs} │ ≈ [\d.]+ m?s │ ≈ [\d.]+ m?s │", said)
    assert re.search(r"To run: 8 runs; about [\d.]+ m?s and about [\d.]+ [MG]B of memory\.", said)
    assert "an estimate: 3 rounds of each kind of arm, measured here and now" in said
    assert "Report" not in said


def test_the_plan_comes_first_and_counts_what_is_kept(privfed: Command, tmp_path: Path) -> None:
    asked = ("benchmark", "--rounds", 1, "--arms", "guest,federated", "--out", tmp_path)
    first = " ".join(privfed(*asked, "--seeds", 1).out.split())
    assert 0 <= first.index("Plan, dresses: 2 arms") < first.index("Report: ")
    more = " ".join(privfed(*asked, "--seeds", 2, "--dry-run").out.split())
    assert "guest alone │ 1 │ 1 of 2 │" in more
    assert "To run: 2 runs, 2 are kept from before; about" in more
    nothing = " ".join(privfed(*asked, "--seeds", 1, "--dry-run").out.split())
    assert "guest alone │ 1 │ 0, all kept │ – │ – │" in nothing
    assert "All 2 runs had finished here before and are kept." in nothing


def test_several_jobs_give_the_same_results(privfed: Command, tmp_path: Path) -> None:
    asked = ("benchmark", "--quick", "--rounds", 2, "--arms", "guest,federated,federated-he")
    one = privfed(*asked, "--out", tmp_path / "one")
    two = privfed(*asked, "--jobs", 2, "--out", tmp_path / "two")
    assert (one.status, one.err, two.status, two.err) == (0, "", 0, "")
    assert "To run: 3 runs in 2 processes; about" in " ".join(two.out.split())
    found = [
        [(run.arm, run.weights_sha256, run.test_accuracy, run.test_auc) for run in results.runs]
        for results in map(load_results, (tmp_path / "one", tmp_path / "two"))
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("jobs", [0, "many"])
def test_jobs_are_a_number_from_1_up(privfed: Command, tmp_path: Path, jobs: object) -> None:
    done = privfed("benchmark", "--jobs", jobs, "--out", tmp_path / "out")
    assert done.status == 2
    assert "--jobs" in done.err
    assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_the_workers_without_a_word_of_theirs(tmp_path: Path) -> None:
    """The terminal sends it to all processes of the command at once."""
    asked = ["--rounds", "500", "--seeds", "1", "--arms", "guest,host", "--out", str(tmp_path)]
    stopped = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WITH_WORKERS, "benchmark", "--jobs", "2", *asked],
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert stopped.returncode == 130
    assert stopped.stderr.splitlines()[-1] == "privfed: interrupted; what had finished is kept"
    assert "Traceback" not in stopped.stderr
    workers = [int(each) for each in stopped.stdout.splitlines()[-1].split()]
    assert len(workers) == 2
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
    assert not list(tmp_path.rglob("*.partial"))


class Clock:
    """Says what it is told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def begun(clock: Clock) -> Pace:
    """Two runs of 60 s each, of which two go on side by side."""
    arms = choose_arms(("guest", "overall"), ("guest", "host"))
    jobs = [
        Job(arm, "disjoint", 0, None, rounds) for arm, rounds in zip(arms, (10, 60), strict=True)
    ]
    pace = Pace("preparing", clock)
    pace.expect(Forecast([], 2, 60.0, None, {job.title: 60.0 for job in jobs}), jobs)
    return pace


def test_a_line_says_what_is_done_of_what_and_the_time_left() -> None:
    clock = Clock()
    pace = begun(clock)
    line = "{} of 2 runs done, {} of 70 rounds; now {}; about {} left"
    assert plain(pace) == line.format(0, 0, "preparing", "60.0 s")
    pace.advance("disjoint, seed 0: guest", 10)
    pace.advance("disjoint, seed 1: guest (kept)", 99)
    clock.now += 30.0
    assert plain(pace) == line.format(1, 10, "disjoint, seed 0: guest", "30.0 s")
    pace.advance("disjoint, seed 0: overall", 30)
    clock.now += 80.0  # half of the rest took longer: what is seen counts
    assert plain(pace) == line.format(1, 40, "disjoint, seed 0: overall", "30.0 s")
    pace.advance("disjoint, seed 0: overall", 30)
    assert plain(pace) == line.format(2, 70, "disjoint, seed 0: overall", "0 s")


def plain(pace: Pace) -> str:
    return pace.line().replace("\N{NO-BREAK SPACE}", " ")


def test_before_the_forecast_the_line_says_what_is_done_now() -> None:
    pace = Pace("dealing out the rows", Clock())
    assert pace.left_seconds is None
    assert pace.line() == "dealing out the rows"


def test_in_a_log_a_line_comes_after_each_wait(capsys: pytest.CaptureFixture[str]) -> None:
    clock, waits = Clock(), []
    pace = begun(clock)

    def wait(ended: threading.Event) -> bool:
        clock.now += 30.0
        waits.append(ended)
        pace.advance("disjoint, seed 0: overall", 20)
        return len(waits) > 2

    with shown(pace, wait):
        pass
    lines = capsys.readouterr().err.replace("\N{NO-BREAK SPACE}", " ").splitlines()
    assert [line.split("; ")[0] for line in lines] == [
        "privfed: 0 of 2 runs done, 20 of 70 rounds",
        "privfed: 0 of 2 runs done, 40 of 70 rounds",
    ]


def test_private_arms_run_on_what_can_be_learnt_too(privfed: Command, tmp_path: Path) -> None:
    """Both are planned, both are kept; a named arm brings the digits only if they are asked for."""
    asked = ("benchmark", *FEW, "--seeds", 1, "--out", tmp_path / "out")
    said = " ".join(privfed(*asked, "--beside", "digits").out.split())
    assert "Plan, digits: 4 arms × 1 split (disjoint) × 1 seed" in said
    results = load_results(tmp_path / "out")
    assert results.beside is not None
    assert {run.arm for run in results.beside.runs} == {
        "federated", "local-noise", "noise-shares", "central-noise",
    }  # fmt: skip
    assert load_results(tmp_path / "out" / "digits") == results.beside
    assert "All 11\u00a0runs had finished" in privfed(*asked, "--beside", "digits", "--dry-run").out
    assert "digits" not in privfed(*asked, "--dry-run").out
    refused = privfed(*asked, "--beside", "letters")
    assert (refused.status, refused.err.strip()) == (
        2,
        "privfed: --beside takes digits or none, not 'letters'",
    )


def test_two_benchmarks_are_compared_by_command(privfed: Command, tmp_path: Path) -> None:
    for name, rounds in (("one", 1), ("two", 2)):
        asked = ("--arms", "guest,federated", "--rounds", rounds, "--seeds", 3)
        privfed("benchmark", *asked, "--out", tmp_path / name)
    page = tmp_path / "both.html"
    done = privfed("report", tmp_path / "one", tmp_path / "two", "--out", page)
    assert (done.status, done.err) == (0, "")
    assert "one and two" in done.out
    assert "2\u00a0arms ran in both." in done.out
    assert "settings.rounds" in page.read_text("utf-8")
    missing = privfed("report", tmp_path / "one", tmp_path / "three", "--out", page)
    assert missing.status == 2
    assert "does not exist" in missing.err
