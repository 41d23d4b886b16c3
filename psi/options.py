"""The arguments and options that commands of `psi` share: name, type and help, once each."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

__all__ = [
    "Column",
    "Identity",
    "Learn",
    "Limit",
    "MaxValue",
    "Minimum",
    "On",
    "Out",
    "PadTo",
    "Peer",
    "Policy",
    "Protocol",
    "Rows",
    "Steps",
    "Table",
    "Timeout",
    "Whose",
]

Table: TypeAlias = Annotated[Path, typer.Argument(help="A CSV or Parquet file.")]
On: TypeAlias = Annotated[
    list[str], typer.Option("--on", help="Column of the ID; repeat it for several.")
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option("--out", help="CSV or Parquet file to write; the terminal without it."),
]
Policy: TypeAlias = Annotated[str, typer.Option("--duplicates", help="error, first or all.")]
Steps: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--normalise", help="Steps as in nfkc,case,space; for one column as in mail=email."
    ),
]
Rows: TypeAlias = Annotated[bool, typer.Option("--rows", help="Row numbers, not the rows.")]
Identity: TypeAlias = Annotated[
    Path, typer.Option("--identity", help="NAME of this side's NAME.key and NAME.crt.")
]
Peer: TypeAlias = Annotated[
    Path, typer.Option("--peer", help="The other side's certificate, as it gave it to you.")
]
Whose: TypeAlias = Annotated[
    str, typer.Option("--result", help="Who gets the result: both, serve or join.")
]
Learn: TypeAlias = Annotated[
    str, typer.Option("--learn", help="intersection, cardinality, sum, ids or unbalanced.")
]
Column: TypeAlias = Annotated[
    str | None,
    typer.Option("--column", help="With --learn sum: the column, at the side that has it."),
]
Minimum: TypeAlias = Annotated[
    int, typer.Option("--minimum", help="With --learn sum: the least number of matches.")
]
MaxValue: TypeAlias = Annotated[
    int, typer.Option("--max-value", help="With --learn sum: the largest value in the column.")
]
PadTo: TypeAlias = Annotated[
    int | None, typer.Option("--pad-to", help="Hide this side's size: fill up to so many IDs.")
]
Protocol: TypeAlias = Annotated[
    str, typer.Option("--protocol", help="ecdh, kkrt, or by the sizes of the sets: auto.")
]
Limit: TypeAlias = Annotated[
    int, typer.Option("--max-peer-items", help="The largest set the other side may bring.")
]
Timeout: TypeAlias = Annotated[
    float, typer.Option("--timeout", help="Seconds that the session may take.")
]
