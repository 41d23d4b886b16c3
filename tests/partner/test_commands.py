"""Real processes: two companies and a server, each started by one command."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from privfed.cli.alignment import PSIAligner
from privfed.data import load_dataset, split_parties, surrogate_tables
from privfed.experiment import Settings, run_benchmark
from privfed.experiment.model_file import load_model
from privfed.partner.results import TrainingResults
from privfed.records import RESULTS_FILE
from privfed.training import weights_sha256

PRIVFED = (sys.executable, "-m", "privfed")
ROUNDS = 6


def run(*arguments: str | Path) -> str:
    done = subprocess.run([*PRIVFED, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Identities of two parties and a server, the parties' tables, and a plan."""
    place = tmp_path_factory.mktemp("companies")
    for name in ("guest", "host", "server"):
        run("keys", "identity", place / name, "--unlocked")
    raw, data = surrogate_tables()[0], load_dataset()
    parties = split_parties(data, "overlapping", parties=2, seed=0, align=PSIAligner())
    for party in parties:
        raw.iloc[party.train].to_csv(place / f"{party.name}.csv", index=False)
    most = max(len(party.train) for party in parties)
    said = run(
        "train", "init", "--plan", place / "plan.toml",
        "--party", f"guest={place / 'guest' / 'tls.crt'}",
        "--party", f"host={place / 'host' / 'tls.crt'}", "--server", place / "server" / "tls.crt",
        "--address", "localhost:7790", "--rows", str(most), "--rounds", str(ROUNDS),
    )  # fmt: skip
    assert run("train", "show", "--plan", place / "plan.toml") in said
    return place


