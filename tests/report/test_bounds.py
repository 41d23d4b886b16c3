"""Every spent ε that a report prints is at least what was spent, and no more than a digit above."""

from __future__ import annotations

import io
import re
from html import unescape
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from rich.console import Console

from privfed.experiment.results import Results
from privfed.report import findings, readme_table, render_html, terminal_table
from privfed.report.privacy import privacy_table
from privfed.report.view import View
from privfed.report.words import percent_range, upper
from tests.report.samples import sample

# Each of their nearest roundings to three and four digits is below them.
AWKWARD = (0.412341, 1.23449, 3.45612, 7.89141, 12.3412, 118.204, 1234.12, 8.00000001)
SPENT = ("epsilon", "epsilon_outsider", "epsilon_single_row")


def spending(*values: float) -> Results:
    """A report's results whose private arms spent these, in turn."""
    results = sample(
        arms=("federated", "federated-he-dp", "noise-shares"), splits=("disjoint",), rounds=20,
        epsilons=(1.0, 3.0, 8.0), seeds=1,
    )  # fmt: skip
    nth = 0
    runs = []
    for run in results.runs:
        if run.privacy is not None:
            spent: dict[str, Any] = {
                name: values[(nth + i) % len(values)] for i, name in enumerate(SPENT)
            }
            nth += len(SPENT)
            run = structs.replace(run, privacy=structs.replace(run.privacy, **spent))
        runs.append(run)
    return structs.replace(results, runs=runs)


def columns(results: Results) -> list[tuple[str, float]]:
    """Each printed ε of the table of terms beside the number that it stands for."""
    view = View(results)
    table = privacy_table(view, "disjoint")
    places = [table.head.index(x) for x in ("ε, worst-placed", "ε, outsider", "ε, single row")]
    lines = view.lines("disjoint", "private", "released")
    found = []
    for row, line in zip(table.rows, lines, strict=True):
        cost = view.costs("disjoint", line)[0]
        found += [(row[p], getattr(cost, name)) for p, name in zip(places, SPENT, strict=True)]
    return found


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=9))
def test_no_printed_epsilon_is_below_what_was_spent(values: list[float]) -> None:
    printed = columns(spending(*values))
    assert len(printed) == 18
    for text, value in printed:
        assert value <= float(text) < value * 1.01 + 1e-9


def test_a_whole_report_holds_no_epsilon_that_is_rounded_down() -> None:
    results = spending(*AWKWARD)
    page = unescape(render_html(results))
    words = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<script>.*?</script>", "", page, flags=re.S)
    console = Console(file=io.StringIO(), width=120)
    console.print(terminal_table(results))
    said = [f"{x.headline} {x.text}" for x in findings(results)]
    everything = "\n".join([words, readme_table(results), console.file.getvalue(), *said])  # type: ignore[attr-defined]
    numbers = set(re.findall(r"(?<![\d.])\d+(?:\.\d+)?(?![\d.])", everything))
    for value in AWKWARD[:-1]:
        rounded = {f"{value:.{digits}{kind}}" for digits in (2, 3, 4) for kind in "gf"}
        # Without a point it may be a count.
        assert numbers & {text for text in rounded if float(text) < value and "." in text} == set()
        assert upper(value) in numbers
    assert upper(8.00000001) == "8.01"
    assert "8.01" in numbers


def test_intervals_are_printed_outwards() -> None:
    assert percent_range((0.57651, 0.62449)) == "57.6 to 62.5\u00a0%"
