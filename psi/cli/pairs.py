"""Two companies, each with a table: `psi serve` waits, `psi join` connects."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from psi.cli.events import EventLog
from psi.cli.holding import OwnTableFile, hold
from psi.cli.options import (
    Details,
    Keep,
    Listen,
    OnePeer,
    PairOptions,
    Peers,
    TableFile,
    Wait,
    details_of,
    spread,
)
from psi.cli.peers import known_peers, one_peer
from psi.cli.serving import stay
from psi.cli.shared import network, own_identity, say_listening, say_turned_away
from psi.defaults import CONNECT_SECONDS, LISTEN, WAIT_SECONDS
from psi.errors import ConfigError

if TYPE_CHECKING:
    from psi.sessions.questions.question import Result, Side
    from psi.tables.keys import Duplicates

__all__ = ["join", "serve"]


@spread
def serve(
    table: TableFile,
    options: PairOptions,
    details: Details,
    peer: Peers = None,
    keep: Keep = False,
    listen: Listen = LISTEN,
    wait: Wait = WAIT_SECONDS,
) -> None:
    """Wait for one other side, find the IDs that both have, and stop; or stay up, with --keep."""
    own = _own("serve", table, options, details, peer or [])
    peers = known_peers(peer, options.peer_fingerprint)
    log = EventLog(options.log)
    if keep:
        if options.summary is not None:
            raise ConfigError("--json is of one session: with --keep there is --log")
        stay(own, peers, listen, log)
        return
    if len(peers) > 1:
        raise ConfigError("several of --peer are served in turn, by a side that stays: add --keep")
    (certificate,) = peers.values()
    talk = functools.partial(
        network("connections").serve,
        address=listen,
        peer_certificate=certificate,
        wait_seconds=wait,
        on_listening=lambda port: say_listening(port, log),
        on_turned_away=lambda words: say_turned_away(words, log),
        on_dropped=log.drop,
    )
    _hold(own, talk, certificate, log)


@spread
def join(
    table: TableFile,
    address: Annotated[str, typer.Argument(help="HOST:PORT of the side that serves.")],
    options: PairOptions,
    details: Details,
    peer: OnePeer = None,
    wait: Wait = CONNECT_SECONDS,
) -> None:
    """Connect to a side that serves and find the IDs that both have."""
    _refuse_swapped(table, address)
    own = _own("join", table, options, details, [] if peer is None else [peer])
    certificate = one_peer(peer, options.peer_fingerprint)
    talk = functools.partial(
        network("connections").join,
        address=address,
        peer_certificate=certificate,
        wait_seconds=wait,
    )
    _hold(own, talk, certificate, EventLog(options.log))


def _hold(own: OwnTableFile, talk: Any, certificate: bytes, log: EventLog) -> None:
    from psi.network import fingerprint
    from psi.protocols.conversation import PEER

    hold(own, talk, {PEER: fingerprint(certificate)}, log)


def _own(
    side: "Side", table: Path, options: PairOptions, given: Details, files: list[Path]
) -> OwnTableFile:
    """Return this side's table, with all that it chose."""
    from psi.sessions import PairChoice

    details = details_of(options.learn, given)
    choice = PairChoice(
        side=side,
        learn=options.learn,
        result=cast("Result", options.result),
        duplicates=cast("Duplicates", options.duplicates),
        protocol=options.protocol,
        bandwidth=options.bandwidth,
        details=details,
    )
    identity = own_identity(options.identity, options.passphrase_file)
    return OwnTableFile(table, choice, options, identity, files=files, keeps=_kept(details))


def _kept(details: Any) -> list[Path]:
    """Return the files that a question writes."""
    from psi.sessions.questions.question import told_of

    told = told_of(type(details) if details is not None else None)
    paths = [getattr(details, name) for name, one in told.items() if one.writes]
    return [path for path in paths if path is not None]


def _refuse_swapped(table: Path, address: str) -> None:
    """Refuse a table where the address goes, and an address where the table goes."""
    from psi.network.addresses import host_and_port, looks_like_address

    if (looks_like_address(str(table)) and not table.exists()) or (
        Path(address).exists() and not looks_like_address(address)
    ):
        raise ConfigError(f"the table comes first, then HOST:PORT: psi join {address} {table}")
    host_and_port(address)
