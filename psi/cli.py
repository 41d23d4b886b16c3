"""The command `psi`: errors in one line; exit status 2 for bad input, 1 for a failed session."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

from psi import options
from psi.errors import ConfigError, PSIError

# numpy, gRPC and the rest are imported where there is work for them, so that --help is quick.
if TYPE_CHECKING:
    from psi.choice import Protocol
    from psi.keys import Duplicates
    from psi.links import Link
    from psi.session import Progress
    from psi.twoparty import LargeSide, Side, SumChoice, TableSession

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
_messages = Console(stderr=True, highlight=False, soft_wrap=True)


@app.callback()
def _psi() -> None:
    """Private set intersection: find the rows two tables share, and show nothing else."""


@app.command()
def align(
    left: options.Table,
    right: options.Table,
    on: options.On,
    out: options.Out = None,
    duplicates: options.Policy = "error",
    normalise: options.Steps = None,
    rows: options.Rows = False,
    protocol: options.Protocol = "auto",
) -> None:
    """Put the rows of two files side by side whose IDs both have, and no other row."""
    from psi.alignment import align as align_tables
    from psi.files import joined, read_table, taken, write_table

    _check_place(out)
    tables = read_table(left), read_table(right)
    found = align_tables(
        *tables,
        on=on,
        duplicates=cast("Duplicates", duplicates),
        normalise=_steps(normalise or []),
        protocol=cast("Protocol", protocol),
    )
    if rows:
        columns = {
            "left_row": found.left_rows.tolist(),
            "right_row": found.right_rows.tolist(),
        }
    else:
        columns = joined(taken(tables[0], found.left_rows), taken(tables[1], found.right_rows), on)
    write_table(out, columns)
    _messages.print(
        f"{len(found.left_rows)} matching rows by {found.protocol}, "
        f"{found.bytes_exchanged} bytes exchanged"
    )


@app.command()
def keygen(
    name: Annotated[Path, typer.Argument(help="Writes NAME.key and NAME.crt.")],
    days: Annotated[int, typer.Option(help="How long the certificate is valid.")] = 365,
) -> None:
    """Make the key and the certificate by which the other side knows this one."""
    from psi.certificates import create_identity

    print(f"SHA-256 {create_identity(name, days=days)}")
    _messages.print(
        f"keep {name}.key; give {name}.crt to the other side and compare the fingerprint by "
        "telephone"
    )


@app.command()
def serve(
    table: options.Table,
    on: options.On,
    identity: options.Identity,
    peer: options.Peer,
    listen: Annotated[str, typer.Option(help="HOST:PORT to listen on.")] = "0.0.0.0:7787",
    out: options.Out = None,
    duplicates: options.Policy = "error",
    normalise: options.Steps = None,
    rows: options.Rows = False,
    result: options.Whose = "both",
    learn: options.Learn = "intersection",
    column: options.Column = None,
    minimum: options.Minimum = 10,
    max_value: options.MaxValue = (1 << 20) - 1,
    pad_to: options.PadTo = None,
    protocol: options.Protocol = "auto",
    max_peer_items: options.Limit = 1 << 24,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the other side.")] = 600,
    timeout: options.Timeout = 3600,
) -> None:
    """Wait for one other side, find the IDs that both have, and stop."""
    with _progress() as progress:
        loaded, session = _prepare(
            "serve",
            table,
            out,
            details=_sum_of(learn, column, minimum, max_value),
            on=on,
            duplicates=duplicates,
            normalise=_steps(normalise or []),
            result=result,
            learn=learn,
            pad_to=pad_to,
            protocol=protocol,
            max_peer_items=max_peer_items,
            progress=progress,
        )
        link = _transport().serve(
            session.party,
            terms=session.terms,
            address=listen,
            **_credentials(identity, peer),
            wait_seconds=wait,
            timeout_seconds=timeout,
            on_listening=lambda port: _messages.print(f"listening on port {port}"),
            progress=progress,
        )
    _deliver(loaded, session, link, out, rows)


@app.command()
def join(
    table: options.Table,
    address: Annotated[str, typer.Argument(help="HOST:PORT of the side that serves.")],
    on: options.On,
    identity: options.Identity,
    peer: options.Peer,
    out: options.Out = None,
    duplicates: options.Policy = "error",
    normalise: options.Steps = None,
    rows: options.Rows = False,
    result: options.Whose = "both",
    learn: options.Learn = "intersection",
    column: options.Column = None,
    minimum: options.Minimum = 10,
    max_value: options.MaxValue = (1 << 20) - 1,
    keep: Annotated[
        Path | None,
        typer.Option(help="With --learn unbalanced: a file for the tags, for the next request."),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="With --learn unbalanced: take no other key's answers.")
    ] = None,
    pad_to: options.PadTo = None,
    protocol: options.Protocol = "auto",
    max_peer_items: options.Limit = 1 << 24,
    wait: Annotated[float, typer.Option(help="Seconds to try to connect.")] = 60,
    timeout: options.Timeout = 3600,
) -> None:
    """Connect to a side that serves and find the IDs that both have."""
    with _progress() as progress:
        loaded, session = _prepare(
            "join",
            table,
            out,
            details=_large_side(keep, key) or _sum_of(learn, column, minimum, max_value),
            on=on,
            duplicates=duplicates,
            normalise=_steps(normalise or []),
            result=result,
            learn=learn,
            pad_to=pad_to,
            protocol=protocol,
            max_peer_items=max_peer_items,
            progress=progress,
        )
        link = _transport().join(
            session.party,
            terms=session.terms,
            address=address,
            **_credentials(identity, peer),
            wait_seconds=wait,
            timeout_seconds=timeout,
            progress=progress,
        )
    _deliver(loaded, session, link, out, rows)


@app.command()
def publish(
    table: options.Table,
    on: options.On,
    store: Annotated[Path, typer.Option(help="The folder to make.")],
    duplicates: options.Policy = "error",
    normalise: options.Steps = None,
    items_a_peer: Annotated[int, typer.Option(help="How many IDs one peer may ask.")] = 10_000,
    days: Annotated[float, typer.Option(help="How long the key may be used.")] = 30,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a store.")] = False,
) -> None:
    """Compute the tags of a large table once, for many small sides to ask with psi answer."""
    from psi.files import read_table
    from psi.tagstore import TagStore
    from psi.twoparty import table_items

    policy = cast("Duplicates", duplicates)
    items, key_format = table_items(read_table(table), on, policy, _steps(normalise or []))
    with _progress() as progress:
        made = TagStore.create(
            store,
            items,
            key_format=key_format,
            items_a_peer=items_a_peer,
            days=days,
            replace=replace,
            progress=progress,
        )
    print(made.terms.public_key)
    _messages.print(f"{len(made)} IDs in {store}; give the key above to those who will ask")


@app.command()
def answer(
    store: Annotated[Path, typer.Argument(help="What psi publish made.")],
    identity: options.Identity,
    peer: options.Peer,
    listen: Annotated[str, typer.Option(help="HOST:PORT to listen on.")] = "0.0.0.0:7787",
    requests: Annotated[int, typer.Option(help="How many requests to answer, in turn.")] = 1,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the other side.")] = 600,
    timeout: options.Timeout = 3600,
) -> None:
    """Wait for a small side to ask a store which of its IDs are in it, and stop."""
    from psi.certificates import fingerprint
    from psi.tagstore import TagStore
    from psi.unbalanced import UnbalancedSender

    credentials = _credentials(identity, peer)
    asking = fingerprint(credentials["peer_certificate"])
    opened = TagStore(store)
    for _ in range(requests):
        with _progress() as progress:
            _transport().serve(
                UnbalancedSender(opened, peer=asking, progress=progress),
                terms="--result join --learn unbalanced",
                address=listen,
                **credentials,
                wait_seconds=wait,
                timeout_seconds=timeout,
                on_listening=lambda port: _messages.print(f"listening on port {port}"),
                progress=progress,
            )
        _messages.print(f"answered; the other side may ask {opened.left(asking)} more IDs")


def main() -> None:
    """Run the command; the console script's entry point."""
    try:
        app()
    except PSIError as error:
        print(f"psi: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)


def _prepare(
    side: "Side", table: Path, out: Path | None, **choices: Any
) -> tuple[Any, "TableSession"]:
    from psi.files import read_table
    from psi.twoparty import TableSession

    _check_place(out)
    loaded = read_table(table)
    session = TableSession.prepare(loaded, side=side, **choices)
    if out is not None and not session.gets_result:
        raise ConfigError(f"the side that {side}s gets no result: leave out --out")
    return loaded, session


def _sum_of(learn: str, column: str | None, minimum: int, max_value: int) -> "SumChoice | None":
    from psi.twoparty import SumChoice

    choice = SumChoice(column, minimum, max_value)
    return choice if learn == "sum" or choice != SumChoice() else None


def _large_side(keep: Path | None, key: str | None) -> "LargeSide | None":
    from psi.twoparty import LargeSide

    return LargeSide(keep, key) if keep or key else None


def _deliver(
    loaded: Any, session: "TableSession", link: "Link", out: Path | None, numbers: bool
) -> None:
    """Write what this side has learnt, now that both sides are done."""
    from psi.files import write_table

    found = "no result at this side"
    if session.gets_result:
        columns, found = session.outcome(loaded, numbers=numbers)
        write_table(out, columns)
    _messages.print(
        f"{found} by {session.party.protocol}, {link.bytes_sent} bytes sent, "
        f"{link.bytes_received} received"
    )


def _credentials(identity: Path, peer: Path) -> dict[str, Any]:
    from psi.certificates import Identity, load_certificate

    return {"identity": Identity.load(identity), "peer_certificate": load_certificate(peer)}


def _transport() -> ModuleType:
    # gRPC's own reports of failed handshakes would come on top of our one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from psi import transport
    except ImportError as error:
        raise ConfigError(
            "two parties need the package grpcio: pip install 'privfed[psi-network]'"
        ) from error
    return transport


@contextlib.contextmanager
def _progress() -> Iterator["Progress"]:
    """A bar on the terminal for whatever goes on at the moment."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    bar = Progress(*columns, console=_messages, transient=True, disable=not _messages.is_terminal)
    with bar:
        task = bar.add_task("waiting", total=None)
        yield lambda stage, done, total: bar.update(
            task, description=stage, completed=done, total=total
        )


def _check_place(out: Path | None) -> None:
    """Complain now about a place that cannot be written, not after the session."""
    if out is not None and not (out.parent.is_dir() and os.access(out.parent, os.W_OK)):
        raise ConfigError(f"{out} cannot be written: choose a folder that exists and is yours")


def _steps(options: list[str]) -> str | dict[str, str]:
    """Turn `--normalise case` or `--normalise mail=email --normalise tel=phone:DE` around."""
    named = [option.rpartition("=") for option in options]
    if all(equals for _, equals, _ in named):
        return {column: steps for column, _, steps in named}
    if len(options) > 1:
        raise ConfigError("--normalise is given once for all columns, or as column=steps for each")
    return options[0]
