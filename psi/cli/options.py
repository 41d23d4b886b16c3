"""The options of `psi`, each with its name, type and help in one place."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args

import typer

from psi.defaults import DUPLICATES, QUESTION, RESULT, SESSION_SECONDS
from psi.errors import ConfigError
from psi.protocols.auto import MEGABITS
from psi.protocols.choice import AUTO, PROTOCOLS
from psi.protocols.kmprt import Member
from psi.protocols.vole.layout import most_tested
from psi.sessions.questions import QUESTIONS
from psi.sessions.questions.question import told_of

__all__ = [
    "Details",
    "Fingerprints",
    "Force",
    "IdentityFile",
    "Keep",
    "Listen",
    "Log",
    "On",
    "OnePeer",
    "Out",
    "PairOptions",
    "PassphraseFile",
    "Peer",
    "Peers",
    "Policy",
    "Protocol",
    "Rows",
    "SessionOptions",
    "Steps",
    "TableFile",
    "Timeout",
    "Wait",
    "details_of",
    "spread",
]

_AMONG_MORE = Member.most_asked(1, 1000)
_BY_VOLE = most_tested(1000)
_QUESTIONS = "; ".join(f"{one.name}: {one.help}" for one in QUESTIONS.values()) + "."

Details: TypeAlias = dict[str, Any]
"""The given values of the questions' details, by the name of the field."""

TableFile: TypeAlias = Annotated[Path, typer.Argument(help="A CSV or Parquet file.")]
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
        help="; ".join(f"{one.name}: {one.help}" for one in PROTOCOLS.values()) + ".",
    ),
]
Summary: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--json",
        help="A file for what was held: protocol, why, rows brought, rows matched, bytes.",
    ),
]
IdentityFile: TypeAlias = Annotated[
    Path,
    typer.Option(
        "--identity",
        help="NAME of this side's NAME.key and NAME.crt, or the folder of privfed keys identity.",
    ),
]
PassphraseFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help="File whose first line locks this side's key; without it the terminal is asked.",
    ),
]
Unlocked: TypeAlias = Annotated[
    bool,
    typer.Option("--unlocked", help="No passphrase: the key is left to its file's mode, 0600."),
]
_OF_PEER = typer.Option("--peer", help="The other side's certificate, as it gave it to you.")
Peer: TypeAlias = Annotated[Path, _OF_PEER]
OnePeer: TypeAlias = Annotated[Path | None, _OF_PEER]  # it is asked for in a line of its own
Peers: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option("--peer", help="The other side's certificate; with --keep one for each peer."),
]
Fingerprints: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--peer-fingerprint",
        help="SHA-256 of the other side's certificate, as it tells you by telephone; one for each.",
    ),
]
Keep: TypeAlias = Annotated[
    bool,
    typer.Option("--keep", help="Stay up: hold sessions with all peers, in turn, until stopped."),
]
Log: TypeAlias = Annotated[
    Path | None,
    typer.Option("--log", help="A file to which a line of JSON is added for whatever happens."),
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
    """What every side of a session chooses: its IDs, its output and its limits."""

    on: On
    identity: IdentityFile
    passphrase_file: PassphraseFile = None
    out: Out = None
    force: Force = False
    duplicates: Policy = DUPLICATES
    normalise: Steps = None
    rows: Rows = False
    pad_to: Annotated[
        int | None, typer.Option(help="Hide this side's size: fill up to so many IDs.")
    ] = None
    max_peer_items: Annotated[
        int | None,
        typer.Option(
            help="How many IDs another side may be able to test, if it cheats; without it between "
            "two what fits into memory, at most 2^25. Between two that is as many as it announces, "
            f"under vole up to {_BY_VOLE:,} for a set of 1,000; "
            f"among more what known attacks reach, {_AMONG_MORE:,} for a set of 1,000."
        ),
    ] = None
    ledger: Annotated[
        Path | None, typer.Option(help="A file that counts what each peer can test, across runs.")
    ] = None
    sessions_a_peer: Annotated[
        int | None, typer.Option(help="With --ledger: how many sessions a peer may hold.")
    ] = None
    items_a_peer: Annotated[
        int | None,
        typer.Option(help="With --ledger: how many IDs a peer may be able to test in all."),
    ] = None
    epsilon_in_all: Annotated[
        float | None,
        typer.Option(
            help="With --ledger: the ε that all sessions with all peers may cost an ID of this "
            "side; one without --epsilon is unlimited."
        ),
    ] = None
    delta_in_all: Annotated[
        float | None,
        typer.Option(help="With --epsilon-in-all: the δ of all of them; 1e-6 without it."),
    ] = None
    timeout: Timeout = SESSION_SECONDS
    peer_fingerprint: Fingerprints = None
    log: Log = None
    unfinished: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps a result, sealed, until it is written; beside the key without."
        ),
    ] = None
    summary: Summary = None


@dataclass(frozen=True, kw_only=True)
class PairOptions(SessionOptions):
    """What else both sides of a session between two choose."""

    result: Annotated[str, typer.Option(help="Who gets the result: both, serve or join.")] = RESULT
    learn: Annotated[str, typer.Option(help=_QUESTIONS)] = QUESTION
    protocol: Protocol = AUTO
    bandwidth: Annotated[
        float | None,
        typer.Option(
            help=f"With --protocol {AUTO}: what the line carries, in Mbit/s; without, it is "
            f"measured or taken for {MEGABITS:g}. The slower of both sides' counts."
        ),
    ] = None


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a command's parameter `options`, a dataclass, into an option for each of its fields.

    Its parameter `details`, if it has one, becomes the options of all questions that this side may
    give; the side is named like the command.
    """
    parameters = dict(inspect.signature(command, eval_str=True).parameters)
    group: type[Any] = parameters.pop("options").annotation
    fields = inspect.signature(group, eval_str=True).parameters
    told = _details(command.__name__) if parameters.pop("details", None) else {}
    keyword_only = inspect.Parameter.KEYWORD_ONLY

    def spread_command(**given: Any) -> None:
        if told:
            given["details"] = {name: given.pop(name) for name in told}
        options = group(**{name: given.pop(name) for name in fields})
        command(**given, options=options)

    spread_command.__name__, spread_command.__doc__ = command.__name__, command.__doc__
    every = [*parameters.values(), *fields.values(), *told.values()]
    spread_command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [parameter.replace(kind=keyword_only) for parameter in every]
    )
    return spread_command


def details_of(learn: str, given: Details) -> Any:
    """Return a question's details, if it has any.

    Args:
        learn: The question's name.
        given: What was given.

    Raises:
        ConfigError: A detail of other questions was given.
    """
    asked = QUESTIONS[learn].details if learn in QUESTIONS else None
    own = given.keys() & told_of(asked).keys()
    for question in QUESTIONS.values():
        for field in dataclasses.fields(question.details) if question.details else ():
            if field.name in given.keys() - own and given[field.name] != field.default:
                option = f"--{field.name.replace('_', '-')}"
                raise ConfigError(f"{option} goes with --learn {_takers(field.name)}: choose that")
    return None if asked is None else asked(**{name: given[name] for name in own})


def _takers(detail: str) -> str:
    """Return the names of the questions that take a detail."""
    return " or ".join(one.name for one in QUESTIONS.values() if detail in told_of(one.details))


def _details(side: str) -> dict[str, inspect.Parameter]:
    """Return an option for each field of the questions' details that this side may give."""
    found: dict[str, inspect.Parameter] = {}
    for question in QUESTIONS.values():
        for field in dataclasses.fields(question.details) if question.details else ():
            told = told_of(question.details)[field.name]
            if side not in told.sides:
                continue
            option = typer.Option(help=f"With --learn {_takers(field.name)}: {told.help}.")
            found[field.name] = inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=Annotated[get_args(field.type)[0], option],
            )
    return found
