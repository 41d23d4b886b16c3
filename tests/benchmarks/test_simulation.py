"""What a simulated round costs: the rows that are written, and what is in them."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import simulation
from privfed.secagg.simulation import AHEAD


def test_a_small_run_writes_a_row_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.json"
    asked = ["--parties", "2,5", "--repeats", "2", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["simulation", *asked])
    simulation.main()
    rows = json.loads(path.read_text())["rows"]
    assert [row.keys() for row in rows] == 2 * [{"parties", "seconds_per_round", "decrypt_share"}]
    assert [row["parties"] for row in rows] == [2, 5]
    for row in rows:
        assert row["seconds_per_round"] > 0
        assert 0 < row["decrypt_share"] < 1


def test_a_training_on_digits_tells_what_is_outside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.json"
    asked = ["--digits", "--parties", "3", "--repeats", "3", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["simulation", *asked])
    simulation.main()
    (row,) = json.loads(path.read_text())["rows"]
    assert (row["parties"], row["values"]) == (3, 12778)
    assert 0.7 * 1797 < row["rows"] < 0.9 * 1797
    assert 0 < row["outside_share"] < 1
    assert sum(row["phases"].values()) > 0
    assert {"prepare", "encrypt", "aggregate", "decrypt"} <= row["phases"].keys()


def test_all_phases_count_and_work_ahead_for_decryption_is_decryption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spent = {"prepare": 4, "announce": 1, "expect": 2, "encrypt": 3, "aggregate": 7, "decrypt": 3}

    class Round:
        def __init__(self, parties: int) -> None:
            self._parties = parties

        def run(self) -> dict[str, int]:
            return {phase: self._parties * seconds for phase, seconds in spent.items()}

    monkeypatch.setattr(simulation, "Job", Round)
    one, two = simulation.measure([1, 2], 3, say=lambda _: None)
    assert (one.seconds_per_round, two.seconds_per_round) == (20, 40)
    assert one.decrypt_share == two.decrypt_share == pytest.approx(0.25)


def test_masks_are_those_of_the_defaults() -> None:
    for parties, masks in ((2, False), (3, True)):
        job = simulation.Job(parties)
        assert job.simulation.params.masks == masks
        assert job.simulation.params.layout.size == 5858
        assert set(job.run()) == {*AHEAD, "encrypt", "aggregate", "decrypt"}
