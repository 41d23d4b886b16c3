"""What both companies choose alike for boosted trees, and what each chooses for itself."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import msgspec

from privfed.errors import ConfigError
from privfed.vertical.shapes import SideShape
from privfed.vertical.terms import OwnChoice, VerticalChoice, VerticalTerms
from privfed.vertical.trees.bins import MOST_BINS
from privfed.vertical.trees.growing import TreeSettings
from privfed.vertical.trees.plan import Reveal, TreesPlan

__all__ = ["GuestTreesShape", "HostTreesShape", "OwnTrees", "TreesChoice", "TreesTerms"]

_MOST_OUTPUTS = 100
_MOST_SPLITS = 1 << 20


class GuestTreesShape(SideShape, frozen=True):
    """What the guest tells.

    Attributes:
        outputs: How many scores a row has: of K > 2 classes K, else 1.
    """

    outputs: int

    @property
    def possible(self) -> bool:
        """Whether there are such labels."""
        return 1 <= self.outputs <= _MOST_OUTPUTS


class HostTreesShape(SideShape, frozen=True):
    """What the host tells.

    Attributes:
        splits: How many splits its columns allow.
    """

    splits: int

    @property
    def possible(self) -> bool:
        """Whether there are such columns."""
        return 1 <= self.splits <= _MOST_SPLITS


class TreesTerms(VerticalTerms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The terms of a training of trees.

    Attributes:
        trees: How many rounds there are at most, of one tree an output.
        depth: How many splits are on the way to a leaf.
        reveal: What of a node the guest sees.
    """

    trees: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    depth: Annotated[int, msgspec.Meta(ge=1, le=7)]
    reveal: Reveal


@dataclass(frozen=True, kw_only=True)
class TreesChoice(VerticalChoice):
    """What a company chooses for trees, as the other does. Attributes as of `TreesTerms`."""

    model: ClassVar[Literal["glm", "trees"]] = "trees"
    many_classes: ClassVar[bool] = True
    terms_type: ClassVar[type[VerticalTerms]] = TreesTerms

    trees: int = 30
    depth: int = 4
    reveal: Reveal = "sides"

    def plan(self, guest: GuestTreesShape, host: HostTreesShape) -> TreesPlan:
        """Return the plan of both shapes.

        Raises:
            CapacityError: It does not fit the ring.
            ConfigError: A choice is out of its range.
        """
        return TreesPlan(
            family=self.family,
            outputs=guest.outputs,
            rows=guest.rows,
            host_splits=host.splits,
            trees=self.trees,
            depth=self.depth,
            reveal=self.reveal,
            predictions=self.predictions,
        )


@dataclass(frozen=True, kw_only=True)
class OwnTrees(OwnChoice):
    """What a company chooses for its own part of trees.

    Attributes:
        bins: How many bins a column has at most, beside that of missing values.
        learning_rate: What a leaf's value is multiplied by; the guest's alone, and all that follow.
        l2: What is added to a leaf's hessian.
        patience: After how many rounds without a smaller loss on the validation part training
            ends; None: it goes on to the last.
        validation_percent: Which part of the rows that train the guest holds back for that.
        weight: The column that says how often a row counts; None: each once.

    Raises:
        ConfigError: On construction, a number is out of range.
    """

    bins: int = 32
    learning_rate: float = 0.3
    l2: float = 1.0
    patience: int | None = None
    validation_percent: int = 20
    weight: str | None = None

    def __post_init__(self) -> None:
        TreeSettings(learning_rate=self.learning_rate, l2=self.l2)
        if not 2 <= self.bins <= MOST_BINS:
            raise ConfigError(f"a column has 2 to {MOST_BINS} bins, not {self.bins}")
        if self.patience is not None and self.patience < 1:
            raise ConfigError("training ends after 1 round or more without a smaller loss")
        if not 1 <= self.validation_percent <= 90:
            raise ConfigError(
                f"1 to 90 percent of the rows can be held back, not {self.validation_percent}"
            )
