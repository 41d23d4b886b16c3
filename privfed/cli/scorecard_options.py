"""The options of `privfed vertical scorecard`, each with its name, type and help in one place."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from privfed.cli.typed import above_zero, one_of
from privfed.cli.vertical_options import (
    BothTablesOptions,
    LineOptions,
    TableOptions,
)
from privfed.errors import ConfigError

if TYPE_CHECKING:
    from privfed.vertical.roles import Role
    from privfed.vertical.scorecards.terms import ScorecardChoice

_CHOICE = "What both companies choose alike"

Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="A column of the host to count, repeated for several; all without. Fewer columns "
        "need less noise.",
    ),
]
Folder = Annotated[Path, typer.Option(help="Folder for the receiver's scorecard; may be new.")]


@dataclass(frozen=True, kw_only=True)
class CountingOptions:
    """What both companies choose alike of a scorecard."""

    receiver: Annotated[
        str,
        typer.Option(
            help="Who gets the noisy counts. host: events in its own bins, and the guest adds "
            "noise for its labels; guest: events and other rows in the host's bins, and the host "
            "adds noise for its rows.",
            callback=one_of("host", "guest"),
            rich_help_panel=_CHOICE,
        ),
    ] = "host"
    epsilon: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=100.0,
            help="What the counts may cost: at the host one row's label, at the guest one row's "
            "values.",
            rich_help_panel=_CHOICE,
        ),
    ] = 1.0
    delta: Annotated[
        float,
        typer.Option(
            help="The δ of that, below one over the rows.",
            callback=above_zero,
            rich_help_panel=_CHOICE,
        ),
    ] = 1e-6
    bins: Annotated[
        int,
        typer.Option(
            min=2,
            max=254,
            help="Bins of a column at most, beside that of missing values.",
            rich_help_panel=_CHOICE,
        ),
    ] = 10
    least_rows: Annotated[
        int,
        typer.Option(min=1, help="Common rows in a bin at least.", rich_help_panel=_CHOICE),
    ] = 20
    names: Annotated[
        bool,
        typer.Option(
            "--names",
            help="With --receiver guest: the guest is told what columns and bins are called; "
            "numbers without.",
            rich_help_panel=_CHOICE,
        ),
    ] = False
    epsilon_in_all: Annotated[
        float | None,
        typer.Option(
            help="What all scorecards of the table whose rows the noise protects may cost "
            "together; as much as one without.",
            callback=above_zero,
        ),
    ] = None

    @property
    def choice(self) -> "ScorecardChoice":
        """What these options say.

        Raises:
            ConfigError: They do not go together.
        """
        from privfed.vertical.scorecards.terms import ScorecardChoice

        if self.names and self.receiver == "host":
            raise ConfigError("--names goes with --receiver guest: the host knows its own columns")
        return ScorecardChoice(
            receiver=cast("Role", self.receiver),
            epsilon=self.epsilon,
            delta=self.delta,
            bins=self.bins,
            least_rows=self.least_rows,
            names=self.names,
        )


@dataclass(frozen=True, kw_only=True)
class PlayedScorecard(BothTablesOptions, CountingOptions):
    """What a run that plays both companies gives for a scorecard."""


@dataclass(frozen=True, kw_only=True)
class ScorecardParty(LineOptions, TableOptions, CountingOptions):
    """What one company of two gives for a scorecard."""

    spent: Annotated[
        Path | None,
        typer.Option(
            help="File that counts what scorecards of TABLE cost; TABLE.spent.json without."
        ),
    ] = None