@contextmanager
def started(log: Path, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen([*PRIVFED, *map(str, arguments)], stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(found: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not found():
        assert process.poll() is None, "it ended early"
        time.sleep(0.005)


def a_round_is_done(training: Path) -> Callable[[], bool]:
    """Tell whether a party's file of what is finished was written again."""
    seen: set[int] = set()

    def told() -> bool:
        seen.update(path.stat().st_ino for path in training.glob("*/finished"))
        return len(seen) > 1

    return told


def joining(place: Path, name: str, port: str) -> tuple[str | Path, ...]:
    plan = place / f"plan-{port}.toml"
    if not plan.exists():  # only the address differs, and with it the fingerprint
        plan.write_text(
            (place / "plan.toml").read_text().replace("localhost:7790", f"localhost:{port}")
        )
    return (
        "train", "join", place / f"{name}.csv", "--plan", plan, "--identity", place / name,
        "--out", place / f"{name}-{port}", "--wait", "100",
    )  # fmt: skip


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


@pytest.mark.slow
def test_two_companies_get_the_benchmarks_model(place: Path, tmp_path: Path) -> None:
    """Bit for bit, though one of them is killed in between; tables stay untouched."""
    tables = {name: (place / f"{name}.csv").read_bytes() for name in ("guest", "host")}
    port = free_port()
    guest, host = joining(place, "guest", port), joining(place, "host", port)
    plan = ("--plan", place / f"plan-{port}.toml")
    serves = ("aggregate", *plan, "--identity", place / "server")
    training = place / "host" / "training"
    with started(place / "s.log", *serves) as server, started(place / "g.log", *guest) as first:
        with started(place / "h.log", *host) as second:
            until(a_round_is_done(training), second)
            os.kill(server.pid, signal.SIGSTOP)  # so that what is sent next stays unanswered
            until(lambda: any(training.glob("*/pending")), second)
            os.kill(second.pid, signal.SIGKILL)
        os.kill(server.pid, signal.SIGCONT)
        with started(place / "h2.log", *host) as second:
            assert second.wait() == 0, (place / "h2.log").read_text()
        assert first.wait() == 0, (place / "g.log").read_text()
        assert server.wait() == 0, (place / "s.log").read_text()
    said = {
        re.search(r"weights +([0-9a-f]{64})", (place / log).read_text())
        for log in ("g.log", "h2.log")
    }
    found = {each[1] for each in said if each}
    for log in ("g.log", "h2.log"):  # what two parties are told
        assert "each can compute the other's update from the sum" in (place / log).read_text()
    settings = Settings(splits=("overlapping",), arms=("federated-he",), rounds=ROUNDS, seeds=1)
    results = run_benchmark(
        settings, load_dataset(), align=PSIAligner(), directory=tmp_path, provenance={}
    )
    assert found == {results.runs[0].weights_sha256}
    model = load_model(place / f"guest-{port}" / "model.npz")
    assert weights_sha256(model.arrays) in found
    assert tables == {name: (place / f"{name}.csv").read_bytes() for name in tables}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "method", "said"),
    [
        ("central", "central noise", "but not for the server: it is trusted"),
        ("local", "local noise, encrypted averages", "it holds against all others together"),
    ],
)
def test_two_companies_train_privately(
    place: Path, tmp_path: Path, noise: str, method: str, said: str
) -> None:
    """Over the network: what is promised is on the screen before a row is read."""
    rows = [len((place / f"{name}.csv").read_text().splitlines()) - 1 for name in ("guest", "host")]
    plan = ("--plan", tmp_path / "plan.toml")
    overlap = f"localhost:{free_port()}"
    run(
        "train", "init", *plan, "--party", f"guest={place / 'guest' / 'tls.crt'}@{overlap}",
        "--party", f"host={place / 'host' / 'tls.crt'}", "--server", place / "server" / "tls.crt",
        "--address", f"localhost:{free_port()}", "--rows", ",".join(map(str, rows)),
        "--rounds", "2", "--epsilon", "8", "--noise", noise, "--overlap", "counts", "--job", noise,
    )  # fmt: skip
    serves = ("aggregate", *plan, "--identity", place / "server")
    with ExitStack() as stack:
        server = stack.enter_context(started(tmp_path / "server.log", *serves))
        joined = {
            name: stack.enter_context(
                started(
                    tmp_path / f"{name}.log", "train", "join", place / f"{name}.csv", *plan,
                    "--identity", place / name, "--out", tmp_path / name, "--wait", "100",
                )
            )
            for name in ("guest", "host")
        }  # fmt: skip
        for name, process in joined.items():
            assert process.wait() == 0, (tmp_path / f"{name}.log").read_text()
        assert server.wait() == 0, (tmp_path / "server.log").read_text()
    found = [TrainingResults.load(tmp_path / name / RESULTS_FILE) for name in joined]
    assert found[0].weights_sha256 == found[1].weights_sha256
    for name, each in zip(joined, found, strict=True):
        assert each.method == method
        assert each.rounds_paid == 2
        assert each.overlap is not None
        assert (each.overlap.rows_taken_out, each.seen_accuracy) == (None, None)
        lines = (tmp_path / f"{name}.log").read_text()
        assert lines.index("privacy: ε = 8") < lines.index(said) < lines.index("overlap with")
        assert "what the overlap tells is outside of that ε" in lines
    trusted = "this server is trusted: it sees each party's exact sums"
    assert (trusted in (tmp_path / "server.log").read_text()) == (noise == "central")


def test_what_does_not_fit_is_said_in_a_line(place: Path) -> None:
    join = joining(place, "guest", "1")
    plan = place / "plan-1.toml"
    for arguments, said in (
        ((*join, "--model", "os:getcwd"), "the plan trains dress"),
        ((*join, "--label", "Cost"), "no column 'Cost'"),
        (("train", "serve", *join[2:]), "another one is the plan's server"),
        (("train", "show", "--plan", place / "guest.csv"), "no plan"),
        (("aggregate", "--plan", plan, "--identity", place / "nobody"), "nobody"),
    ):
        done = subprocess.run([*PRIVFED, *map(str, arguments)], capture_output=True, text=True)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr
