"""An audit as one self-contained audit.html, and as tables for the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from privfed.audit import AuditResults, Checked
from privfed.audit.membership import FALSE_POSITIVE_RATES
from privfed.report import audit_pictures, page, words
from privfed.report.html import AUDIT_PAGE
from privfed.report.tables import Table as Cells
from privfed.rounding import at_least, outwards


def render_audit(results: AuditResults) -> str:
    """Draw an audit's page; the same results give the same text."""
    return page.render(
        "audit.html.j2",
        results=results,
        pictures=audit_pictures,
        words=words,
        attacks=Cells(
            audit_pictures.ATTACKS,
            tuple(audit_pictures.attack_rows(results)),
            2,
        ),
        membership=_membership(results),
        checks=_checks(results),
        checked=_checked(results),
        bounds=_bounds(results),
        provenance=results.provenance,
    )


def write_audit(results: AuditResults, directory: Path) -> Path:
    """Write audit.html into an existing folder and give its path; only its owner may read it.

    Raises:
        ConfigError: If the file cannot be written.
    """
    return page.write(render_audit(results), directory / AUDIT_PAGE, mode=0o600)


def audit_tables(results: AuditResults) -> Group:
    """Return the audit for the terminal, in 80 columns: verdicts, onlookers, flags."""
    verdicts = Table(title="What must hold", title_justify="left", show_header=False)
    for verdict in results.verdicts:
        sign = "[green]holds[/]" if verdict.held else "[bold red]FAILS[/]"
        verdicts.add_row(sign, f"[bold]{escape(verdict.name)}[/]\n{escape(verdict.words)}")
    seen = Table(title="What each onlooker got of lone rows", title_justify="left")
    for name in ("onlooker", "recovered", "picked out"):
        seen.add_column(name, justify="left" if name == "onlooker" else "right")
    for attack in results.attacks:
        if attack.batch_size == 1 and attack.encoding == results.attacks[0].encoding:
            seen.add_row(
                escape(attack.onlooker),
                f"{attack.recovered} of {attack.rows}",
                f"{attack.identified}",
            )
    members = Table(title="Who was a member (LiRA)", title_justify="left")
    for name in ("trained", "AUC, 95 %", "found at 1 % accused, 95 %"):
        members.add_column(name, justify="left" if name == "trained" else "right")
    for each in results.membership:
        members.add_row(
            escape(each.trained),
            _with_interval(each.auc, each.auc_interval),
            _with_interval(each.true_positive_rates[1], each.true_positive_intervals[1]),
        )
    return Group(verdicts, seen, members, _flags(results))


def _flags(results: AuditResults) -> Table:
    names, rows = audit_pictures.flags(results)
    table = Table(
        title="Runs flagged, by what was planted",
        caption="bold: the check meant for the fault",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("planted")
    for name in names:
        table.add_column(name, justify="right")
    for planted, cells in rows:
        table.add_row(
            escape(planted), *(f"[bold]{text}[/]" if kind else text for text, kind in cells)
        )
    return table


def _membership(results: AuditResults) -> Cells:
    head = ["Trained", "Right: members, others", "AUC (95 %)"]
    head += [f"Found at {rate:.1%} accused (95 %)" for rate in FALSE_POSITIVE_RATES]
    rows = [
        (
            each.trained,
            f"{words.percent(each.right_members)}, {words.percent(each.right_others)}",
            _with_interval(each.auc, each.auc_interval),
            *(
                _with_interval(rate, interval)
                for rate, interval in zip(
                    each.true_positive_rates, each.true_positive_intervals, strict=True
                )
            ),
        )
        for each in results.membership
    ]
    return Cells(tuple(head), tuple(rows))


def _checks(results: AuditResults) -> Cells:
    rows = tuple((c.name, c.statistic, c.threshold, c.blind) for c in results.checks)
    return Cells(("Check", "Measures", "Flags", "Cannot see"), rows, 4)


def _checked(results: AuditResults) -> Cells:
    rows = [
        (check.name, *(_measured(checked[check.name]) for checked in results.checked.values()))
        for check in results.checks
    ]
    return Cells(("Check", *(f"{noise} noise" for noise in results.checked)), tuple(rows))


def _measured(checked: Checked) -> str:
    flag = ", flagged" if checked.flagged else ""
    return f"{checked.statistic:.3g} (p = {words.compact(checked.p_value)}{flag})"


def _bounds(results: AuditResults) -> Cells:
    rows = [
        (
            audit_pictures.in_words(name),
            f"{bound.correct} of {bound.guesses}",
            at_least(bound.epsilon),
            at_least(bound.epsilon_second_way),
            at_least(bound.ceiling),
            words.compact(bound.p_value),
        )
        for name, bound in results.bounds.items()
    ]
    head = ("Planted", "Right guesses", "ε at least", "Second way", "Ceiling", "p of the claim")
    return Cells(head, tuple(rows))


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    low, high = outwards(interval, 3)
    return f"{value:.3f} ({low}–{high})"
