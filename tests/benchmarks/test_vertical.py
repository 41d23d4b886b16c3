"""The benchmark of vertical learning: its job, its rows, and the table made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import readme_figures, vertical
from benchmarks.parties import interpreter
from benchmarks.vertical_job import ACROSS, tables, whitened

KEYS = {
    *("task", "tool", "rows", "columns", "iterations", "slice_of", "cpu_seconds", "bytes"),
    *("wall_seconds", "metric", "reference", "coefficient_error", "peak_rss_bytes"),
}


def measured(tmp_path: Path, *arguments: str) -> Mapping[str, Any]:
    out = tmp_path / "vertical.json"
    vertical.main([*arguments, "--json", str(out)])
    read: dict[str, Any] = json.loads(out.read_text())
    return read


def test_a_small_job_of_ours_reaches_the_exact_fit(tmp_path: Path) -> None:
    asked = ["--rows", "600", "--columns", "6", "--iterations", "20", "--tools", "privfed-glm"]
    row, predict = measured(tmp_path, *asked)["rows"]
    assert row.keys() >= KEYS
    assert (row["task"], row["tool"], row["slice_of"]) == ("glm", "privfed-glm", None)
    assert (row["rows"], row["columns"], row["iterations"]) == (600, 6, 20)
    assert row["cpu_seconds"] > 0
    assert row["bytes"] > 20 * 6 * 8192  # some ciphertexts each iteration
    assert row["coefficient_error"] < 0.01
    assert row["metric"] == pytest.approx(row["reference"], abs=1e-3)
    assert predict.keys() >= KEYS
    assert (predict["task"], predict["tool"], predict["rows"]) == ("predict", "privfed-glm", 600)
    assert 1000 < predict["bytes"] < row["bytes"]
    assert 0 < predict["cpu_seconds"] < row["cpu_seconds"]
    assert 2**26 < predict["peak_rss_bytes"] < 2**31  # what is imported is most of it
    assert predict["metric"] == pytest.approx(row["reference"], abs=0.02)  # its scores are rounded


@pytest.mark.skipif(not interpreter("spu").exists(), reason="make bench-peers")
def test_spu_trains_the_same_model(tmp_path: Path) -> None:
    asked = ["--rows", "200", "--columns", "4", "--iterations", "3", "--tools", "spu-cheetah"]
    (row,) = measured(tmp_path, *asked)["rows"]
    assert row["bytes"] > 0
    assert row["metric"] == pytest.approx(row["reference"], abs=0.05)


@pytest.mark.skipif(not interpreter("phe").exists(), reason="make bench-peers")
def test_a_slice_is_marked_and_scaled_to_the_job(tmp_path: Path) -> None:
    asked = ["--columns", "4", "--slice", "5", "--iterations", "2", "--tools", "phe", "--rows"]
    few, many = (measured(tmp_path, *asked, rows)["rows"][0] for rows in ("100", "1000"))
    for row, rows in ((few, 100), (many, 1000)):
        assert row["slice_of"] == 5
        assert row["bytes"] == 2 * (2 * rows + 4) * 512
        assert row["metric"] is row["reference"] is row["coefficient_error"] is None
    assert many["cpu_seconds"] > 3 * few["cpu_seconds"]


def test_a_peer_that_is_not_installed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.parties.PEERS", tmp_path)
    read = measured(tmp_path, "--rows", "50", "--columns", "2", "--tools", "spu-cheetah,heu-ou")
    assert read["rows"] == []
    assert read["absent"] == ["spu-cheetah", "heu-ou"]
    assert "heu-ou not installed: make bench-peers" in capsys.readouterr().out


def test_the_jobs_blocks_are_standardised_and_correlate_as_said() -> None:
    drawn = tables(20_000, 12)
    white = []
    for block in (drawn.guest, drawn.host):
        assert block.mean(0) == pytest.approx(0, abs=1e-9)
        assert block.std(0) == pytest.approx(1)
        assert np.abs(np.corrcoef(block.T) - np.eye(6)).max() > 0.1
        new, change = whitened(block)
        assert new == pytest.approx(block @ change)
        assert new.T @ new / len(new) == pytest.approx(np.eye(6), abs=1e-9)
        white.append(new)
    across = np.linalg.svd(white[0].T @ white[1] / 20_000, compute_uv=False)
    assert across == pytest.approx(ACROSS, abs=0.04)  # 0.007 is one standard deviation
    assert 0.2 < drawn.labels.mean() < 0.5
    assert (tables(20_000, 12).labels == drawn.labels).all()


def test_the_table_compares_with_ours_and_says_what_was_scaled() -> None:
    ours = {
        **{"task": "glm", "tool": "privfed-glm", "rows": 10_000, "columns": 100},
        **{"iterations": 20, "slice_of": None, "cpu_seconds": 4.0, "bytes": 2_000_000},
        **{"metric": 0.71, "reference": 0.72, "coefficient_error": 0.001},
    }
    none = {"metric": None, "reference": None, "coefficient_error": None}
    phe = ours | {"tool": "phe", "slice_of": 100, "cpu_seconds": 4800.0} | none
    predict = ours | {"task": "predict", "cpu_seconds": 0.001}
    _, _, first, second = readme_figures.vertical([predict, phe, ours]).splitlines()
    assert first == "| privfed | whole | 4.0 | 1.0x | 2 | 0.7100 | 1.0e-03 |"
    assert second == "| phe | scaled from 100 rows | 4,800.0 | 1,200.0x | 2 | – | – |"
