"""`privfed inspect`: how a table's columns are understood, before anything is learnt from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Console

from privfed import defaults
from privfed.cli.typed import one_of

if TYPE_CHECKING:
    from privfed.data import Encoding


def inspect(
    table: Annotated[
        Path, typer.Argument(help="Your own table: CSV, XLSX or Parquet.", show_default=False)
    ],
    label: Annotated[
        str | None, typer.Option(help="The label column: what is to be told of new rows.")
    ] = None,
    id_column: Annotated[
        str | None, typer.Option("--id", help="The ID column, if there is one.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="A schema file to read the table by, as --write makes it.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(help="Write what was understood to this file, to change and to give back."),
    ] = None,
    encoding: Annotated[
        str,
        typer.Option(
            help="onehot, one feature a category; or codes, one a column.",
            callback=one_of("codes", "onehot"),
        ),
    ] = defaults.OWN_ENCODING,
) -> None:
    """Show how each column of TABLE is understood: kind, missing and odd cells, coding.

    Nothing is trained. A few odd cells in a column of numbers (at most 2 % of those filled, or one
    of at least 20) count as missing. What is doubtful, such as 1,050 or 03/04/2025, is asked:
    write a schema file, choose there, and give it to `inspect`, `benchmark` or `train init`.

    Examples:
        privfed inspect own.csv --label late --id customer

        privfed inspect own.csv --label late --write schema.toml

        privfed benchmark --data own.csv --schema schema.toml
    """
    from privfed.cli.words import in_command_words
    from privfed.data import inspect_table, schema_text
    from privfed.data.understood import HEAD, WORDS, rows_of, understood
    from privfed.errors import ConfigError
    from privfed.table import Table, for_terminal
    from psi.storage import whole_file

    found = inspect_table(table, label=label, id_column=id_column, schema=schema)
    console = Console(highlight=False)
    rows = rows_of(understood(found.columns, cast("Encoding", encoding)))
    console.print(
        for_terminal(Table(HEAD, rows, words=WORDS), title=f"{table.name}: {found.rows:,} rows")
    )
    for column in found.columns:
        if column.warning:
            _say(console, in_command_words(column.warning))
    asked = [column for column in found.columns if column.question]
    for column in asked:
        _say(console, in_command_words(f"{column.question}: {column.remedy}"))
    if write is not None:
        with whole_file(write, refusal=ConfigError) as file:
            file.write(schema_text(found.columns, table.name).encode())
        still = f"choose in it what is asked ({len(asked)}), then " if asked else ""
        _say(console, f"{write} is written: {still}give it as --schema {write}")
    elif asked:
        _say(console, "a benchmark of this table stops here: --write schema.toml, choose there")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)
