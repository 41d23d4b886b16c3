"""The command `psi`: align two files; errors in one line, exit status 2."""

import csv
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from psi.errors import ConfigError, PSIError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _psi() -> None:
    """Private set intersection: find the rows two tables share, and show nothing else."""


@app.command()
def align(
    left: Annotated[Path, typer.Argument(help="A CSV file with a header.")],
    right: Annotated[Path, typer.Argument(help="Another one.")],
    on: Annotated[list[str], typer.Option(help="Column of the ID; repeat it for several.")],
    out: Annotated[Path | None, typer.Option(help="Write here instead of to the terminal.")] = None,
    duplicates: Annotated[str, typer.Option(help="error, first or all.")] = "error",
) -> None:
    """Align two files in this process: pairs of row numbers, counted from 0 after the header."""
    from psi.alignment import align as align_tables  # numpy waits until there is work

    if duplicates not in ("error", "first", "all"):
        raise ConfigError("--duplicates is error, first or all")
    found = align_tables(left, right, on=on, duplicates=duplicates)  # type: ignore[arg-type]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["left_row", "right_row"])
    writer.writerows(zip(found.left_rows.tolist(), found.right_rows.tolist(), strict=True))
    if out is None:
        sys.stdout.write(text.getvalue())
    else:
        _write_whole(out, text.getvalue())
    Console(stderr=True).print(
        f"{len(found.left_rows)} matching rows by {found.protocol}, "
        f"{found.bytes_exchanged} bytes exchanged"
    )


def main() -> None:
    """Run the command; the console script's entry point."""
    try:
        app()
    except (PSIError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"psi: {message}", file=sys.stderr)
        sys.exit(2)


def _write_whole(path: Path, text: str) -> None:
    """Write a file that appears complete or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
