"""The benchmark of boosted trees: its rows, what it holds to plain integers, and its tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import readme_figures, vertical
from benchmarks.parties import interpreter
from benchmarks.vertical_common import Job, Row
from benchmarks.vertical_job import BINS, tables, wide_tables
from benchmarks.vertical_trees import are_exact
from benchmarks.vertical_trees_ours import histogram, parties
from benchmarks.vertical_trees_quality import ENVIRONMENT, Held, judged, quality

pytest.importorskip("grpc")

SMALL = Job(rows=240, columns=4, iterations=1)
PEERS = {"phe": "phe", "heu-ou": "heu"}


def measured(tmp_path: Path, *arguments: str) -> list[dict[str, Any]]:
    out = tmp_path / "vertical.json"
    vertical.main([*arguments, "--json", str(out)])
    rows: list[dict[str, Any]] = json.loads(out.read_text())["rows"]
    return rows


@pytest.mark.slow
def test_a_histogram_and_a_tree_of_ours_are_exact(tmp_path: Path) -> None:
    asked = ["--rows", "240", "--columns", "4", "--tools", "privfed-trees", "--data", ""]
    one, tree = measured(tmp_path, *asked)
    assert (one["task"], one["rows"], one["columns"]) == ("histogram", 240, 2)
    assert (tree["task"], tree["rows"], tree["columns"], tree["iterations"]) == ("tree", 240, 4, 4)
    for row in (one, tree):
        assert (row["tool"], row["slice_of"], row["exact"]) == ("privfed-trees", None, True)
        assert row["cpu_seconds"] > 0
        assert 2**26 < row["peak_rss_bytes"] < 2**31
        assert row["metric"] is row["reference"] is row["seeds"] is None
    assert 1000 < one["bytes"] < tree["bytes"]


@pytest.mark.parametrize("tool", PEERS)
def test_a_peers_slice_is_exact_and_scaled(tmp_path: Path, tool: str) -> None:
    if not interpreter(PEERS[tool]).exists():
        pytest.skip("make bench-peers")
    asked = ["--rows", "1000", "--columns", "4", "--slice", "5", "--tools", tool]
    _, one, tree = measured(tmp_path, *asked)
    assert (one["task"], tree["task"]) == ("histogram", "tree")
    assert one["exact"] is tree["exact"] is True
    assert one["slice_of"] == tree["slice_of"] == 5
    # All rows go there once; of eight histograms each column's bins come back.
    ratio = (1000 + 8 * 2 * BINS) / (1000 + 2 * BINS)
    assert tree["bytes"] / one["bytes"] == pytest.approx(ratio, rel=1e-4)
    assert one["cpu_seconds"] < tree["cpu_seconds"] < 8 * one["cpu_seconds"]


@pytest.mark.parametrize("off", [0, 1])
def test_a_sum_that_is_off_by_one_is_seen(tmp_path: Path, off: int) -> None:
    host = parties(tables(SMALL.rows, SMALL.columns))[1]
    rng = np.random.default_rng(0)
    asked = rng.integers(-15, 16, (3, SMALL.rows))
    sums = host.splits.subsets(host.codes).sums(asked).astype(np.uint64)
    ours = rng.integers(0, 2**63, sums.shape, dtype=np.uint64)
    theirs = sums - ours
    theirs[2, 1] += np.uint64(off)
    for name, kept in (("00", asked), ("01", ours), ("10", theirs)):
        np.save(tmp_path / f"kept{name}.npy", kept)
    assert are_exact(SMALL, tmp_path) is not bool(off)


def test_a_histogram_costs_what_its_messages_measure() -> None:
    few, many = histogram(300, 1), histogram(300, 20)
    assert few["exact"]
    assert many["exact"]
    assert 1000 < few["bytes"] < many["bytes"]


def test_quality_is_that_of_rows_held_out(tmp_path: Path) -> None:
    found = quality("job", SMALL, 2, tmp_path, trees=2)
    assert (found.data, found.seeds, found.columns) == ("job", 2, SMALL.columns)
    assert found.rows == SMALL.rows
    assert found.cpu_seconds > 0
    assert found.bytes > 10_000
    assert found.metric is not None
    assert found.metric_interval is not None
    assert found.metric_interval[0] < found.metric < found.metric_interval[1]
    there = interpreter(ENVIRONMENT).exists()
    assert (found.reference is not None) == (found.alone is not None) == there
    assert (found.gain_interval is not None) == there


def test_a_large_job_is_not_trained_for_each_seed(tmp_path: Path) -> None:
    row = Row("tree", "privfed-trees", 20_001, 4, 4, None, 1.0, 1, 1.0, data="job")
    assert judged(row, Job(20_001, 4, 1), ["job"], 2, tmp_path) == [row]


def test_both_sides_of_a_pair_hold_out_the_same_rows() -> None:
    one, other = (Held.of_pair("breast-cancer", seed) for seed in (0, 1))
    assert one.tests == 569 * 3 // 10
    assert [codes.shape for _, codes in (one.guest, one.host)] == [(10, 569), (20, 569)]
    assert [matrix.shape for matrix in one.matrices] == [(569, 10), (569, 20)]
    assert one.labels.sum() == other.labels.sum()
    assert (one.labels != other.labels).any()
    # Bins follow the numbers that XGBoost reads, row by row.
    for (_, codes), matrix in zip((one.guest, one.host), one.matrices, strict=True):
        order = np.argsort(matrix[:, 0], kind="stable")
        assert (np.diff(codes[0][order].astype(int)) >= 0).all()


def test_a_wide_tables_labels_are_more_than_linear() -> None:
    drawn, plain = wide_tables(2000, 10, 3), tables(2000, 10, 3)
    assert (drawn.guest == plain.guest).all()
    assert (wide_tables(2000, 10, 3).labels == drawn.labels).all()
    assert 0.2 < drawn.labels.mean() < 0.6
    assert 0.1 < (drawn.labels != plain.labels).mean() < 0.6


def test_tables_compare_with_ours_and_with_xgboost() -> None:
    ours = {
        **{"task": "tree", "tool": "privfed-trees", "rows": 10_000, "columns": 100, "data": "job"},
        **{"slice_of": None, "cpu_seconds": 2.0, "bytes": 2_000_000, "exact": True, "seeds": 6},
        **{"metric": 0.75, "metric_interval": [0.74, 0.76], "reference": 0.752},
        **{"reference_interval": [0.74, 0.764], "alone": 0.7, "alone_interval": [0.69, 0.71]},
        **{"gain_interval": [0.04, 0.06]},
    }
    one = ours | {"task": "histogram", "cpu_seconds": 0.1, "seeds": None}
    phe = one | {"tool": "phe", "slice_of": 100, "cpu_seconds": 80.0}
    wide = ours | {"data": "wide", "rows": 4000}
    glm = ours | {"task": "glm", "tool": "privfed-glm", "data": None, "seeds": None}
    rows = [glm, phe, ours, one, wide]
    head, _, *costs = readme_figures.trees(rows).splitlines()
    assert head.startswith("| 10,000 rows, 50+50 columns | by |")
    assert costs == [
        "| one histogram | privfed | whole | 0.10 | 1.0x | 2.0 | yes |",
        "| one histogram | phe | scaled from 100 rows | 80.00 | 800.0x | 2.0 | yes |",
        "| one tree | privfed | whole | 2.00 | 1.0x | 2.0 | yes |",
    ]
    _, _, first, second = readme_figures.tree_quality(rows).splitlines()
    assert first.startswith("| wide, made up | 4,000 × 100 | 6 | 0.7000 (0.6900 to 0.7100) |")
    assert second.endswith("| −0.002 | +0.040 to +0.060 |")
