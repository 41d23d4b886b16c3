"""What a benchmark is about to do, and what it will take, as a table and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table as RichTable

from privfed.report.words import count, duration, listing, size
from privfed.rounding import as_given
from privfed.table import Table, for_terminal

if TYPE_CHECKING:
    from privfed.experiment import Forecast, Settings
    from privfed.experiment.forecast import ArmForecast

_ABOUT = "\N{ALMOST EQUAL TO} "


def plan_table(settings: Settings, expected: Forecast, data: str) -> RichTable:
    """Return the plan: a row an arm, with its rounds, its runs and their time."""
    rows = [_row(each) for each in expected.arms]
    head = ("arm", "rounds", "runs", "a run", "together")
    return for_terminal(Table(head, rows), title=f"Plan, {data}: {_what(settings, expected)}")


def _what(settings: Settings, expected: Forecast) -> str:
    splits, arms = list(settings.splits), len(expected.arms)
    private = any(each.arm.private for each in expected.arms)
    parts = [
        count(arms, "arm"),
        f"{count(len(splits), 'split')} ({', '.join(splits)})",
        count(settings.seeds, "seed"),
    ]
    at = f", private arms at ε = {', '.join(map(as_given, settings.epsilons))}" if private else ""
    return f"{' × '.join(parts)}{at}"


def _row(each: ArmForecast) -> list[str]:
    left = each.runs - each.kept
    runs = str(each.runs) if left == each.runs else f"{left} of {each.runs}"
    if not left:
        return [each.arm.label, f"{each.rounds:,}", "0, all kept", "–", "–"]
    times = (each.seconds / left, each.seconds)
    return [each.arm.label, f"{each.rounds:,}", runs, *(_ABOUT + duration(s) for s in times)]


def plan_words(parts: Sequence[Forecast]) -> str:
    """Return what all of it will take, that this is an estimate, and what it rests on."""
    from privfed.experiment.forecast import MEASURED_ROUNDS, MEASURED_ROWS

    arms = [arm for expected in parts for arm in expected.arms]
    runs = sum(arm.runs for arm in arms)
    left = sum(arm.runs - arm.kept for arm in arms)
    if not left:
        return f"All {count(runs, 'run')} had finished here before and are kept.\n"
    kept = f", {runs - left} are kept from before" if left < runs else ""
    workers = parts[0].workers
    in_many = f" in {workers} processes" if workers > 1 else ""
    needs = [f"about {duration(sum(expected.seconds for expected in parts))}"]
    memory = [each.memory_bytes for each in parts if each.memory_bytes is not None]
    if memory:
        needs.append(f"about {size(max(memory))} of memory")
    return (
        f"To run: {count(left, 'run')}{in_many}{kept}; {listing(needs)}. That is an estimate: "
        f"{MEASURED_ROUNDS} rounds of each kind of arm, measured here and now on made-up rows of "
        f"this width, at most {MEASURED_ROWS} a party, then on half of them; a line through both; "
        "and how busy this machine was.\n"
    )
