"""The benchmark of rounds between companies: all three ways, in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import partner


@pytest.mark.slow
def test_all_ways_run_and_have_the_bits_of_one_process(tmp_path: Path) -> None:
    asked = ["--parties", "2", "--widths", "0", "--rounds", "3", "--trainings", "1"]
    partner.main([*asked, "--json", str(tmp_path / "partner.json")])
    rows = json.loads((tmp_path / "partner.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["plain", "encrypted", "shares"]
    for row in rows:
        assert row["equal_bits"], row
        assert (row["parties"], row["params"], row["rounds"]) == (2, 5858, 3)
        assert row["round_seconds"] > row["exchange_seconds"] > 0
    plain, encrypted, _ = (row["upload_bytes"] for row in rows)
    assert plain > 4 * 5858 > encrypted  # float32 against 16 bits, packed


def test_plain_bytes_come_back_as_they_were() -> None:
    job = partner.Job(2, 0, 1, None)
    start = {name: each.detach().numpy() for name, each in job.build().named_parameters()}
    server = partner.PlainMean(start)
    for place in (1, 0):  # in any order
        carrier = partner.PlainUpdates(place, 1, start)
        server.add(carrier.pack(start, 1))
    mean = partner.PlainUpdates(0, 1, start).unpack(server.total(), 1)
    assert all((mean[name] == start[name]).all() for name in start)
