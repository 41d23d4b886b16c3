"""The table that a benchmark ends with in the terminal."""

from __future__ import annotations

from rich import table as rich_table

from privfed.experiment.results import Results, Summary
from privfed.report import gains
from privfed.report.level import figures, levels
from privfed.report.view import View
from privfed.report.words import MISSING, duration, in_units, measured, present, size
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
                    *_good(view, s),
                    size(s.upload_bytes_per_round) if s.upload_bytes_per_round else MISSING,
                    duration(spent) if present(spent) and spent else MISSING,
                )
            )
    usual, what = "majority", "accuracies in %"
    words = "majority: its class on the unseen"
    if view.is_of_numbers:
        usual, what = "mean", f"R² on test rows, then MAE in units of {view.label_name}"
        words = "mean: MAE of the mean of training labels on the unseen"
    return for_terminal(
        Table(("arm", "test", "seen", "unseen", usual, "up", "encrypt"), rows),
        title=f"{view.dataset}{' (surrogate)' if view.is_surrogate else ''}, {what}",
        caption=(
            f"{'±: half a 95 % interval; ' if seeds > 1 else ''}seen: test rows whose ID the arm "
            f"trained on; unseen: no party did; {words}; up: a round"
            f"{f'. {other_rows}' if other_rows else ''}"
        ),
    )


def _good(view: View, summary: Summary) -> tuple[str, ...]:
    """Return how good an arm is: on its test rows, seen and unseen, and without a look there."""
    if view.is_of_numbers:
        by, n = levels(view), figures(summary)
        return (
            _with_half(by.of(summary), by.interval(summary), percent=False),
            *(in_units(each) for each in (n.seen_mae, n.unseen_mae)),
            in_units(n.unseen_mean_mae),
        )
    return (
        _with_half(summary.test_accuracy_mean, summary.test_accuracy_ci95),
        _hundredths(summary.seen_accuracy),
        _hundredths(summary.unseen_accuracy),
        _hundredths(summary.unseen_majority),
    )


def _with_half(mean: float, interval: tuple[float, float] | None, *, percent: bool = True) -> str:
    shown = _hundredths(mean) if percent else measured("R²", mean)
    if interval is None or not all(map(present, (mean, *interval))):
        return shown
    half = (interval[1] - interval[0]) / 2
    return f"{shown} ± {outwards((0, half), 1 if percent else 3, percent=percent)[1]}"


def _hundredths(value: float | None) -> str:
    return f"{value * 100:.1f}" if present(value) else MISSING
