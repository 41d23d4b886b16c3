"""An audit as one self-contained audit.html, and as tables for the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group

from privfed.audit import AuditResults, Checked
from privfed.audit.membership import FALSE_POSITIVE_RATES
from privfed.report import audit_pictures, page, words
from privfed.report.html import AUDIT_PAGE
from privfed.rounding import at_least, outwards
from privfed.table import Marked, Table, for_terminal


def render_audit(results: AuditResults) -> str:
    """Draw an audit's page; the same results give the same text."""
    return page.render(
        "audit.html.j2",
        results=results,
        pictures=audit_pictures,
        words=words,
        beside=_beside(results),
        attacks=_attacks(results),
        membership=_membership(results),
        checks=_checks(results),
        checked=_checked(results),
        bounds=_bounds(results),
        flags=_flags(results),
        provenance=results.provenance,
    )


def write_audit(results: AuditResults, directory: Path) -> Path:
    """Write audit.html, which only its owner may read, into an existing folder.

    Returns:
        The file's path.

    Raises:
        ConfigError: The file cannot be written.
    """
    return page.write(render_audit(results), directory / AUDIT_PAGE, mode=0o600)


def audit_tables(results: AuditResults) -> Group:
    """Return the audit for the terminal, in 80 columns: verdicts, onlookers, flags."""
    verdicts = [
        (
            Marked("holds", "holds") if verdict.held else Marked("FAILS", "fails"),
            Marked(verdict.name, "meant"),
            verdict.words,
        )
        for verdict in results.verdicts
    ]
    seen = [
        (attack.onlooker, f"{attack.recovered} of {attack.rows}", f"{attack.identified}")
        for attack in results.attacks
        if attack.batch_size == 1 and attack.encoding == results.attacks[0].encoding
    ]
    members = [
        (
            each.trained,
            _with_interval(each.auc, each.auc_interval),
            _with_interval(each.true_positive_rates[1], each.true_positive_intervals[1]),
        )
        for each in results.membership
    ]
    return Group(
        for_terminal(Table(("", "", ""), verdicts, 3), title="What must hold", header=False),
        for_terminal(
            Table(("onlooker", "recovered", "picked out"), seen),
            title="What each onlooker got of lone rows",
        ),
        for_terminal(
            Table(("trained", "AUC, 95 %", "found at 1 % accused, 95 %"), members),
            title="Who was a member (LiRA)",
        ),
        for_terminal(
            _flags(results),
            title="Runs flagged, by what was planted",
            caption="bold: the check meant for the fault",
        ),
    )


def _flags(results: AuditResults) -> Table:
    names = [check.name for check in results.checks]
    rows = [
        (
            audit_pictures.fault_name(each.planted),
            *(
                Marked(
                    f"{each.flagged[name]} of {each.runs}", "meant" if name == each.meant else ""
                )
                for name in names
            ),
        )
        for each in results.detections
    ]
    return Table(("Planted", *names), rows)


def _beside(results: AuditResults) -> list[Table]:
    """Return each recovered row beside the true one, one line per attribute."""
    tables = []
    for number, said in enumerate(results.beside.rows, start=1):
        columns = [
            [Marked(cell, "hit" if hit else "") for cell, hit in zip(cells, hits, strict=True)]
            for _, cells, hits in said
        ]
        head = (f"Row {number}", *(who for who, _, _ in said))
        rows = list(zip(results.beside.columns, *columns, strict=True))
        tables.append(Table(head, rows, len(head)))
    return tables


def _attacks(results: AuditResults) -> Table:
    rows = [
        (
            attack.onlooker,
            attack.encoding,
            str(attack.batch_size),
            f"{attack.recovered} of {attack.rows}",
            str(attack.wrong),
            words.MISSING
            if attack.identified is None
            else f"{attack.identified} (chance {attack.rows / attack.candidates:.1f})",
            words.percent(attack.attributes_right),
        )
        for attack in results.attacks
    ]
    head = ("Who sees what", "Encoding", "Batch", "Recovered", "Wrong", "Picked out", "Right")
    return Table(head, rows, 2)


def _membership(results: AuditResults) -> Table:
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
    return Table(tuple(head), tuple(rows))


def _checks(results: AuditResults) -> Table:
    rows = tuple((c.name, c.statistic, c.threshold, c.blind) for c in results.checks)
    return Table(("Check", "Measures", "Flags", "Cannot see"), rows, 4)


def _checked(results: AuditResults) -> Table:
    rows = [
        (check.name, *(_measured(checked[check.name]) for checked in results.checked.values()))
        for check in results.checks
    ]
    return Table(("Check", *(f"{noise} noise" for noise in results.checked)), tuple(rows))


def _measured(checked: Checked) -> str:
    flag = ", flagged" if checked.flagged else ""
    return f"{checked.statistic:.3g} (p = {words.compact(checked.p_value)}{flag})"


def _bounds(results: AuditResults) -> Table:
    rows = [
        (
            audit_pictures.fault_name(name),
            f"{bound.correct} of {bound.guesses}",
            at_least(bound.epsilon),
            at_least(bound.epsilon_second_way),
            at_least(bound.ceiling),
            words.compact(bound.p_value),
        )
        for name, bound in results.bounds.items()
    ]
    head = ("Planted", "Right guesses", "ε at least", "Second way", "Ceiling", "p of the claim")
    return Table(head, tuple(rows))


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    low, high = outwards(interval, 3)
    return f"{value:.3f} ({low}–{high})"
