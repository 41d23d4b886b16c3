"""A session from its table to its output: what `serve`, `join` and `together` have in common."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psi.cli.options import SessionOptions
from psi.cli.shared import (
    check_files,
    ledger_of,
    load,
    messages,
    own_files,
    progress_bar,
    steps_of,
)
from psi.errors import ConfigError

if TYPE_CHECKING:
    from psi.ledger import Ledger
    from psi.network import TLSIdentity, Traffic
    from psi.protocols.conversation import SetConversation
    from psi.protocols.noise import SessionCost
    from psi.sessions import Choice

__all__ = ["hold"]


def hold(
    table: Path,
    choice: "Choice[SetConversation[Any, Any]]",
    options: SessionOptions,
    identity: "TLSIdentity",
    talk: "Callable[..., Traffic]",
    peers: Mapping[int, str],
    *,
    files: Sequence[Path],
    keeps: Sequence[Path] = (),
) -> None:
    """Hold a session, and write what this side has learnt now that all sides are done.

    Args:
        table: The file with this side's IDs.
        choice: What is asked, of whom, and who learns it.
        options: Everything else.
        identity: This side's key and certificate.
        talk: `serve`, `join` or `meet`, with all arguments but those set here.
        peers: The fingerprint of each other party's certificate, by its number.
        files: What else the command reads; no output may replace it.
        keeps: Files that the session itself writes.

    Raises:
        ConfigError: An input is not acceptable, or the output has no place.
        TransportError: Another side is gone, too slow, or not who it should be.
        ProtocolError: Another side sent what is not acceptable.
    """
    from psi.sessions import TableSession
    from psi.tables.files import write_table

    own = [*files, *own_files(options)]
    for kept in keeps:  # older ones may be replaced: the session checks that they are its own
        check_files(kept, force=True, tables=[], others=[table, *own])
    check_files(options.out, force=options.force, tables=[table], others=[*own, *keeps])
    with progress_bar() as progress:
        loaded = load(table, progress)
        session = TableSession.prepare(
            loaded,
            choice,
            on=options.on,
            normalise=steps_of(options.normalise),
            pad_to=options.pad_to,
            max_peer_items=options.max_peer_items,
            progress=progress,
        )
        if options.out is not None and not session.gets_result:
            raise ConfigError(
                "this side gets no result: leave out --out, or choose another --result"
            )
        cost = session.party.cost
        ledger = ledger_of(options, epsilon_in_all=options.epsilon_in_all)
        if ledger is not None:
            ledger.check_cost(cost.epsilon)  # what is too much is too much before anybody comes
            session.party.charge_with(functools.partial(_count, ledger, peers, cost))
        traffic = talk(
            session.party,
            terms=session.terms,
            identity=identity,
            timeout_seconds=options.timeout,
            progress=progress,
        )
    found = "no result at this side"
    if session.gets_result:
        columns, found = session.outcome(loaded, numbers=options.rows)
        write_table(options.out, columns, replace=options.force)
    messages.print(
        f"{found} by {session.party.protocol}, {traffic.bytes_sent} bytes sent, "
        f"{traffic.bytes_received} received"
    )
    if 0 < cost.epsilon < math.inf:
        _say_cost(cost, ledger)


def _say_cost(cost: "SessionCost", ledger: "Ledger | None") -> None:
    """Print what the session cost this side, and, with a ledger, what all have cost it."""
    words = f"it cost each ID of this side ε={cost.epsilon:.15g} with δ={cost.delta:.15g}"
    if ledger is not None:
        epsilon, delta = ledger.spent()
        words += f", all sessions with all peers ε={epsilon:.15g} with δ={delta:.15g}"
    messages.print(f"{words} (one ID replaced by another; sizes are public)")


def _count(
    ledger: "Ledger", peers: Mapping[int, str], cost: "SessionCost", peer: int, items: int
) -> None:
    """Count a session to a party, and say how much that is."""
    ledger.charge(peers[peer], items, *cost)
    messages.print(
        f"{items:,} IDs are counted to {peers[peer][:11]}…, as many as it can test if it cheats"
    )
