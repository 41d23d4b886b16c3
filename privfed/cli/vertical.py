"""`privfed vertical`: two companies with other columns of the same IDs train one model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from privfed.cli import vertical_scorecard
from privfed.cli.train_progress import tell
from privfed.cli.vertical_options import (
    SECURITY,
    GuestPartyOptions,
    HostPartyOptions,
    Label,
    PartyOptions,
    PlayedOptions,
    ScoringOptions,
)
from privfed.errors import ConfigError
from psi.cli.options import spread

# Without gRPC's own reports of failed handshakes, which would come beside our one line.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

app = typer.Typer(invoke_without_command=True)
app.add_typer(vertical_scorecard.app, name="scorecard")

Table = Annotated[Path, typer.Argument(help="This company's table: CSV, XLSX or Parquet.")]


@app.callback(invoke_without_command=True)
@spread
def vertical(
    context: typer.Context,
    options: PlayedOptions,
    out: Annotated[Path | None, typer.Option(help="Folder for results; may be new.")] = None,
) -> None:
    """Train one model on two companies' columns of the same IDs; nobody's are shown.

    Without a subcommand both companies are played here, as two processes, on made-up tables of a
    bank and a shop or on --guest and --host. `guest` and `host` are one company each; a training
    of theirs that breaks off goes on by the same commands and --resume. The model is linear, or
    boosted trees: --model trees.
    """
    if context.invoked_subcommand is not None:
        return
    if out is None:
        raise ConfigError("name the folder for results: --out DIR")
    from privfed.cli.vertical_both import play_both

    choice, own = options.choice, (options.own, options.own_of_host)
    tables = options.both_tables()
    tell(SECURITY)
    play_both(tables, choice, out, own=own, memory_bytes=options.memory_bytes)


@app.command("guest")
@spread
def guest_side(table: Table, options: GuestPartyOptions, label: Label = None) -> None:
    """Be the company that holds the labels: train on TABLE with a host."""
    _be("guest", table, options, label)


@app.command("host")
@spread
def host_side(table: Table, options: HostPartyOptions) -> None:
    """Be the company whose columns help: train on TABLE with a guest."""
    _be("host", table, options, None)


predict = typer.Typer(
    no_args_is_help=True, help="Score new rows of both companies; each brings its half."
)
app.add_typer(predict, name="predict")


@predict.command("guest")
@spread
def predict_guest(
    table: Table,
    options: ScoringOptions,
    out: Annotated[Path, typer.Option(help="CSV file to make: a row's number and what opened.")],
) -> None:
    """Be the company that gets the scores of its rows in TABLE."""
    from privfed.cli.vertical_party import score

    score("guest", table, options, out)


@predict.command("host")
@spread
def predict_host(table: Table, options: ScoringOptions) -> None:
    """Be the company that answers for the common rows of TABLE."""
    from privfed.cli.vertical_party import score

    score("host", table, options, None)


def _be(role: Any, table: Path, options: PartyOptions, label: str | None) -> None:
    from privfed.cli.vertical_party import be_party

    be_party(role, table, options, label)
