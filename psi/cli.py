"""The command `psi`: errors in one line, exit status 2."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console

from psi.errors import ConfigError, PSIError

if TYPE_CHECKING:
    from psi.keys import Duplicates

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
_messages = Console(stderr=True, highlight=False)


@app.callback()
def _psi() -> None:
    """Private set intersection: find the rows two tables share, and show nothing else."""


@app.command()
def align(
    left: Annotated[Path, typer.Argument(help="A CSV or Parquet file.")],
    right: Annotated[Path, typer.Argument(help="Another one.")],
    on: Annotated[list[str], typer.Option(help="Column of the ID; repeat it for several.")],
    out: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file to write; the terminal without it.")
    ] = None,
    duplicates: Annotated[str, typer.Option(help="error, first or all.")] = "error",
    normalise: Annotated[
        list[str] | None,
        typer.Option(help="Steps as in nfkc,case,space; for one column as in mail=email."),
    ] = None,
    rows: Annotated[bool, typer.Option("--rows", help="Row numbers, not the rows.")] = False,
) -> None:
    """Put the rows of two files side by side whose IDs both have, and no other row."""
    # numpy and the rest wait until there is work, so that --help does not.
    from psi.alignment import align as align_tables
    from psi.files import joined, read_table, taken, write_table

    tables = read_table(left), read_table(right)
    found = align_tables(
        *tables,
        on=on,
        duplicates=cast("Duplicates", duplicates),
        normalise=_steps(normalise or []),
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


def main() -> None:
    """Run the command; the console script's entry point."""
    try:
        app()
    except PSIError as error:
        print(f"psi: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _steps(options: list[str]) -> str | dict[str, str]:
    """Turn `--normalise case` or `--normalise mail=email --normalise tel=phone:DE` around."""
    named = [option.rpartition("=") for option in options]
    if all(equals for _, equals, _ in named):
        return {column: steps for column, _, steps in named}
    if len(options) > 1:
        raise ConfigError("--normalise is given once for all columns, or as column=steps for each")
    return options[0]
