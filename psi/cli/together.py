"""Three and more companies: `psi together`, the same command at every party."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from psi.cli.events import EventLog
from psi.cli.holding import OwnTableFile, hold
from psi.cli.options import SessionOptions, TableFile, Wait, spread
from psi.cli.peers import check_fingerprints
from psi.cli.shared import messages, network, own_identity, say_listening, say_turned_away
from psi.defaults import WAIT_SECONDS
from psi.errors import ConfigError

if TYPE_CHECKING:
    from psi.sessions.group import Learners
    from psi.tables.keys import Duplicates

__all__ = ["together"]


@spread
def together(
    table: TableFile,
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
    wait: Wait = WAIT_SECONDS,
) -> None:
    """Find the IDs that three and more sides all have; honest ones learn of no others."""
    from psi.network import Roster, fingerprint
    from psi.sessions import GroupChoice

    meet = network("mesh").meet
    identity = own_identity(options.identity, options.passphrase_file)
    if table.suffix == ".toml" and parties.suffix != ".toml":
        raise ConfigError(f"the table comes first: psi together {parties} {table}")
    roster = Roster.load(parties)
    number = roster.number_of(identity.certificate)
    others = {
        one.name: one.certificate for one in roster.parties if one is not roster.parties[number]
    }
    check_fingerprints(others, options.peer_fingerprint)
    choice = GroupChoice(
        roster=roster,
        number=number,
        result=cast("Learners", result),
        duplicates=cast("Duplicates", options.duplicates),
    )
    messages.print(f"this is {roster.parties[number].name}; {roster.parties[0].name} leads")
    log = EventLog(options.log)
    hold(
        OwnTableFile(table, choice, options, identity, files=roster.files),
        functools.partial(
            meet,
            roster=roster,
            listen=listen,
            wait_seconds=wait,
            on_listening=lambda port: say_listening(port, log),
            on_turned_away=lambda words: say_turned_away(words, log),
            on_dropped=log.drop,
        ),
        {other: fingerprint(entry.certificate) for other, entry in enumerate(roster.parties)},
        log,
    )
