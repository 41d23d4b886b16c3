"""The rates of false alarms: what is counted, by real reports on small tables."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from benchmarks import false_alarms
from benchmarks.false_alarm_tables import NULLS, VERDICTS, Report, reports
from benchmarks.false_alarms import AlarmRow, PlantedRow, alarm_rows, most, planted_rows, sentences
from privfed.experiment import measures


def test_a_small_run_writes_a_row_a_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.json"
    monkeypatch.setattr(false_alarms, "PARTIES", (2,))
    monkeypatch.setattr(false_alarms, "QUICK_RUNS", 2)
    monkeypatch.setattr(false_alarms, "ALLOWED", 1.0)  # two tables tell nothing
    monkeypatch.setattr(false_alarms, "WANTED", 0.0)
    monkeypatch.setattr(
        sys, "argv", ["false_alarms", "--quick", "--jobs", "1", "--json", str(path)]
    )
    false_alarms.main()
    kept = json.loads(path.read_text("utf-8"))
    fields = ("parties", "seeds", "null", "verdict", "runs", "alarms", "rate")
    assert {tuple(row) for row in kept["rows"]} == {fields}
    found = {(row["seeds"], row["null"], row["verdict"]) for row in kept["rows"]}
    assert found == {(s, null, verdict) for s in (1, 3) for null in NULLS for verdict in VERDICTS}
    assert {row["runs"] for row in kept["rows"]} == {2}
    assert {row["verdict"] for row in kept["planted"]} == {"gain", "own gain", "loss", "cost"}
    assert "--json" not in kept["provenance"]["command"]


@pytest.mark.parametrize(
    ("kind", "verdict", "sign"),
    [("parts", "gain", 1), ("misled", "loss", -1), ("noisy", "cost", 1)],
)
def test_what_was_planted_is_there_and_found(kind: str, verdict: str, sign: int) -> None:
    for found in reports(kind, 5, 1):
        assert verdict in found.verdicts
        assert sign * found.differences[verdict] > 0.05


def test_uneven_tables_are_judged_by_auc() -> None:
    assert {each.measure for each in reports("uneven", 2, 1)} == {"AUC"}
    assert {each.measure for each in reports("even", 2, 1)} == {"accuracy"}


def test_tables_come_again_by_their_numbers() -> None:
    one, again, other = (reports("even", 2, number) for number in (3, 3, 4))
    assert one == again
    assert one[0].differences != other[0].differences


def told(*verdicts: str) -> Report:
    size = {"gain": 0.2, "own gain": 0.1, "loss": 0.2, "cost": 0.1}
    return Report(1, "accuracy", verdicts, size)


def test_alarms_and_finds_are_counted() -> None:
    found = {
        ("even", 2, 0): [told("gain"), told()],
        ("even", 2, 1): [told("gain", "cost"), told()],
        ("parts", 2, 0): [told("gain"), told("gain")],
        ("parts", 2, 1): [told(), told("gain")],
    }
    alarms = list(alarm_rows(found))
    assert AlarmRow(2, 1, "even", "gain", 2, 2, 1.0) in alarms
    assert AlarmRow(2, 1, "even", "cost", 2, 1, 0.5) in alarms
    assert AlarmRow(2, 3, "even", "gain", 2, 0, 0.0) in alarms
    planted = list(planted_rows(found))
    assert PlantedRow(2, 1, "parts", "gain", "accuracy", 0.2, 2, 1, 0.5) in planted
    said = sentences(alarms, planted)
    assert "Too many: gain on even, 2 parties, 1 seeds: 2 of 2." in said
    assert any(each.startswith("Too few: gain of 0.200 accuracy, 2 parties") for each in said)


def test_the_allowed_rate_is_that_of_the_binomial() -> None:
    # 2.5 % and 1.96 standard errors: sqrt(0.025 * 0.975 / 200) = 0.01104.
    assert most(200) == pytest.approx(0.025 + 1.96 * 0.01104, abs=1e-5)


def alarms_of_values(tables: int) -> Counter[str]:
    """How often each verdict stood on tables of numbers, by the first seed's report."""
    return Counter(
        verdict for number in range(tables) for verdict in reports("values", 2, number)[0].verdicts
    )


def test_numbers_raise_no_more_alarms_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 2.5 % each, 9 of 60 come by chance for one of ten verdicts in one of 5,000 tests."""
    assert {each.measure for each in reports("values", 2, 0)} == {"R²"}
    assert max(alarms_of_values(60).values()) < 9

    def too_sure(truth: np.ndarray, outputs: np.ndarray) -> measures.Measurement | None:
        found = right(truth, outputs)
        return found and replace(found, influence=found.influence / 4)

    right = measures._MEASURES["R²"]  # noqa: SLF001  (a planted fault)
    monkeypatch.setitem(cast("dict[str, Any]", measures._MEASURES), "R²", too_sure)  # noqa: SLF001
    assert max(alarms_of_values(20).values()) > 5
