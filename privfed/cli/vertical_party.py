"""One company of two, from its files to its half and its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from privfed.cli.asked import check_new_folder
from privfed.cli.train_progress import tell
from privfed.cli.vertical_options import (
    SECURITY,
    LineOptions,
    PartyOptions,
    ScoringOptions,
    TableOptions,
)
from privfed.cli.vertical_outcome import leave
from privfed.errors import ConfigError
from psi.cli.shared import ledger_of, own_identity, progress_bar
from psi.errors import PeerRefusedError, TransportError

if TYPE_CHECKING:
    import pandas as pd

    from privfed.data import Schema
    from privfed.vertical.company import CompanyTable
    from privfed.vertical.halves import Half
    from privfed.vertical.job import PartnerLine
    from privfed.vertical.results import UsedTable
    from privfed.vertical.roles import Role
    from privfed.vertical.scoring import ScoredRows


def be_party(role: Role, path: Path, options: PartyOptions, label: str | None) -> None:
    """Train one company's half, and write it with its report.

    Raises:
        ConfigError: A file or an option is not acceptable.
    """
    from privfed.vertical.job import do_job
    from privfed.vertical.training import VerticalJob
    from privfed.vertical.unfinished import UNFINISHED_FILE
    from psi.network import fingerprint, load_certificate

    choice, own = options.choice, options.own
    check_new_folder(options.out)
    table, file = table_in(role, path, options, label)
    peer = fingerprint(load_certificate(options.peer))
    ledger = ledger_of(options)
    job = VerticalJob(
        table=table,
        name=role,
        file=file,
        choice=choice,
        own=own,
        out=options.out,
        unfinished=options.out / UNFINISHED_FILE,
        resume=options.resume,
        charge=None if ledger is None else lambda _, items: ledger.charge(peer, items),
        max_peer_items=options.max_peer_items,
        memory_bytes=options.memory_bytes,
    )
    tell(SECURITY)
    line = line_of(options)
    try:
        with progress_bar() as progress:
            known = do_job(job, line, progress=progress)
    except TransportError as error:
        if job.unfinished.exists() and not isinstance(error, PeerRefusedError):
            tell("the training broke off: both companies go on by the same commands and --resume")
        raise
    leave(known.results(other="host" if role == "guest" else "guest"), options.out)


def table_in(
    role: Role, path: Path, options: TableOptions, label: str | None
) -> tuple[CompanyTable, UsedTable]:
    """Return a company's table from its file, and where it comes from.

    Raises:
        ConfigError: The file cannot be read, or its columns are not named.
    """
    from privfed.data.files import read_text_table
    from privfed.vertical.company import CompanyTable
    from privfed.vertical.results import UsedTable

    if not options.ids:
        raise ConfigError("name the column of the ID: --id COLUMN")
    read = read_text_table(path)
    table = CompanyTable(
        role=role,
        frame=read.frame,
        id_columns=tuple(options.ids),
        label=label,
        normalise=options.normalise,
        duplicates=cast("Literal['error', 'first']", options.duplicates),
        schema=schema_in(options.schema, read.frame, path, label),
    )
    return table, UsedTable(path.name, read.sha256)


def schema_in(
    schema: Path | None, frame: pd.DataFrame, path: Path, label: str | None
) -> Schema | None:
    """Return what a schema file says of a table's columns; None without one.

    Raises:
        ConfigError: It cannot be read, or is of another table.
    """
    from privfed.data import SchemaFile

    if schema is None:
        return None
    file = SchemaFile.load(schema)
    file.check(list(frame.columns), path.name, label=label, id_column=None)
    return file.schema()


def line_of(options: LineOptions) -> PartnerLine:
    """Return how the other company is reached.

    Raises:
        ConfigError: Not one of --listen and --connect is given, or files cannot be read.
    """
    from privfed.vertical.job import PartnerLine
    from psi.network import load_certificate

    if (options.listen is None) == (options.connect is None):
        raise ConfigError("give --listen HOST:PORT at one company and --connect at the other")
    return PartnerLine(
        identity=own_identity(options.identity, options.passphrase_file),
        peer_certificate=load_certificate(options.peer),
        listens=options.listen is not None,
        address=options.listen or options.connect or "",
        wait_seconds=options.wait,
        on_listening=lambda port: tell(f"listening on port {port}"),
        on_turned_away=lambda words: tell(f"turned away, and waiting on: {words}"),
    )


def score(role: Role, path: Path, options: ScoringOptions, out: Path | None) -> None:
    """Score new rows; the guest writes what opened.

    Raises:
        ConfigError: A file or an option is not acceptable, or the half is the other company's.
    """
    from privfed.data.files import read_text_table
    from privfed.vertical.saved import load_half
    from privfed.vertical.scoring import score_rows
    from psi.network import fingerprint, load_certificate
    from psi.storage import check_place
    from psi.tables.files import write_table

    tell(SECURITY)
    half = load_half(options.half)
    if half.role != role:
        raise ConfigError(f"{options.half} is the {half.role}'s half: take this company's own")
    if out is not None:
        check_place(out, inputs=[path, options.half])
    read = read_text_table(path)
    line, ledger = line_of(options), ledger_of(options)
    peer = fingerprint(load_certificate(options.peer))
    with progress_bar() as progress, line.opened(progress) as connection:
        found = score_rows(
            half,
            read.frame,
            connection,
            guest_listens=(role == "guest") == line.listens,
            folder=options.half.parent,
            duplicates=cast("Literal['error', 'first']", options.duplicates),
            charge=None if ledger is None else lambda _, items: ledger.charge(peer, items),
            progress=progress,
        )
    if found is None or out is None:
        return
    ids = {name: list(read.frame[name].iloc[found.rows]) for name in half.id_columns}
    write_table(out, {**ids, half.answers: _values(half, found)})
    tell(f"{len(found.rows)} rows are in {out}")


def _values(half: Half, found: ScoredRows) -> list[str]:
    if half.answers == "class":
        return [half.classes[int(value)] for value in found.values]
    return [f"{value:.4g}" for value in found.values]
