"""What was recorded of budgets: what docs/accounting.md prints of it, and what it promises."""

import json

from benchmarks.budgets import CASES, spend, table
from privfed.table import markdown
from tests.places import ROOT

RECORDED = json.loads((ROOT / "benchmarks/results/budgets.json").read_text())["rows"]


def test_the_page_prints_what_was_recorded() -> None:
    assert markdown(table(RECORDED)) in (ROOT / "docs/accounting.md").read_text("utf-8")


def test_twenty_plans_answer_in_a_tenth_of_a_second() -> None:
    assert [row["case"] for row in RECORDED] == list(CASES)
    assert [row["plans"] for row in RECORDED] == [20, 20, 20, 20, 2]
    assert all(row["first_seconds"] < 0.1 and row["round_seconds"] < 0.02 for row in RECORDED)
    assert [row["kinds"] for row in RECORDED] == [1, 1, 4, 4, 1]


def test_two_plans_in_turn_use_up_the_budget() -> None:
    *_, recorded = RECORDED
    granted, plans, each = CASES[recorded["case"]]
    found = spend(granted, plans, each)
    assert found["rounds"] == recorded["rounds"] < each * len(plans)
    assert 0.9 * granted < found["epsilon"] <= granted
