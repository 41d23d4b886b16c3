"""The command `psi`: errors in one line; exit status 2 for bad input, 1 for a failed session."""

import sys

import typer

from psi.cli import alone, pairs, stores, together
from psi.errors import ConfigError, PSIError

__all__ = ["app", "main"]

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
for command in (
    alone.align,
    alone.keygen,
    pairs.serve,
    pairs.join,
    together.together,
    stores.publish,
    stores.answer,
):
    app.command()(command)


@app.callback()
def _psi() -> None:
    """Private set intersection: find the rows two tables share, and show nothing else."""


def main() -> None:
    """Run the command; the console script's entry point."""
    try:
        app()
    except PSIError as error:
        print(f"psi: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
