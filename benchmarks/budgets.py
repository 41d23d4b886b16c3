"""What it costs to ask a privacy budget that several plans have spent from.

Run: python -m benchmarks.budgets --json FILE

Twenty plans have spent three rounds each, and ε of all together is asked for the first time: no
distribution is known yet. Two plans in turn use up a tight budget. Cases run one after another in
every repetition, so that a busy machine slows all of them; times are CPU seconds, and a figure is
the median over repetitions.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rows import print_table, write
from privfed.dp import PrivacyBudget, PrivacyPlan, envelope, losses
from privfed.errors import BudgetExceededError
from privfed.rounding import at_most
from privfed.table import Table

DELTA, UNIT = 1e-5, "one row"
FOUR = (0.05, 0.1, 0.2, 0.6)


@dataclass(frozen=True)
class Row:
    """One case.

    Attributes:
        case: What its plans are.
        plans: How many.
        kinds: How many kinds of units may lose the most, in each plan.
        rounds: How many were paid for.
        epsilon: What they spend together.
        first_seconds: CPU of asking for that ε when nothing is known.
        round_seconds: CPU of paying for a round once all plans have one; the median.
        slowest_seconds: The most that any round took, with all that it was the first to need.
    """

    case: str
    plans: int
    kinds: int
    rounds: int
    epsilon: float
    first_seconds: float
    round_seconds: float
    slowest_seconds: float


def plan(noise_multiplier: float, rates: Sequence[float], steps: Sequence[int]) -> PrivacyPlan:
    """Return a plan of local noise whose units have one row, at one party or another."""
    parties = range(len(rates))
    return PrivacyPlan(
        noise="local",
        rows=(1000,) * len(rates),
        sampling_rates=tuple(rates),
        rounds=200,
        steps_per_round=tuple(steps),
        l2_clip_norm=1.0,
        noise_multiplier=noise_multiplier,
        delta=DELTA,
        privacy_unit=UNIT,
        placements=tuple(tuple(int(p == q) for q in parties) for p in parties),
        quorum=len(rates),
        dimension=650,
    )


def twenty(make: Callable[[float], PrivacyPlan]) -> tuple[float, list[PrivacyPlan], int]:
    """Return a wide budget, plans with ever more noise, and how often each is paid for."""
    return 100.0, [make(number / 10) for number in range(20)], 3


CASES: dict[str, tuple[float, list[PrivacyPlan], int]] = {
    "one kind": twenty(lambda more: plan(4 + more, [0.2], [1])),
    "one kind, rarely, little noise": twenty(lambda more: plan(1 + more, [0.02], [1])),
    "four kinds, a few steps a round": twenty(lambda more: plan(8 + more, FOUR, [8, 4, 2, 1])),
    "four kinds, many steps a round": twenty(lambda more: plan(8 + more, FOUR, [60, 30, 10, 2])),
    "until the budget is spent": (
        1.0,
        [plan(4.0, [0.2], [1]), plan(3.0, [0.1], [1])],
        200,
    ),
}  # ε, the plans, rounds of each


def forget() -> None:
    """Forget all distributions, as a new process would."""
    losses.step_losses.cache_clear()
    envelope.dominating.cache_clear()


def spend(epsilon: float, plans: Sequence[PrivacyPlan], each: int) -> dict[str, Any]:
    """Pay for rounds of the plans in turn, then ask what is spent."""
    forget()
    budget, times = PrivacyBudget(epsilon, DELTA, privacy_unit=UNIT), []
    try:
        for turn in list(plans) * each:
            start = time.process_time()
            budget.spend_round(turn)
            times.append(time.process_time() - start)
    except BudgetExceededError:
        pass
    forget()
    start = time.process_time()
    spent = budget.spent_epsilon
    return {
        "first_seconds": time.process_time() - start,
        "round_seconds": median(times[len(plans) :]),
        "slowest_seconds": max(times),
        "rounds": len(times),
        "epsilon": spent,
    }


def measure(repeats: int) -> list[Row]:
    """Return a row for each case."""
    found: dict[str, list[dict[str, Any]]] = {case: [] for case in CASES}
    for _ in range(repeats):
        for case, given in CASES.items():
            found[case].append(spend(*given))
    return [
        Row(
            case=case,
            plans=len(plans),
            kinds=max(len(each.round_kinds) for each in plans),
            rounds=found[case][0]["rounds"],
            epsilon=found[case][0]["epsilon"],
            **{
                name: round(median(each[name] for each in found[case]), 5)
                for name in ("first_seconds", "round_seconds", "slowest_seconds")
            },
        )
        for case, (_, plans, _) in CASES.items()
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the rows as docs/accounting.md has them."""
    head = (
        "plans",
        "each with",
        "rounds",
        "ε",
        "ε asked first, ms",
        "a round, ms",
        "the slowest, ms",
    )
    cells = [
        (
            str(row["plans"]),
            str(row["case"]),
            str(row["rounds"]),
            at_most(row["epsilon"]),
            f"{1e3 * row['first_seconds']:.0f}",
            f"{1e3 * row['round_seconds']:.1f}",
            f"{1e3 * row['slowest_seconds']:.0f}",
        )
        for row in rows
    ]
    return Table(head, cells, words=2)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = measure(asked.repeats)
    print_table(table([vars(row) for row in rows]))
    if asked.json:
        write(asked.json, rows, ("privfed", "numpy", "scipy"))


if __name__ == "__main__":
    main()
