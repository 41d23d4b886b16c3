"""Three and more companies: `psi together`, the same command at every party."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from psi.cli.options import SessionOptions, Table, Wait, spread
from psi.cli.shared import (
    check_files,
    ledger_of,
    load,
    messages,
    network,
    own_files,
    own_identity,
    progress_bar,
    say_listening,
    steps_of,
)
from psi.errors import ConfigError

if TYPE_CHECKING:
    from psi.sessions.group import Learners
    from psi.tables.keys import Duplicates

__all__ = ["together"]


@spread
def together(
    table: Table,
    parties: Annotated[
        Path,
        typer.Argument(help="A TOML file, the same at all: [NAME] with certificate and address."),
    ],
    options: SessionOptions,
    result: Annotated[
        str, typer.Option(help="Who gets the rows that all have: all, or the first as leader.")
    ] = "all",
    listen: Annotated[
        str | None, typer.Option(help="HOST:PORT to listen on; without it the port in the file.")
    ] = None,
    wait: Wait = 600,
) -> None:
    """Find the IDs that three and more sides all have; honest ones learn of no others."""
    from psi.network.certificates import fingerprint
    from psi.network.roster import Roster
    from psi.sessions.group import GroupSession
    from psi.tables.files import taken, write_table

    meet = network("mesh").meet
    identity = own_identity(options.identity, options.passphrase_file)
    roster = Roster.load(parties)
    files = [*roster.files, *own_files(options)]
    check_files(options.out, force=options.force, tables=[table], others=files)
    number = roster.number_of(identity.certificate)
    messages.print(f"this is {roster.parties[number].name}; {roster.parties[0].name} leads")
    with progress_bar() as progress:
        loaded = load(table, progress)
        session = GroupSession.prepare(
            loaded,
            number=number,
            roster=roster,
            on=options.on,
            duplicates=cast("Duplicates", options.duplicates),
            normalise=steps_of(options.normalise),
            result=cast("Learners", result),
            pad_to=options.pad_to,
            max_peer_items=options.max_peer_items,
            progress=progress,
        )
        if options.out is not None and not session.gets_result:
            raise ConfigError("only the leader gets the result: leave out --out, or --result all")
        ledger = ledger_of(options)
        if ledger is not None:
            prints = [fingerprint(party.certificate) for party in roster.parties]
            session.party.charge_with(lambda other, items: ledger.charge(prints[other], items))
        links = meet(
            session.party,
            terms=session.terms,
            roster=roster,
            identity=identity,
            listen=listen,
            wait_seconds=wait,
            timeout_seconds=options.timeout,
            on_listening=say_listening,
            progress=progress,
        )
    found = "no result at this side"
    if session.gets_result:
        rows = session.rows()
        columns = {"row": rows} if options.rows else taken(loaded, rows)
        write_table(options.out, columns, replace=options.force)
        found = f"{len(rows)} rows that all {len(roster.parties)} have"
    sent = sum(link.bytes_sent for link in links.values())
    received = sum(link.bytes_received for link in links.values())
    messages.print(f"{found} by kmprt, {sent} bytes sent, {received} received")
