"""The options of `psi`, each with its name, type and help in one place."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

__all__ = [
    "Force",
    "Identity",
    "Listen",
    "On",
    "Out",
    "PairOptions",
    "PassphraseFile",
    "Peer",
    "Policy",
    "Protocol",
    "Rows",
    "SessionOptions",
    "Steps",
    "Table",
    "Timeout",
    "Wait",
    "spread",
]

Table: TypeAlias = Annotated[Path, typer.Argument(help="A CSV or Parquet file.")]
On: TypeAlias = Annotated[
    list[str], typer.Option("--on", help="Column of the ID; repeat it for several.")
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option("--out", help="CSV or Parquet file to make; the terminal without it."),
]
Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Replace the file of --out, if one is there.")
]
Policy: TypeAlias = Annotated[str, typer.Option("--duplicates", help="error, first or all.")]
Steps: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--normalise", help="Steps as in nfkc,case,space; for one column as in mail=email."
    ),
]
Rows: TypeAlias = Annotated[bool, typer.Option("--rows", help="Row numbers, not the rows.")]
Protocol: TypeAlias = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="ecdh, which auto is too, or kkrt: faster, only for tables in one hand or sides that "
        "trust each other not to cheat.",
    ),
]
Identity: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--identity",
        help="NAME of this side's NAME.key and NAME.crt, or the folder of privfed keys identity.",
    ),
]
PassphraseFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="File whose first line locks this side's key."),
]
Peer: TypeAlias = Annotated[
    Path, typer.Option("--peer", help="The other side's certificate, as it gave it to you.")
]
Listen: TypeAlias = Annotated[str, typer.Option("--listen", help="HOST:PORT to listen on.")]
Wait: TypeAlias = Annotated[
    float, typer.Option("--wait", help="Seconds to wait for the other side.")
]
Timeout: TypeAlias = Annotated[
    float, typer.Option("--timeout", help="Seconds that the session may take.")
]


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """What every side of a session chooses: its IDs, its output, and its limits."""

    on: On
    identity: Identity
    passphrase_file: PassphraseFile = None
    out: Out = None
    force: Force = False
    duplicates: Policy = "error"
    normalise: Steps = None
    rows: Rows = False
    pad_to: Annotated[
        int | None, typer.Option(help="Hide this side's size: fill up to so many IDs.")
    ] = None
    max_peer_items: Annotated[
        int | None,
        typer.Option(help="The largest set the other side may announce; 2^24 without."),
    ] = None
    ledger: Annotated[
        Path | None, typer.Option(help="A file that counts what each peer announces, across runs.")
    ] = None
    sessions_a_peer: Annotated[
        int | None, typer.Option(help="With --ledger: how many sessions a peer may hold.")
    ] = None
    items_a_peer: Annotated[
        int | None, typer.Option(help="With --ledger: how many IDs a peer may announce in all.")
    ] = None
    timeout: Timeout = 3600


@dataclass(frozen=True, kw_only=True)
class PairOptions(SessionOptions):
    """What both sides of a session between two choose besides."""

    peer: Peer
    result: Annotated[str, typer.Option(help="Who gets the result: both, serve or join.")] = "both"
    learn: Annotated[
        str, typer.Option(help="intersection, cardinality, sum, ids or unbalanced.")
    ] = "intersection"
    protocol: Protocol = "auto"
    column: Annotated[
        str | None, typer.Option(help="With --learn sum: the column, at the side that has it.")
    ] = None
    minimum: Annotated[
        int, typer.Option(help="With --learn sum: the least number of matches; hides no value.")
    ] = 10
    max_value: Annotated[
        int, typer.Option(help="With --learn sum: the largest value in the column.")
    ] = (1 << 20) - 1


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a command's parameter `options`, a dataclass, into an option for each of its fields."""
    parameters = dict(inspect.signature(command, eval_str=True).parameters)
    group: type[Any] = parameters.pop("options").annotation
    fields = inspect.signature(group, eval_str=True).parameters
    keyword_only = inspect.Parameter.KEYWORD_ONLY

    def spread_command(**given: Any) -> None:
        options = group(**{name: given.pop(name) for name in fields})
        command(**given, options=options)

    spread_command.__name__, spread_command.__doc__ = command.__name__, command.__doc__
    every = [*parameters.values(), *fields.values()]
    spread_command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=keyword_only) for parameter in every]
    )
    return spread_command
