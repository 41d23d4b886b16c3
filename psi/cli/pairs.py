"""Two companies, each with a table: `psi serve` waits, `psi join` connects."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from psi.cli.holding import hold
from psi.cli.options import Details, Listen, PairOptions, TableFile, Wait, details_of, spread
from psi.cli.shared import network, own_identity, say_listening, say_turned_away
from psi.defaults import CONNECT_SECONDS, LISTEN, WAIT_SECONDS
from psi.errors import UnkeptLimitError

if TYPE_CHECKING:
    from psi.network import Traffic
    from psi.sessions.questions.question import Result, Side
    from psi.tables.keys import Duplicates

__all__ = ["join", "serve"]


@spread
def serve(
    table: TableFile,
    options: PairOptions,
    details: Details,
    listen: Listen = LISTEN,
    wait: Wait = WAIT_SECONDS,
) -> None:
    """Wait for one other side, find the IDs that both have, and stop."""
    talk = functools.partial(
        network("connections").serve,
        address=listen,
        wait_seconds=wait,
        on_listening=say_listening,
        on_turned_away=say_turned_away,
    )
    _hold("serve", table, options, details, talk)


@spread
def join(
    table: TableFile,
    address: Annotated[str, typer.Argument(help="HOST:PORT of the side that serves.")],
    options: PairOptions,
    details: Details,
    wait: Wait = CONNECT_SECONDS,
) -> None:
    """Connect to a side that serves and find the IDs that both have."""
    talk = functools.partial(network("connections").join, address=address, wait_seconds=wait)
    _hold("join", table, options, details, talk)


def _hold(
    side: "Side",
    table: Path,
    options: PairOptions,
    given: Details,
    talk: "Callable[..., Traffic]",
) -> None:
    from psi.network import fingerprint, load_certificate
    from psi.protocols.conversation import PEER
    from psi.sessions import PairChoice

    details = details_of(options.learn, given)
    choice = PairChoice(
        side=side,
        learn=options.learn,
        result=cast("Result", options.result),
        duplicates=cast("Duplicates", options.duplicates),
        protocol=options.protocol,
        details=details,
    )
    _refuse_unkept_limits(options)
    identity = own_identity(options.identity, options.passphrase_file)
    peer = load_certificate(options.peer)
    hold(
        table,
        choice,
        options,
        identity,
        functools.partial(talk, peer_certificate=peer),
        {PEER: fingerprint(peer)},
        files=[options.peer],
        keeps=_kept(details),
    )


def _kept(details: Any) -> list[Path]:
    """Return the files that a question writes."""
    from psi.sessions.questions.question import told_of

    told = told_of(type(details) if details is not None else None)
    paths = [getattr(details, name) for name, one in told.items() if one.writes]
    return [path for path in paths if path is not None]


def _refuse_unkept_limits(options: PairOptions) -> None:
    """Refuse what the protocol would refuse, before a file is read or a ledger is made."""
    from psi.protocols.choice import chosen

    kept = chosen(options.protocol).limits
    given = {
        "max_peer_items": ["max_peer_items"],
        "charge_with": ["ledger", "sessions_a_peer", "items_a_peer", "epsilon_in_all"],
    }
    for limit, names in given.items():
        for name in names:
            if limit not in kept and getattr(options, name) is not None:
                raise UnkeptLimitError(options.protocol, f"--{name.replace('_', '-')}")
