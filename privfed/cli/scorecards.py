"""From tables to a scorecard: both companies on one machine, or one of two."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from privfed.cli.asked import check_new_folder
from privfed.cli.train_progress import tell
from privfed.cli.two_processes import in_two_processes
from privfed.cli.vertical_options import SECURITY
from privfed.cli.vertical_party import line_of, table_in
from privfed.errors import ConfigError
from privfed.rounding import as_given, at_most
from privfed.vertical.job import PartnerLine
from privfed.vertical.roles import Role
from privfed.vertical.scorecards.job import (
    CountedColumns,
    ScorecardJob,
    check_job,
    make_scorecard,
    with_columns,
)
from privfed.vertical.scorecards.results import SCORECARD_FILE
from psi.cli.shared import ledger_of, progress_bar
from psi.network import Progress, fingerprint, load_certificate

if TYPE_CHECKING:
    from privfed.cli.scorecard_options import PlayedScorecard, ScorecardParty

_SPENT = ".spent.json"


def play_scorecard(options: PlayedScorecard, columns: list[str], out: Path) -> None:
    """Count as two processes over a connection, and write the receiver's scorecard.

    Args:
        options: What was chosen, the tables among it.
        columns: Which of the host's are counted; all where none is named.
        out: The folder.

    Raises:
        ConfigError: A table cannot be counted, or the folder is taken.
        BudgetExceededError: Scorecards of a table may not cost so much.
    """
    tables, paths = options.both_tables(), (options.guest, options.host)
    _check_out(out)
    if tables.family not in (None, "logistic"):
        raise ConfigError("this pair's labels are no two classes: a scorecard needs these")
    both = (tables.guest, with_columns(tables.host, columns))
    jobs = [
        ScorecardJob(
            table=table,
            name=name,
            file=file,
            choice=options.choice,
            # Made-up tables are nobody's: each run counts its own.
            spent=out / f"{name}{_SPENT}" if path is None else spent_beside(path),
            epsilon_in_all=options.epsilon_in_all,
            source=tables.source,
        )
        for table, name, file, path in zip(both, tables.names, tables.files, paths, strict=True)
    ]
    for job in jobs:  # before one waits for the other
        check_job(job)
    out.mkdir(parents=True, exist_ok=True)
    tell(SECURITY)
    for job, counted in zip(jobs, in_two_processes(_count, jobs, tables.names), strict=True):
        _tell(job, counted, out)


def be_scorecard_party(
    role: Role,
    path: Path,
    options: ScorecardParty,
    out: Path,
    label: str | None,
    columns: list[str],
) -> None:
    """Count with the other company; the receiver writes its scorecard.

    Raises:
        ConfigError: A file or an option is not acceptable.
        BudgetExceededError: Scorecards of the table may not cost so much.
    """
    choice = options.choice
    if choice.receiver == role:
        _check_out(out)
    table, file = table_in(role, path, options, label)
    peer = fingerprint(load_certificate(options.peer))
    ledger = ledger_of(options)
    job = ScorecardJob(
        table=with_columns(table, columns),
        name=role,
        file=file,
        choice=choice,
        spent=options.spent or spent_beside(path),
        epsilon_in_all=options.epsilon_in_all,
        charge=None if ledger is None else lambda _, items: ledger.charge(peer, items),
        max_peer_items=options.max_peer_items,
    )
    check_job(job)
    tell(SECURITY)
    with progress_bar() as progress:
        counted = _count(job, line_of(options), progress)
    _tell(job, counted, out)


def spent_beside(table: Path) -> Path:
    """Return where scorecards of a table are counted."""
    return table.with_name(f"{table.name}{_SPENT}")


def _count(job: ScorecardJob, line: PartnerLine, progress: Progress) -> CountedColumns:
    with line.opened(progress) as connection:
        listens = (job.table.role == "guest") == line.listens
        return make_scorecard(job, connection, guest_listens=listens, progress=progress)


def _check_out(out: Path) -> None:
    if (out / SCORECARD_FILE).exists():
        raise ConfigError(f"--out {out} holds a scorecard already: give another folder")
    check_new_folder(out)


def _tell(job: ScorecardJob, counted: CountedColumns, out: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    card, spent = counted.scorecard, counted.spent
    if card is not None:
        # Pictures take seconds to load, which only the receiver waits for.
        from privfed.report.scorecard import scorecard_verdict, write_scorecard

        card.write(out)
        page = write_scorecard(card, out)
        console.print(scorecard_verdict(card), markup=False)
        console.print(f"report: {page}", markup=False)
    if spent is not None:
        console.print(
            f"{job.name}: scorecards of this table cost ε = {at_most(spent.epsilon)} in all, "
            f"δ = {as_given(spent.delta)} ({spent.adjacency}: {spent.privacy_unit}; sampling: "
            f"{spent.sampling}); counted in {job.spent}",
            markup=False,
        )
