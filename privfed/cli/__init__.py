"""The command `privfed`: an error that the user can correct is one line and exit status 2."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from typing import Annotated, Any, NoReturn, TextIO

import typer

from privfed import __version__
from privfed.cli import (
    audit,
    benchmark,
    inspect,
    keys,
    predict,
    report,
    train,
    train_party,
    vertical,
)
from privfed.cli.words import in_command_words
from privfed.errors import PrecisionWarning, PrivacyWarning, PrivFedError, TableWarning
from psi import MissingValueWarning, PSIError
from psi.cli.words import in_words

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Learn together without showing: encrypted aggregation, privacy, benchmarks.",
)
app.command("audit")(audit.audit)
app.command("benchmark")(benchmark.benchmark)
app.command("inspect")(inspect.inspect)
app.command("predict")(predict.predict)
app.command("report")(report.report)
app.command("aggregate")(train_party.aggregate)
app.add_typer(keys.app, name="keys")
app.add_typer(train.app, name="train")
app.add_typer(vertical.app, name="vertical")

_OF_PARTNERS = ("grpc", "tomli_w")
_INTERRUPTED = 130  # typer's own exit status for Ctrl+C
# Click's ClickException; typer from 0.26 on has one of its own.
_ClickException: Any = typer.BadParameter.__mro__[2]


@app.callback(invoke_without_command=True)
def _privfed(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; the console script's entry point."""
    warnings.showwarning = _warn
    # The commands' range is what an optimiser can reach at all, the same bound for every array.
    warnings.simplefilter("ignore", PrecisionWarning)
    try:
        status = app(prog_name="privfed", standalone_mode=False)
    except _ClickException as error:
        if not error.format_message():  # a bare `privfed` has already shown its help
            sys.exit(2)
        _fail(error.format_message())
    except PrivFedError as error:
        _fail(in_command_words(str(error)))
    except PSIError as error:
        _fail(in_words(str(error)))
    except ModuleNotFoundError as error:
        if error.name is None or importlib.util.find_spec(error.name.partition(".")[0]):
            raise
        extra = "partner" if error.name in _OF_PARTNERS else "train"
        _fail(f"{error.name} is not installed: pip install 'privfed[{extra}]'")
    except (typer.Abort, KeyboardInterrupt):
        status = _INTERRUPTED
    if status == _INTERRUPTED:
        print("privfed: interrupted; what had finished is kept", file=sys.stderr)
    sys.exit(status)


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show our own warnings in one line, without the line of code that gave them."""
    if issubclass(category, PrivacyWarning | TableWarning | MissingValueWarning):
        print(f"privfed: warning: {in_command_words(str(message))}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), file=sys.stderr)


def _fail(message: str) -> NoReturn:
    print(f"privfed: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
