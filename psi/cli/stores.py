"""A large side that many ask: `psi publish` makes its store, `psi answer` answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from psi.cli import options
from psi.cli.events import EventLog
from psi.cli.peers import known_peers
from psi.cli.serving import in_turns
from psi.cli.shared import load, messages, own_identity, progress_bar, steps_of
from psi.cli.stopping import stoppable
from psi.defaults import (
    DUPLICATES,
    LISTEN,
    SESSION_SECONDS,
    STORE_DAYS,
    STORE_ITEMS_A_PEER,
    WAIT_SECONDS,
)

if TYPE_CHECKING:
    from psi.protocols.conversation import Progress
    from psi.tables.keys import Duplicates

__all__ = ["answer", "publish"]


def publish(
    table: options.TableFile,
    on: options.On,
    store: Annotated[Path, typer.Option(help="The folder to make.")],
    duplicates: options.Policy = DUPLICATES,
    normalise: options.Steps = None,
    items_a_peer: Annotated[
        int, typer.Option(help="How many IDs one peer may ask.")
    ] = STORE_ITEMS_A_PEER,
    days: Annotated[float, typer.Option(help="How long the key may be used.")] = STORE_DAYS,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a store, and no other folder.")
    ] = False,
) -> None:
    """Compute the tags of a large table once, for many small sides to ask with psi answer."""
    from psi.sessions import TagStore
    from psi.sessions.session import table_index

    TagStore.check_place(store, replace=replace)
    with progress_bar() as progress:
        index, key_format = table_index(
            load(table, progress), on, cast("Duplicates", duplicates), steps_of(normalise)
        )
        made = TagStore.create(
            store,
            index.keys,
            key_format=key_format,
            items_a_peer=items_a_peer,
            days=days,
            replace=replace,
            progress=progress,
        )
    print(made.public_key)
    messages.print(f"{len(made)} IDs in {store}; give the key above to those who will ask")


def answer(
    store: Annotated[Path, typer.Argument(help="What psi publish made.")],
    identity: options.IdentityFile,
    peer: options.Peers = None,
    peer_fingerprint: options.Fingerprints = None,
    passphrase_file: options.PassphraseFile = None,
    listen: options.Listen = LISTEN,
    requests: Annotated[int, typer.Option(help="How many requests to answer, in turn.")] = 1,
    keep: options.Keep = False,
    wait: options.Wait = WAIT_SECONDS,
    timeout: options.Timeout = SESSION_SECONDS,
    log: options.Log = None,
) -> None:
    """Wait for small sides to ask a store which of their IDs are in it, and stop; see --keep."""
    from psi.network import Connection
    from psi.network.turns import Turns
    from psi.sessions import TagStore, answering_terms

    own, peers = own_identity(identity, passphrase_file), known_peers(peer, peer_fingerprint)
    opened = TagStore(store)

    class Request:
        """One request to the store."""

        def __init__(self, progress: "Progress") -> None:
            opened.check_usable()
            self.progress = progress

        def converse(self, caller: str, name: str, connection: Connection) -> str:
            party = opened.answering(caller, progress=self.progress)
            connection.converse(party, answering_terms(), timeout_seconds=timeout)
            return f"answered; it may ask {opened.ledger.items_left(caller)} more IDs"

        def settle(self, turns: Turns) -> None:
            """Nothing is left to do."""

    with stoppable(), progress_bar() as progress:
        in_turns(
            Request,
            identity=own,
            peers=peers,
            terms=answering_terms(),
            listen=listen,
            log=EventLog(log),
            progress=progress,
            rounds=None if keep else requests,
            wait_seconds=None if keep else wait,
        )
