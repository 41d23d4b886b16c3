"""The benchmark runs, holds results to Python sets, and writes the keys that readers rely on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

for needed in ("matplotlib", "grpc", "numba"):
    pytest.importorskip(needed)

KEYS = {
    *("tool", "log2_size", "cpu_seconds_per_party", "startup_cpu_seconds", "wall_seconds"),
    *("bytes_per_item", "peak_rss_bytes", "correct"),
}


def test_a_small_run(tmp_path: Path) -> None:
    out, plot = tmp_path / "psi.json", tmp_path / "psi.png"
    call = [sys.executable, "-m", "benchmarks.psi", "--sizes", "6", "--json", str(out)]
    call += ["--tools", "psi-ecdh,psi-vole", "--plot", str(plot)]
    lines = tmp_path / "lines.png"
    call += ["--plot-lines", str(lines)]
    subprocess.run(call, check=True, capture_output=True)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert lines.read_bytes().startswith(b"\x89PNG")
    written = json.loads(out.read_text())
    assert written["cold"]["ids"] == 500
    assert written["cold"]["correct"] is True
    assert written["cold"]["compiled_code_loaded"] is False
    assert written["cold"]["cpu_seconds"] > 0
    rows = written["rows"]
    assert [row["tool"] for row in rows] == ["psi-ecdh", "psi-vole"]
    for row in rows:
        assert row.keys() >= KEYS
        assert row["correct"] is True
        assert row["bytes_per_item"] > 64
        assert row["log2_size"] == 6
    # Another size of one tool joins what is there.
    again = [sys.executable, "-m", "benchmarks.psi", "--sizes", "5", "--json", str(out), "--add"]
    subprocess.run([*again, "--tools", "psi-ecdh"], check=True, capture_output=True)
    rows = json.loads(out.read_text())["rows"]
    found = [(row["tool"], row["log2_size"]) for row in rows]
    assert found == [("psi-ecdh", 5), ("psi-ecdh", 6), ("psi-vole", 6)]
