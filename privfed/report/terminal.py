"""The table that a benchmark ends with in the terminal."""

from __future__ import annotations

from rich import table as rich_table

from privfed.experiment.results import Results
from privfed.report import gains
from privfed.report.view import View
from privfed.report.words import MISSING, duration, present, size
from privfed.rounding import outwards
from privfed.table import Table, for_terminal


def terminal_table(results: Results) -> rich_table.Table:
    """Return the most important figures, a row for each arm, in 80 columns.

    Args:
        results: What `load_results` or an experiment gives.

    Returns:
        A table for `rich.console.Console.print`; `findings` gives the words to print under it.

    Raises:
        ConfigError: The results hold an arm that they do not describe.
    """
    view = View(results)
    other_rows = gains.other_rows(view)
    seeds = max((summary.seeds for summary in results.summaries), default=0)
    rows: list[tuple[str, ...]] = []
    for split in view.splits:
        rows.append((split,))
        for line in view.lines(split):
            s = view.summary(split, line)
            spent = s.encryption_seconds_per_round
            rows.append(
                (
                    line.label,
                    _with_half(s.test_accuracy_mean, s.test_accuracy_ci95),
                    _hundredths(s.seen_accuracy),
                    _hundredths(s.unseen_accuracy),
                    _hundredths(s.unseen_majority),
                    size(s.upload_bytes_per_round) if s.upload_bytes_per_round else MISSING,
                    duration(spent) if present(spent) and spent else MISSING,
                )
            )
    return for_terminal(
        Table(("arm", "test", "seen", "unseen", "majority", "up", "encrypt"), rows),
        title=f"{view.dataset}{' (surrogate)' if view.is_surrogate else ''}, accuracies in %",
        caption=(
            f"{'±: half a 95 % interval; ' if seeds > 1 else ''}seen: test rows whose ID the arm "
            "trained on; unseen: no party did; majority: its class on the unseen; up: a round"
            f"{f'. {other_rows}' if other_rows else ''}"
        ),
    )


def _with_half(mean: float, interval: tuple[float, float] | None) -> str:
    if interval is None or not all(map(present, (mean, *interval))):
        return _hundredths(mean)
    _, half = outwards((0, (interval[1] - interval[0]) / 2), 1, percent=True)
    return f"{_hundredths(mean)} ± {half}"


def _hundredths(value: float | None) -> str:
    return f"{value * 100:.1f}" if present(value) else MISSING
