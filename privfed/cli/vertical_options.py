"""The options of `privfed vertical`, each with its name, type and help in one place."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privfed.cli.typed import above_zero, host_port, host_port_here, one_of
from privfed.cli.vertical_models import ChoiceOptions, GuestOptions, HostOptions
from privfed.errors import ConfigError
from psi.cli.options import IdentityFile, PassphraseFile, Peer
from psi.defaults import WAIT_SECONDS

if TYPE_CHECKING:
    from privfed.cli.vertical_both import BothTables
    from privfed.data import Pair

IDColumns = Annotated[
    list[str] | None, typer.Option("--id", help="Column of the ID; repeat it for several.")
]
Label = Annotated[str | None, typer.Option(help="The guest's label column.")]
Normalise = Annotated[
    str | None,
    typer.Option(help="Steps that make IDs comparable, as nfkc,case,space; the same at both."),
]
Repeated = Annotated[
    str,
    typer.Option(
        help="An ID that repeats: error, or its first row.", callback=one_of("error", "first")
    ),
]
SchemaPath = Annotated[
    Path | None,
    typer.Option(help="What a table's columns are, as `privfed inspect --write` made it."),
]
Out = Annotated[Path, typer.Option(help="Folder for the half and the report; may be new.")]

SECURITY = (
    "semi-honest: what is said of privacy holds if both companies follow the protocol; see "
    "docs/vertical.md"
)
_PAIR = "A pair of tables, where none is given"
_LINE = "The other company"


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What in a company's table is what."""

    ids: IDColumns = None
    normalise: Normalise = None
    duplicates: Repeated = "error"
    schema: SchemaPath = None


@dataclass(frozen=True, kw_only=True)
class BothTablesOptions:
    """Tables of both companies for a run that plays both: files, or a pair that has a name."""

    guest: Annotated[
        Path | None, typer.Option(help="Table of the company with labels: CSV, XLSX or Parquet.")
    ] = None
    host: Annotated[
        Path | None, typer.Option(help="Table of the company with further columns.")
    ] = None
    ids: IDColumns = None
    label: Label = None
    normalise: Normalise = None
    duplicates: Repeated = "error"
    guest_schema: SchemaPath = None
    host_schema: SchemaPath = None
    pair: Annotated[
        str | None,
        typer.Option(
            help="bank-and-shop (as without), breast-cancer, dresses or randhie.",
            rich_help_panel=_PAIR,
        ),
    ] = None
    worth: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="How much the made-up shop's columns matter; 1 without.",
            rich_help_panel=_PAIR,
        ),
    ] = None
    days: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many first days of a dress's sales the seller knows; 1 without.",
            rich_help_panel=_PAIR,
        ),
    ] = None
    attributes: Annotated[
        Path | None,
        typer.Option(
            help="UCI's “Attribute DataSet”, for dresses; a surrogate without.",
            rich_help_panel=_PAIR,
        ),
    ] = None
    sales: Annotated[
        Path | None,
        typer.Option(help="UCI's “Dress Sales”, which belongs to it.", rich_help_panel=_PAIR),
    ] = None

    def both_tables(self) -> "BothTables":
        """Return both tables.

        Raises:
            ConfigError: Files and a pair are named, one table is given without the other, its
                columns are not named, or it cannot be read.
        """
        from privfed.cli.vertical_both import BothTables

        named = (self.pair, self.worth, self.days, self.attributes, self.sales)
        files = self.guest is not None or self.host is not None
        if files and any(each is not None for each in named):
            raise ConfigError("--guest and --host, or a pair that has a name: give one of both")
        return BothTables.taken(
            self.guest, self.host, self.ids or [], self.label, self.load_pair,
            normalise=self.normalise, duplicates=self.duplicates,
            schemas=(self.guest_schema, self.host_schema),
        )  # fmt: skip

    def load_pair(self) -> "Pair":
        """Load the pair that is named; bank and shop without a name.

        Raises:
            ConfigError: There is no such pair, an option belongs to another one, or the tables
                cannot be read.
        """
        from privfed.data import load_pair

        pair = self.pair or "bank-and-shop"
        if self.worth is not None and pair != "bank-and-shop":
            raise ConfigError("--worth belongs to --pair bank-and-shop")
        if (self.days, self.attributes, self.sales) != (None,) * 3 and pair != "dresses":
            raise ConfigError("--days, --attributes and --sales belong to --pair dresses")
        return load_pair(
            pair,
            worth=1.0 if self.worth is None else self.worth,
            days=self.days or 1,
            attributes=self.attributes,
            sales=self.sales,
        )


@dataclass(frozen=True, kw_only=True)
class PlayedOptions(BothTablesOptions, HostOptions, GuestOptions, ChoiceOptions):
    """What a run that plays both companies gives to train."""


@dataclass(frozen=True, kw_only=True)
class LineOptions:
    """How the other company is reached, and known."""

    identity: IdentityFile
    peer: Peer
    passphrase_file: PassphraseFile = None
    listen: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT to wait on for the other company; or --connect.",
            callback=host_port_here,
            rich_help_panel=_LINE,
        ),
    ] = None
    connect: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT on which the other company waits.",
            callback=host_port,
            rich_help_panel=_LINE,
        ),
    ] = None
    wait: Annotated[
        float,
        typer.Option(
            help="Seconds for which the other company may be missed.",
            callback=above_zero,
            rich_help_panel=_LINE,
        ),
    ] = WAIT_SECONDS
    max_peer_items: Annotated[
        int | None,
        typer.Option(help="The largest set the other company may bring; 2^24 without."),
    ] = None
    ledger: Annotated[
        Path | None, typer.Option(help="A file that counts what each company asks, across runs.")
    ] = None
    sessions_a_peer: Annotated[
        int | None, typer.Option(help="With --ledger: how many intersections a company may hold.")
    ] = None
    items_a_peer: Annotated[
        int | None, typer.Option(help="With --ledger: how many IDs a company may bring in all.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class PartyOptions(LineOptions, TableOptions, ChoiceOptions):
    """What one company of two gives."""

    out: Out
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the training that broke off in --out: both companies give their "
            "earlier commands again, each with --resume.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class GuestPartyOptions(GuestOptions, PartyOptions):
    """What the guest gives."""


@dataclass(frozen=True, kw_only=True)
class HostPartyOptions(HostOptions, PartyOptions):
    """What the host gives."""


@dataclass(frozen=True, kw_only=True)
class ScoringOptions(LineOptions):
    """What one company of two gives to score new rows."""

    half: Annotated[
        Path, typer.Option("--model", help="This company's half, half.json of its training.")
    ]
    duplicates: Repeated = "error"
