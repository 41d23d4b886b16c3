"""What the benchmark of embedding makes of what engines do; no engine runs here."""

import json
import subprocess
import sys
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flwr")

from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from benchmarks import embedding, embedding_command, embedding_flower, embedding_work, processes
from benchmarks.embedding_engines import METHODS, Engine, Task
from benchmarks.embedding_work import Cost, check, costs, start, step
from benchmarks.partner import Job

TASK = Task("flower-simulation", "plain", 3, 1000, 6)


def cost(seconds: float) -> Cost:
    return {"round_seconds": seconds, "upload_bytes": 8, "download_bytes": 16, "cpu_seconds": 2}


def test_a_row_has_the_median_of_seconds_over_all_runs() -> None:
    row = embedding.row(TASK, [[cost(1), cost(2)], [cost(9)]], [2.0, 4.0])
    assert (row.engine, row.method, row.clients, row.params) == (
        "flower-simulation",
        "plain",
        3,
        1000,
    )
    assert (row.round_seconds, row.upload_bytes, row.download_bytes) == (2, 8, 16)
    assert (row.cpu_seconds, row.finished, row.runs, row.load_average) == (2, True, 2, 3.0)


def test_a_run_that_failed_leaves_no_figures() -> None:
    row = embedding.row(TASK, [[cost(1)], None], [1.0, 1.0])
    assert not row.finished
    assert row.round_seconds is row.upload_bytes is row.cpu_seconds is None
    shown = embedding.table([row]).rows[0]
    assert shown[3:] == ("–", "–", "–", "–", "no")


def test_an_engine_runs_the_methods_that_it_has_and_that_are_asked_for() -> None:
    groups = list(embedding.tasks(["flower-simulation", "command"], ["plain", "privfed"], "", 9, 6))
    assert [(task.engine, task.clients, task.method) for group in groups for task in group] == [
        ("flower-simulation", 3, "plain"),
        ("flower-simulation", 3, "privfed"),
        ("flower-simulation", 10, "plain"),
        ("flower-simulation", 10, "privfed"),
        ("command", 3, "plain"),
        ("command", 3, "privfed"),
    ]
    (group,) = embedding.tasks(["nvflare"], list(METHODS["nvflare"]), "2", 9, 6)
    assert {task.clients for task in group} == {2}


@pytest.mark.parametrize("engine", METHODS)
def test_every_engine_has_plain_averaging_to_be_held_against(engine: Engine) -> None:
    assert METHODS[engine][0] == "plain"


def test_first_and_last_round_cost_nothing_in_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(embedding_work.MARK, str(tmp_path))
    used = count()
    monkeypatch.setattr(embedding_work, "cpu_seconds", lambda *_: next(used))
    meter = embedding_work.Meter()
    for size in (1000, 60, 90, 5000):
        meter.note()
        meter.down, meter.up = meter.down + size, meter.up + 2 * size
    meter.write(tmp_path / "costs.json")
    found = costs(json.loads((tmp_path / "costs.json").read_text()), 3)
    assert [(each["download_bytes"], each["upload_bytes"]) for each in found] == [
        (20, 40),
        (30, 60),
    ]
    assert all(each["cpu_seconds"] == 1 and each["round_seconds"] > 0 for each in found)


def test_clients_see_a_wrong_mean() -> None:
    clients, model = 3, start(1000)
    for rounds in range(5):
        check(model, rounds, clients)
        trained = [step(model, rounds, place, clients) for place in range(clients)]
        assert all(not np.any(one == other) for one, other in pairwise(trained))  # none is another
        for wrong in (model, trained[0], np.mean(trained[1:], axis=0)):
            with pytest.raises(ValueError, match="off by"):
                check(wrong, rounds + 1, clients)
        model = np.mean(trained, axis=0, dtype=np.float32)


def test_what_is_sent_is_as_large_as_what_its_records_hold() -> None:
    arrays = ArrayRecord({"a": Array(np.zeros(10, np.float32)), "b": Array(np.zeros(3, np.uint8))})
    config = ConfigRecord({"text": "é", "bytes": b"123", "many": [b"1", b"22"], "number": 7})
    content = RecordDict({"arrays": arrays, "config": config, "metrics": MetricRecord({"n": 1.5})})
    data = sum(len(array.data) for array in arrays.values())
    assert data > 43  # numpy writes a header
    assert embedding_flower.size_bytes(content) == data + 2 + 3 + 3 + 8 + 8


def test_rounds_of_the_command_are_those_of_all_parties(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(first: float) -> dict[str, object]:
        rounds = [
            {"round": first + at, "upload": 100, "download": 50, "cpu": 10 * first + at}
            for at in range(4)
        ]
        return {"rounds": rounds, "server_cpu": 8.0}

    monkeypatch.setattr(embedding_command, "train", lambda job, method: [told(0), told(2)])
    found = embedding_command.run(embedding_command.Adding(2, 1, 4, None), "encrypted")
    assert found == [
        {"round_seconds": at + 1, "upload_bytes": 100, "download_bytes": 50, "cpu_seconds": 4.0}
        for at in (1, 2)
    ]


def test_the_command_has_about_as_many_parameters_as_asked() -> None:
    job = embedding_command.Adding.of(3, 10_000, 6)
    assert isinstance(job, Job)
    assert sum(each.numel() for each in job.build().parameters()) == pytest.approx(10_000, rel=0.01)


CHILD = """
import signal, subprocess, sys
if sys.argv[1] == "stays":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
sum(range(10**7))
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
child.wait()
"""


@pytest.mark.parametrize("way", ["goes", "stays"])
def test_all_that_bear_a_mark_are_counted_and_ended(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if way == "stays":
        monkeypatch.setattr(processes, "END_SECONDS", 0)
    mark = ("EMBEDDING_TEST", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, way],
        env={mark[0]: mark[1]},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        below = int(process.stdout.readline())
        try:
            while set(processes.marked(*mark)) != {process.pid, below}:
                pass  # one that has just begun shows no environment yet
            assert not set(processes.marked(mark[0], "another"))
            alone = processes.cpu_seconds(mark[0], "another")  # before, as this process goes on
            assert processes.cpu_seconds(*mark) > alone
        finally:
            processes.end_marked(*mark)
        assert not set(processes.marked(*mark))
