"""The recorded calibrations: what docs/accounting.md prints of them, and what they promise."""

import json
from pathlib import Path

from benchmarks.accounting import ROWS, table
from privfed.table import markdown

ROOT = Path(__file__).parents[2]
RECORDED = json.loads((ROOT / "benchmarks/results/accounting.json").read_text())["rows"]


def test_the_page_prints_what_was_recorded() -> None:
    assert markdown(table(RECORDED)) in (ROOT / "docs/accounting.md").read_text("utf-8")


def test_noise_is_within_half_a_percent_of_what_is_needed() -> None:
    asked = [(row["epsilon"], row["rate"], row["steps"], row["delta"]) for row in RECORDED]
    assert asked == [row[:4] for row in ROWS]
    assert all(0 <= row["waste_percent"] <= 0.5 for row in RECORDED)
    assert all(row["seconds"] <= 1 for row in RECORDED if row["rate"] > 1e-4)
