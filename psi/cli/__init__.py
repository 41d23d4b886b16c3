"""The command `psi`: errors in one line; exit status 2 for bad input, 1 for a failed session.

One that was told to stop ends with 128 and the signal's number.
"""

import sys
import warnings
from typing import Annotated, TextIO

import typer

from psi import __version__
from psi.cli import alone, health, pairs, stores, together
from psi.cli.shared import messages
from psi.cli.words import in_words
from psi.errors import ConfigError, MissingValueWarning, PSIError, StoppedError

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
for command in (
    alone.align,
    alone.keygen,
    pairs.serve,
    pairs.join,
    together.together,
    stores.publish,
    stores.answer,
    health.health,
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _psi(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Private set intersection: find the rows two tables share; honest sides see no others."""
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; the console script's entry point."""
    warnings.showwarning = _warn
    try:
        app(prog_name="psi")
    except PSIError as error:
        print(f"psi: {in_words(str(error))}", file=sys.stderr)
        sys.exit(_status(error))


def _status(error: PSIError) -> int:
    if isinstance(error, StoppedError):
        return error.status
    return 2 if isinstance(error, ConfigError) else 1


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show our own warning in one line, without the line of code that gave it."""
    if issubclass(category, MissingValueWarning):
        messages.print(f"psi: warning: {in_words(str(message))}")
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), file=sys.stderr)
