"""`privfed vertical scorecard`: what the host's columns say of labels, by noisy counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privfed.cli.scorecard_options import Columns, Folder, PlayedScorecard, ScorecardParty
from privfed.cli.vertical_options import Label
from privfed.errors import ConfigError
from psi.cli.options import spread

if TYPE_CHECKING:
    from privfed.vertical.roles import Role

app = typer.Typer(invoke_without_command=True)

_Table = Annotated[Path, typer.Argument(help="This company's table: CSV, XLSX or Parquet.")]


@app.callback(invoke_without_command=True)
@spread
def scorecard(
    context: typer.Context,
    options: PlayedScorecard,
    columns: Columns = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the scorecard; may be new.")] = None,
) -> None:
    """Tell what each column of the host says of the guest's labels: WOE and information value.

    Of labels and columns nothing but noisy counts is shown, and to one company alone. Without a
    subcommand both companies are played here, as two processes, on made-up tables of a bank and a
    shop or on --guest and --host. `guest` and `host` are one company each.
    """
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise ConfigError("name the folder for the scorecard: --out DIR")
    from privfed.cli.scorecards import play_scorecard

    play_scorecard(options, columns or [], out)


@app.command("guest")
@spread
def scorecard_guest(
    table: _Table, options: ScorecardParty, out: Folder, label: Label = None
) -> None:
    """Be the company that holds the labels: count TABLE's with a host."""
    _be("guest", table, options, out, label, [])


@app.command("host")
@spread
def scorecard_host(
    table: _Table, options: ScorecardParty, out: Folder, columns: Columns = None
) -> None:
    """Be the company whose columns are counted: those of TABLE, with a guest."""
    _be("host", table, options, out, None, columns or [])


def _be(
    role: Role,
    table: Path,
    options: ScorecardParty,
    out: Path,
    label: str | None,
    columns: list[str],
) -> None:
    from privfed.cli.scorecards import be_scorecard_party

    be_scorecard_party(role, table, options, out, label, columns)
