"""What the commands of `psi` have in common: files in and out, credentials, progress."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console

from psi.cli.options import SessionOptions
from psi.cli.passphrases import known_passphrase
from psi.cli.words import in_words
from psi.errors import ConfigError
from psi.storage import check_place

# numpy, gRPC and the rest are imported only where they are needed, so that --help is quick.
if TYPE_CHECKING:
    from psi.cli.events import EventLog
    from psi.ledger import Ledger
    from psi.network.certificates import TLSIdentity
    from psi.protocols.conversation import Progress

__all__ = [
    "Limits",
    "check_files",
    "ledger_of",
    "load",
    "messages",
    "network",
    "own_files",
    "own_identity",
    "progress_bar",
    "say_listening",
    "say_turned_away",
    "steps_of",
    "unfinished_folder",
]


class Limits(Protocol):
    """Options that limit what peers may ask, across runs."""

    @property
    def ledger(self) -> Path | None:
        """The file that counts."""

    @property
    def sessions_a_peer(self) -> int | None:
        """How many sessions a peer may hold."""

    @property
    def items_a_peer(self) -> int | None:
        """How many IDs a peer may announce in all."""


# Plain: words of files and rosters are no markup.
messages = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def load(path: Path, progress: "Progress") -> Any:
    """Read a table, and show meanwhile that it is read."""
    from psi.tables.files import load_table

    progress(f"reading {path.name}", 0, 0)
    return load_table(path)


def check_files(
    out: Path | None, *, force: bool, tables: Sequence[Path], others: Sequence[Path | None] = ()
) -> None:
    """Refuse now an output that cannot be written, not after the session.

    Args:
        out: Where the result goes; None for the terminal.
        force: Whether a file that is there is replaced.
        tables: The tables that are read; the result needs as much room as they, at most.
        others: Other files that the command reads or keeps.

    Raises:
        ConfigError: It cannot be written, or would replace a file of the command's own.
    """
    if out is None:
        return
    own = [*tables, *(path for path in others if path is not None)]
    room_bytes = sum(table.stat().st_size for table in tables if table.exists())
    check_place(out, inputs=own, replace=force, room_bytes=room_bytes)


def own_files(options: SessionOptions) -> list[Path | None]:
    """Return the files besides tables that every session reads or keeps; no output goes there."""
    from psi.network.certificates import identity_files

    return [
        *identity_files(options.identity),
        options.passphrase_file,
        options.ledger,
        options.log,
    ]


def unfinished_folder(identity: Path) -> Path:
    """Return where results are kept until they are written, if no folder is given."""
    from psi.network.certificates import identity_files

    return identity_files(identity)[0].with_suffix(".unfinished")


def own_identity(name: Path, passphrase_file: Path | None) -> "TLSIdentity":
    """Return this side's key and certificate.

    Raises:
        ConfigError: They cannot be read.
    """
    from psi.network.certificates import TLSIdentity, identity_files

    key, _ = identity_files(name)
    return TLSIdentity.load(name, known_passphrase(passphrase_file, key))


def steps_of(options: list[str] | None) -> str | dict[str, str]:
    """Return the steps of `--normalise case`, or of `--normalise mail=email` for each column.

    Raises:
        ConfigError: Both forms are mixed, or the first is given twice.
    """
    named = [option.rpartition("=") for option in options or []]
    if all(equals for _, equals, _ in named):
        return {column: steps for column, _, steps in named}
    if len(named) > 1:
        raise ConfigError("--normalise is given once for all columns, or as column=steps for each")
    return named[0][2]


def ledger_of(
    options: "Limits", *, epsilon_in_all: float | None = None, delta_in_all: float | None = None
) -> "Ledger | None":
    """Return the ledger that limits what peers may ask, if one is kept.

    Args:
        options: The limits on each peer.
        epsilon_in_all: The limit on all peers together.
        delta_in_all: The same.

    Raises:
        ConfigError: Limits come without a ledger, or a ledger without limits.
    """
    from psi.ledger import Ledger

    limits: dict[str, Any] = {
        "sessions_a_peer": options.sessions_a_peer,
        "items_a_peer": options.items_a_peer,
        "epsilon_in_all": epsilon_in_all,
        "delta_in_all": delta_in_all,
    }
    if options.ledger is not None:
        return Ledger(options.ledger, **limits)
    if any(limit is not None for limit in limits.values()):
        raise ConfigError("limits across runs are counted in a file: add --ledger FILE")
    return None


def network(module: str) -> ModuleType:
    """Return a module of psi that speaks gRPC.

    Raises:
        ConfigError: gRPC is not installed.
    """
    import importlib

    # Without gRPC's own reports of failed handshakes, which would come beside our one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        return importlib.import_module(f"psi.network.{module}")
    except ImportError as error:
        raise ConfigError(
            "several parties need the package grpcio: pip install 'privfed[psi-network]'"
        ) from error


def say_listening(port: int, log: "EventLog") -> None:
    """Print the port, which may be one that was free."""
    messages.print(f"listening on port {port}")
    log.tell("listening", port=port)


def say_turned_away(words: str, log: "EventLog") -> None:
    """Print that another side came with other settings, and what was wrong."""
    messages.print(f"turned away, and waiting on: {in_words(words)}")
    log.tell("turned away", message=in_words(words))


@contextlib.contextmanager
def progress_bar() -> Iterator["Progress"]:
    """Show a bar on the terminal for the work that goes on, and at the end the time it took."""
    if not messages.is_terminal:
        yield lambda stage, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=messages, transient=True) as bar:
        task = bar.add_task("waiting", total=None)
        # The bar of a stage without a number pulses.
        yield lambda stage, done, total: bar.update(
            task, description=stage, completed=done, total=total or None
        )
