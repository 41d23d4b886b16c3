"""The options of `privfed benchmark` that say who the parties are, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from privfed import defaults
from privfed.errors import ConfigError

if TYPE_CHECKING:
    from privfed.data import Dealing, Owners
    from privfed.data.dealing import SkewKind

_WHO = "Who the parties are"


@dataclass(frozen=True, kw_only=True)
class PartiesOptions:
    """Who the parties are."""

    party: Annotated[
        str | None,
        typer.Option(
            help="Column of a table of your own that says whose each row is: each of its values is "
            "a party. Or give a file for each party: --data a.csv --data b.csv.",
            rich_help_panel=_WHO,
        ),
    ] = None
    parties: Annotated[
        int | None,
        typer.Option(
            help=f"How many parties rows are dealt to ({defaults.PARTIES}).", rich_help_panel=_WHO
        ),
    ] = None
    sizes: Annotated[
        str | None,
        typer.Option(
            help="Rows of each party, as 100,200,50, or its share of all rows, as .5,.3,.2; what "
            "is left over goes to nobody.",
            rich_help_panel=_WHO,
        ),
    ] = None
    skew: Annotated[
        str | None,
        typer.Option(
            help="labels=0.5: each party has its own shares of the classes; quantities=1: its own "
            "number of rows. Both are drawn from a Dirichlet distribution of this concentration: "
            "the smaller, the more unequal.",
            rich_help_panel=_WHO,
        ),
    ] = None

    def are_given(self, files: Sequence[str], dataset: str) -> bool:
        """Return whether the table says who the parties are, by a column or by a file for each.

        Args:
            files: What --data gave.
            dataset: What the data are.

        Raises:
            ConfigError: The data are no table of the user's own, or an option would deal its rows.
        """
        if self.party is None and len(files) < 2:
            return False
        how = "--party" if self.party is not None else "a file for each party"
        if dataset != "table":
            raise ConfigError(
                f"{how} is of a table of your own, not of {dataset}: name its label column with "
                "--label, or leave it out"
            )
        for option in ("parties", "sizes", "skew"):
            if getattr(self, option) is not None:
                raise ConfigError(
                    f"{how} says who the parties are, and --{option} would deal the rows anew: "
                    "leave one of the two out"
                )
        return True

    @property
    def dealing(self) -> Dealing:
        """What is asked of dealt parties.

        Raises:
            ConfigError: It is not understood.
        """
        from privfed.data import Dealing

        sizes = None
        if self.sizes is not None:
            sizes = tuple(_number(part, "--sizes", "100,200,50") for part in self.sizes.split(","))
        if self.skew is None:
            return Dealing(sizes)
        kind, _, concentration = self.skew.partition("=")
        number = _number(concentration, "--skew", "labels=0.5 or quantities=1")
        return Dealing(sizes, cast("SkewKind", kind.strip()), number)

    def settings(
        self, splits: Sequence[str] | None, dataset: str, owners: Owners | None
    ) -> dict[str, Any]:
        """Return the fields of `Settings` that say who the parties are.

        Args:
            splits: The splits asked for, if any.
            dataset: What the data are.
            owners: Whose the rows are, where the table says it.
        """
        if owners is not None:
            usual, names = ("as-given",), owners.names
            return {
                "splits": usual if splits is None else splits,
                "parties": len(names),
                "names": names,
            }
        dealing, parties = self.dealing, self.parties
        if parties is None:
            parties = defaults.PARTIES if dealing.sizes is None else len(dealing.sizes)
        papers = dataset == defaults.DATASET and parties == 2 and dealing.is_plain
        usual = ("overlapping",) if papers else ("disjoint",)
        return {
            "splits": usual if splits is None else splits,
            "parties": parties,
            "dealing": dealing,
        }


def _number(text: str, option: str, example: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{option} takes numbers, as {example}, not {text.strip()!r}") from None
