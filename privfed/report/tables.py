"""The report's tables as plain cells, for the page, the terminal and the README alike."""

from __future__ import annotations

from privfed.report import gains
from privfed.report.level import figures, levels
from privfed.report.paper import PAPER, PaperArm
from privfed.report.pictures import paper_lines
from privfed.report.view import ROLES, Line, View
from privfed.report.words import (
    MISSING,
    decimal,
    duration,
    gap_range,
    in_units,
    measured,
    percent,
    percent_range,
    present,
    size,
    span,
)
from privfed.table import Table


def summary_table(view: View, split: str) -> Table:
    """Return the most important figures of one split, one row for each arm."""
    if view.is_of_numbers:
        return _number_table(view, split)
    rows = []
    for line in view.lines(split, *ROLES):
        s = view.summary(split, line)
        rows.append(
            (
                line.label,
                percent(s.test_accuracy_mean),
                percent_range(s.test_accuracy_ci95),
                decimal(s.test_auc_mean),
                percent(s.majority_accuracy),
                percent(s.seen_accuracy),
                percent(s.unseen_accuracy),
                f"{s.unseen_n}" if s.unseen_n else MISSING,
                percent(s.unseen_majority),
                _bytes(s.upload_bytes_per_round),
                duration(s.encryption_seconds_per_round or None),
            )
        )
    head = (
        "Arm", "Test accuracy", "95 %", "AUC", "Majority", "Seen", "Unseen", "n",
        "Majority, unseen", "Up a round", "Encryption a round",
    )  # fmt: skip
    return Table(head, tuple(rows))


def _number_table(view: View, split: str) -> Table:
    """Return the same of a label that is a number; all but R² in its units."""
    rows, by = [], levels(view)
    for line in view.lines(split, *ROLES):
        s = view.summary(split, line)
        n = figures(s)
        rows.append(
            (
                line.label,
                by.shown(by.of(s)),
                by.shown_range(by.interval(s)),
                in_units(n.test_mae_mean),
                in_units(n.mean_mae),
                in_units(n.seen_mae),
                in_units(n.unseen_mae),
                f"{s.unseen_n}" if s.unseen_n else MISSING,
                in_units(n.unseen_mean_mae),
                _bytes(s.upload_bytes_per_round),
                duration(s.encryption_seconds_per_round or None),
            )
        )
    head = (
        "Arm", "Test R²", "95 %", "MAE", "MAE of the mean", "MAE, seen", "MAE, unseen", "n",
        "MAE of the mean, unseen", "Up a round", "Encryption a round",
    )  # fmt: skip
    return Table(head, tuple(rows))


def paired_table(view: View, split: str) -> Table | None:
    """Return all measures of each arm on the same rows, and what federated learning has over it.

    Args:
        view: The results.
        split: The split.

    Returns:
        One row for each arm, reference and what takes no look at a row; None in older files.
    """
    federated, by = view.federated(split), levels(view)
    found = [c for c in view.results.comparisons if (c.split, c.rows) == (split, "all")]
    values: dict[tuple[str, float | None], dict[str, float]] = {}
    for c in found:
        if c.beside == by.beside:
            values.setdefault((c.arm, c.epsilon), {})[c.measure] = c.value
            values.setdefault((by.beside, None), {})[c.measure] = c.beside_value
    labels = {(line.arm, line.epsilon): line.label for line in view.lines(split, *ROLES)}
    between = {
        (c.beside, c.beside_epsilon): gap_range(c.measure, c.ci95)
        for c in found
        if federated and c.arm == federated.arm and c.measure == view.measure
    }
    rows = [
        (
            labels.get(key, by.usual if key[0] == by.beside else key[0]),
            *(measured(each, own.get(each)) for each in view.results.measures),
            between.get(key, MISSING),
        )
        for key, own in sorted(values.items(), key=lambda item: item[0][0] == by.beside)
    ]
    if not rows:
        return None
    head = (*view.results.measures, f"federated minus it, {view.measure}, 95 %")
    return Table(("Arm", *(name[0].upper() + name[1:] for name in head)), tuple(rows))


def own_table(view: View, split: str) -> Table | None:
    """Return what each party gains on its own test rows, by the measure of the verdicts.

    Args:
        view: The results.
        split: The split.

    Returns:
        One row for each party that trained alone; None where that is not compared.
    """
    found = gains.own_gains(view, split)
    rows = [
        (
            each.other.arm,
            f"{each.comparison.test_rows}",
            measured(each.comparison.measure, each.comparison.value),
            measured(each.comparison.measure, each.comparison.beside_value),
            gap_range(each.comparison.measure, each.interval),
        )
        for each in found
    ]
    head = ("Party", "Test rows", "Together", "Alone", f"Difference of {view.measure}, all at once")
    return Table(head, tuple(rows)) if rows else None


