"""What the commands of `psi` have in common: files in and out, credentials, progress."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rich.console import Console

from psi.cli.options import SessionOptions
from psi.errors import ConfigError

# numpy, gRPC and the rest are imported where there is work for them, so that --help is quick.
if TYPE_CHECKING:
    from psi.ledger import Ledger
    from psi.session import Progress

__all__ = [
    "check_place",
    "ledger_of",
    "load",
    "messages",
    "network",
    "progress_bar",
    "say_listening",
    "steps_of",
]

messages = Console(stderr=True, highlight=False, soft_wrap=True)


def load(path: Path, progress: "Progress") -> Any:
    """Read a table, and say so while it takes."""
    from psi.files import read_table

    progress(f"reading {path.name}", 0, 0)
    return read_table(path)


def check_place(out: Path | None) -> None:
    """Complain now about a place that cannot be written, not after the session.

    Raises:
        ConfigError: It cannot.
    """
    if out is not None and not (out.parent.is_dir() and os.access(out.parent, os.W_OK)):
        raise ConfigError(f"{out} cannot be written: choose a folder that exists and is yours")


def steps_of(options: list[str] | None) -> str | dict[str, str]:
    """Turn `--normalise case` or `--normalise mail=email --normalise tel=phone:DE` around.

    Raises:
        ConfigError: Both forms are mixed, or the first is given twice.
    """
    named = [option.rpartition("=") for option in options or []]
    if all(equals for _, equals, _ in named):
        return {column: steps for column, _, steps in named}
    if len(named) > 1:
        raise ConfigError("--normalise is given once for all columns, or as column=steps for each")
    return named[0][2]


def ledger_of(options: SessionOptions) -> "Ledger | None":
    """The ledger that limits what peers may ask, if one is kept.

    Raises:
        ConfigError: Limits come without a ledger, or a ledger without limits.
    """
    from psi.ledger import Ledger

    limits = {
        "sessions_a_peer": options.sessions_a_peer,
        "items_a_peer": options.items_a_peer,
    }
    if options.ledger is not None:
        return Ledger(options.ledger, **limits)
    if any(limit is not None for limit in limits.values()):
        raise ConfigError("limits across runs are counted in a file: add --ledger FILE")
    return None


def network(module: str) -> ModuleType:
    """A module of psi that speaks gRPC.

    Raises:
        ConfigError: gRPC is not installed.
    """
    import importlib

    # gRPC's own reports of failed handshakes would come on top of our one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        return importlib.import_module(f"psi.{module}")
    except ImportError as error:
        raise ConfigError(
            "several parties need the package grpcio: pip install 'privfed[psi-network]'"
        ) from error


def say_listening(port: int) -> None:
    """Tell the port, which may be a free one."""
    messages.print(f"listening on port {port}")


@contextlib.contextmanager
def progress_bar() -> Iterator["Progress"]:
    """A bar on the terminal for whatever goes on at the moment, and how long all of it took."""
    if not messages.is_terminal:
        yield lambda stage, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=messages, transient=True) as bar:
        task = bar.add_task("waiting", total=None)
        # A stage without a number pulses.
        yield lambda stage, done, total: bar.update(
            task, description=stage, completed=done, total=total or None
        )
