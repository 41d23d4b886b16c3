"""Two companies, each with a table: `psi serve` waits, `psi join` connects."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from psi.cli.options import Listen, PairOptions, Table, Wait, spread
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
from psi.errors import ConfigError, UnkeptLimitError

if TYPE_CHECKING:
    from psi.network.links import Link
    from psi.protocols.choice import Protocol
    from psi.protocols.party import Progress
    from psi.sessions.pair import LargeSide, Learn, Result, Side, SumChoice, TableSession
    from psi.tables.keys import Duplicates

__all__ = ["join", "serve"]


@spread
def serve(
    table: Table, options: PairOptions, listen: Listen = "0.0.0.0:7787", wait: Wait = 600
) -> None:
    """Wait for one other side, find the IDs that both have, and stop."""
    _hold(
        "serve",
        table,
        options,
        functools.partial(
            network("transport").serve,
            address=listen,
            wait_seconds=wait,
            on_listening=say_listening,
        ),
    )


@spread
def join(
    table: Table,
    address: Annotated[str, typer.Argument(help="HOST:PORT of the side that serves.")],
    options: PairOptions,
    keep: Annotated[
        Path | None,
        typer.Option(
            help="With --learn unbalanced: a file that keeps the tags for the next request."
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="With --learn unbalanced: take no other key's answers.")
    ] = None,
    wait: Wait = 60,
) -> None:
    """Connect to a side that serves and find the IDs that both have."""
    from psi.sessions.pair import LargeSide

    large = LargeSide(keep, key) if keep or key else None
    talk = functools.partial(network("transport").join, address=address, wait_seconds=wait)
    _hold("join", table, options, talk, large)


def _hold(
    side: "Side",
    table: Path,
    options: PairOptions,
    talk: "Callable[..., Link]",
    large: "LargeSide | None" = None,
) -> None:
    """Hold a session, and write what this side has learnt now that both sides are done."""
    from psi.network.certificates import fingerprint, load_certificate
    from psi.tables.files import write_table

    _refuse_unkept_limits(options)
    files = [table, *own_files(options), options.peer]
    kept = large.kept if large is not None else None
    # Tags that were kept are replaced by newer ones: the party sees that they are tags.
    check_files(kept, force=True, tables=[], others=files)
    check_files(options.out, force=options.force, tables=[table], others=[*files, kept])
    identity = own_identity(options.identity, options.passphrase_file)
    peer = load_certificate(options.peer)
    with progress_bar() as progress:
        loaded = load(table, progress)
        session = _prepared(side, loaded, options, large or _sum_of(options), progress)
        if options.out is not None and not session.gets_result:
            raise ConfigError(f"the side that {side}s gets no result: leave out --out")
        ledger = ledger_of(options)
        if ledger is not None:
            session.party.charge_with(functools.partial(ledger.charge, fingerprint(peer)))
        link = talk(
            session.party,
            terms=session.terms,
            identity=identity,
            peer_certificate=peer,
            timeout_seconds=options.timeout,
            progress=progress,
        )
    found = "no result at this side"
    if session.gets_result:
        columns, found = session.outcome(loaded, numbers=options.rows)
        write_table(options.out, columns, replace=options.force)
    messages.print(
        f"{found} by {session.party.protocol}, {link.bytes_sent} bytes sent, "
        f"{link.bytes_received} received"
    )


def _refuse_unkept_limits(options: PairOptions) -> None:
    """Refuse what the protocol would, before a file is read or a ledger is begun."""
    for name in ("max_peer_items", "ledger", "sessions_a_peer", "items_a_peer"):
        if options.protocol == "kkrt" and getattr(options, name) is not None:
            raise UnkeptLimitError("kkrt", f"--{name.replace('_', '-')}")


def _prepared(
    side: "Side",
    table: Any,
    options: PairOptions,
    details: "SumChoice | LargeSide | None",
    progress: "Progress",
) -> "TableSession":
    from psi.sessions.pair import TableSession

    return TableSession.prepare(
        table,
        side=side,
        on=options.on,
        duplicates=cast("Duplicates", options.duplicates),
        normalise=steps_of(options.normalise),
        result=cast("Result", options.result),
        learn=cast("Learn", options.learn),
        details=details,
        pad_to=options.pad_to,
        protocol=cast("Protocol", options.protocol),
        max_peer_items=options.max_peer_items,
        progress=progress,
    )


def _sum_of(options: PairOptions) -> "SumChoice | None":
    from psi.sessions.pair import SumChoice

    choice = SumChoice(options.column, options.minimum, options.max_value)
    return choice if options.learn == "sum" or choice != SumChoice() else None