def _bytes(value: float) -> str:
    return size(value) if value else MISSING


def paper_table(view: View, split: str) -> Table:
    """Return tables 2 to 5 of the paper, each arm's row under ours; fractions, as printed there."""
    rows: list[tuple[str, ...]] = []
    for name, line in paper_lines(view, split):
        s, theirs = view.summary(split, line), PAPER[name]
        ours = PaperArm(
            theirs.table,
            s.train_loss_first_mean,
            s.train_loss_last_mean,
            s.train_accuracy_first_mean,
            s.train_accuracy_last_mean,
            s.test_loss_last_mean,
            s.test_accuracy_mean,
        )
        rows += [_paper_row("this run", ours), _paper_row("paper", theirs)]
    head = ("Learning", "Whose", "Training loss", "Training accuracy", "Test loss", "Test accuracy")
    return Table(head, tuple(rows), words=2)


def _paper_row(whose: str, arm: PaperArm) -> tuple[str, ...]:
    def way(first: float, last: float) -> str:
        return f"{decimal(first, 4)} → {decimal(last, 4)}"

    return (
        arm.table.capitalize(),
        whose,
        way(arm.train_loss_first, arm.train_loss_last),
        way(arm.train_accuracy_first, arm.train_accuracy_last),
        decimal(arm.test_loss, 4),
        decimal(arm.test_accuracy, 4),
    )


def split_table(view: View) -> Table:
    """Return test accuracies, or MAE, also on unseen rows: a row per arm, two columns per split."""
    lines: list[Line] = list(dict.fromkeys(x for split in view.splits for x in view.lines(split)))
    rows = []
    for line in lines:
        cells = [line.label]
        for split in view.splits:
            if line in view.lines(split):
                s = view.summary(split, line)
                if view.is_of_numbers:
                    n = figures(s)
                    cells += [in_units(n.test_mae_mean), in_units(n.unseen_mae)]
                else:
                    cells += [percent(s.test_accuracy_mean), percent(s.unseen_accuracy)]
            else:
                cells += [MISSING, MISSING]
        rows.append(tuple(cells))
    head = ["Arm"]
    for split in view.splits:
        head += [split.capitalize(), "unseen"]
    return Table(tuple(head), tuple(rows))


def overlap_table(view: View) -> Table:
    """Return what private set intersection found, a row for each split, ranges over the seeds."""
    rows = []
    for split in dict.fromkeys(overlap.split for overlap in view.results.overlaps):
        found = [overlap for overlap in view.results.overlaps if overlap.split == split]
        sizes = [
            span([o.party_rows[i] for o in found if i < len(o.party_rows)])
            for i in range(max(len(o.party_rows) for o in found))
        ]
        rows.append(
            (
                split.capitalize(),
                ", ".join(dict.fromkeys(o.protocol for o in found)),
                str(len({o.seed for o in found})),
                " + ".join(sizes),
                span([o.shared_ids for o in found]),
                span([o.unseen_test_ids for o in found]),
                size(max(o.psi_bytes for o in found)),
                duration(max(o.psi_seconds for o in found)),
            )
        )
    head = (
        "Split", "Protocol", "Seeds", "Rows of the parties", f"Shared {view.id_name}s",
        f"Unseen test {view.id_name}s", "Bytes sent", "Time",
    )  # fmt: skip
    return Table(head, tuple(rows), words=2)


def runs_table(view: View, split: str) -> Table:
    """Return every run of a split, seed by seed."""
    rows = []
    for line in view.lines(split, *ROLES):
        for run in view.runs(split, line):
            n = run.number
            good = (
                (percent(run.test_accuracy), percent(run.seen_accuracy),
                 percent(run.unseen_accuracy))
                if n is None
                else (measured("R²", n.test_r2), in_units(n.seen_mae), in_units(n.unseen_mae))
            )  # fmt: skip
            rows.append(
                (
                    line.label,
                    str(run.seed),
                    str(run.rounds),
                    f"{run.train_rows} / {run.test_rows}",
                    decimal(run.train_loss_last),
                    decimal(run.test_loss_last),
                    *good,
                    duration(run.wall_seconds) if present(run.wall_seconds) else MISSING,
                    run.weights_sha256[:12],
                )
            )
    head = (
        "Arm", "Seed", "Rounds", "Rows, train / test", "Training loss", "Test loss",
        *(("Test R²", "MAE, seen", "MAE, unseen") if view.is_of_numbers
          else ("Test accuracy", "Seen", "Unseen")),
        "Time", "SHA-256 of the weights",
    )  # fmt: skip
    return Table(head, tuple(rows))
