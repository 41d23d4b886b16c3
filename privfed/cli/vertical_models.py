"""What `privfed vertical` takes for one model or another, each option with its model beside it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from privfed.cli.typed import byte_count, one_of
from privfed.errors import ConfigError

if TYPE_CHECKING:
    from privfed.vertical.roles import Family, Opened
    from privfed.vertical.terms import OwnChoice, VerticalChoice

_CHOICE = "What both companies choose alike"
_GLM = "Alike too, with --model glm"
_TREES = "Alike too, with --model trees"
_OWN = "Each company for itself, with --model trees"

# What each option is called in the library, by its model.
_ALIKE = {
    "glm": {"penalty": "penalty", "iterations": "iterations", "coefficients": "coefficients"},
    "trees": {"trees": "trees", "depth": "depth", "reveal": "reveal"},
}
_OF_TREES = {
    "bins": "bins",
    "rate": "learning_rate",
    "l2": "l2",
    "early_stopping": "patience",
    "validation": "validation_percent",
    "weight": "weight",
}


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions:
    """What both companies choose alike, and of trees each for itself."""

    model: Annotated[
        str,
        typer.Option(
            help="glm: a generalised linear model; trees: boosted trees.",
            callback=one_of("glm", "trees"),
            rich_help_panel=_CHOICE,
        ),
    ] = "glm"
    family: Annotated[
        str,
        typer.Option(
            help="What the label is: logistic (two classes; with trees up to 100), linear (a "
            "number), poisson (a count).",
            callback=one_of("logistic", "linear", "poisson"),
            rich_help_panel=_CHOICE,
        ),
    ] = "logistic"
    least_rows: Annotated[
        int,
        typer.Option(
            min=1,
            help="Common rows on which a column of the host must differ from its commonest value, "
            "where coefficients open; of trees those on each side of a split.",
            rich_help_panel=_CHOICE,
        ),
    ] = 10
    predictions: Annotated[
        int,
        typer.Option(
            min=0,
            help="Rows that the model may ever answer, held-out ones included.",
            rich_help_panel=_CHOICE,
        ),
    ] = 100_000
    test: Annotated[
        int,
        typer.Option(
            min=0, max=90, help="Percent of common rows held out.", rich_help_panel=_CHOICE
        ),
    ] = 25
    opened: Annotated[
        str,
        typer.Option(
            help="What of a scored row the guest gets: its score, rounded, or its class; of more "
            "than two classes always the class.",
            callback=one_of("score", "class"),
            rich_help_panel=_CHOICE,
        ),
    ] = "score"
    penalty: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="L2: half of it times the squared coefficients of standardised columns is added "
            "to the mean loss; 0.001 without.",
            rich_help_panel=_GLM,
        ),
    ] = None
    iterations: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Steps of the descent; 20 without.",
            rich_help_panel=_GLM,
        ),
    ] = None
    coefficients: Annotated[
        str | None,
        typer.Option(
            help="own: each company gets its own coefficients, rounded; shared: nobody does, and "
            "both halves predict; own without.",
            callback=one_of("own", "shared"),
            rich_help_panel=_GLM,
        ),
    ] = None
    trees: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Rounds of trees, at most: one tree each, of more than two classes one a class; "
            "30 without.",
            rich_help_panel=_TREES,
        ),
    ] = None
    depth: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=7,
            help="Splits on the way to a leaf; 4 without.",
            rich_help_panel=_TREES,
        ),
    ] = None
    reveal: Annotated[
        str | None,
        typer.Option(
            help="sides: of the host's columns the guest reads which side rows take, in nodes that "
            "the host won; histograms: it reads the score of every split besides, which is faster "
            "and can tell single rows; sides without.",
            callback=one_of("sides", "histograms"),
            rich_help_panel=_TREES,
        ),
    ] = None
    bins: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=254,
            help="Bins of a column, at most, beside that of missing values; 32 without.",
            rich_help_panel=_OWN,
        ),
    ] = None

    @property
    def choice(self) -> "VerticalChoice":
        """What these options say for both.

        Raises:
            ConfigError: They do not go together.
        """
        from privfed.vertical.linear.terms import LinearChoice
        from privfed.vertical.trees.terms import TreesChoice

        if self.opened == "class" and self.family != "logistic":
            raise ConfigError("only a logistic model has classes: take --opened score")
        for model, options in _ALIKE.items():
            if model != self.model:
                self._refuse(options, model)
        kind: Any = LinearChoice if self.model == "glm" else TreesChoice
        choice: VerticalChoice = kind(
            family=cast("Family", self.family),
            least_rows=self.least_rows,
            predictions=self.predictions,
            test_percent=self.test,
            opened=cast("Opened", self.opened),
            **self._given(_ALIKE[self.model]),
        )
        return choice

    @property
    def own(self) -> "OwnChoice | None":
        """What they say for this company; None: its model leaves nothing to it.

        Raises:
            ConfigError: They belong to the other model, or do not go together.
        """
        from privfed.vertical.trees.terms import OwnTrees

        if self.model != "trees":
            self._refuse((*_OF_TREES, "memory"), "trees")
            return None
        if getattr(self, "validation", None) and not getattr(self, "early_stopping", None):
            raise ConfigError("--validation goes with --early-stopping: give both, or neither")
        return OwnTrees(**self._given(_OF_TREES))

    @property
    def own_of_host(self) -> "OwnChoice | None":
        """What they say for the host, where one run plays both; as of `own`."""
        from privfed.vertical.trees.terms import OwnTrees

        return OwnTrees(**self._given({"bins": "bins"})) if self.model == "trees" else None

    @property
    def memory_bytes(self) -> int:
        """How much memory may be taken for what can be made anew."""
        from privfed.vertical.training import MEMORY_BYTES

        found: int | None = getattr(self, "memory", None)
        return MEMORY_BYTES if found is None else found

    def _given(self, names: Mapping[str, str]) -> dict[str, Any]:
        return {
            field: value
            for option, field in names.items()
            if (value := getattr(self, option, None)) is not None
        }

    def _refuse(self, options: Iterable[str], model: str) -> None:
        for option in options:
            if getattr(self, option, None) is not None:
                raise ConfigError(
                    f"--{option.replace('_', '-')} goes with --model {model}: leave it out, or "
                    "choose that model"
                )


@dataclass(frozen=True, kw_only=True)
class GuestOptions:
    """What the guest alone chooses for trees."""

    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1.0,
            help="Learning rate: what a leaf's value is multiplied by; 0.3 without.",
            rich_help_panel=_OWN,
        ),
    ] = None
    l2: Annotated[
        float | None,
        typer.Option(
            "--l2",
            min=0.0,
            help="L2 of leaves: what is added to the hessian of each; 1 without.",
            rich_help_panel=_OWN,
        ),
    ] = None
    early_stopping: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stop after so many rounds without a smaller loss on rows that the guest holds "
            "back, and keep the best; without it all rounds are grown.",
            rich_help_panel=_OWN,
        ),
    ] = None
    validation: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=90,
            help="With --early-stopping: percent of the training rows held back; 20 without.",
            rich_help_panel=_OWN,
        ),
    ] = None
    weight: Annotated[
        str | None,
        typer.Option(
            help="The guest's column that says how often a row counts; no feature.",
            rich_help_panel=_OWN,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class HostOptions:
    """What the host alone chooses for trees."""

    memory: Annotated[
        int | None,
        typer.Option(
            parser=byte_count,
            metavar="SIZE",
            help="Memory of the host for what its splits become, as 500MB or 2GB; what does not "
            "fit is made anew for each node; 1GB without.",
            rich_help_panel=_OWN,
        ),
    ] = None
