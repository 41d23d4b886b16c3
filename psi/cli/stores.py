"""A large side that many ask: `psi publish` makes its store, `psi answer` answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from psi.cli import options
from psi.cli.shared import (
    load,
    messages,
    network,
    own_identity,
    progress_bar,
    say_listening,
    say_turned_away,
    steps_of,
)
from psi.defaults import (
    DUPLICATES,
    LISTEN,
    SESSION_SECONDS,
    STORE_DAYS,
    STORE_ITEMS_A_PEER,
    WAIT_SECONDS,
)

if TYPE_CHECKING:
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
    peer: options.Peer,
    passphrase_file: options.PassphraseFile = None,
    listen: options.Listen = LISTEN,
    requests: Annotated[int, typer.Option(help="How many requests to answer, in turn.")] = 1,
    wait: options.Wait = WAIT_SECONDS,
    timeout: options.Timeout = SESSION_SECONDS,
) -> None:
    """Wait for a small side to ask a store which of its IDs are in it, and stop."""
    from psi.network import fingerprint, load_certificate
    from psi.sessions import TagStore, answering_terms

    own, certificate = own_identity(identity, passphrase_file), load_certificate(peer)
    asking = fingerprint(certificate)
    opened = TagStore(store)
    for _ in range(requests):
        with progress_bar() as progress:
            network("connections").serve(
                opened.answering(asking, progress=progress),
                terms=answering_terms(),
                address=listen,
                identity=own,
                peer_certificate=certificate,
                wait_seconds=wait,
                timeout_seconds=timeout,
                on_listening=say_listening,
                on_turned_away=say_turned_away,
                progress=progress,
            )
        left = opened.ledger.items_left(asking)
        messages.print(f"answered; the other side may ask {left} more IDs")
