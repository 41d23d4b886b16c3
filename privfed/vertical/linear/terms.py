"""What both companies choose alike for a linear model."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import msgspec

from privfed.vertical.linear.plan import Coefficients, VerticalPlan
from privfed.vertical.shapes import SideShape
from privfed.vertical.terms import VerticalChoice, VerticalTerms

__all__ = ["BlockShape", "LinearChoice", "LinearTerms"]

_MOST_COLUMNS = 1 << 14
_MOST_AT_ONCE = 250_000  # rows in an iteration: more take turns, so that a message fits memory


class BlockShape(SideShape, frozen=True):
    """What a side tells of its block.

    Attributes:
        names: Its standardised columns.
        columns: Its whitened columns, the guest's with the intercept.
    """

    names: int
    columns: int

    @property
    def possible(self) -> bool:
        """Whether there are such blocks."""
        return 1 <= self.columns <= self.names + 1 <= _MOST_COLUMNS


class LinearTerms(VerticalTerms, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The terms of a linear model's training.

    Attributes:
        penalty: See `VerticalPlan`.
        iterations: See there.
        coefficients: See there.
    """

    penalty: Annotated[float, msgspec.Meta(ge=0, le=1)]
    iterations: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    coefficients: Coefficients


@dataclass(frozen=True, kw_only=True)
class LinearChoice(VerticalChoice):
    """What a company chooses for a linear model. Attributes as of `LinearTerms`."""

    model: ClassVar[Literal["glm", "trees"]] = "glm"
    terms_type: ClassVar[type[VerticalTerms]] = LinearTerms

    penalty: float = 0.001
    iterations: int = 20
    coefficients: Coefficients = "own"

    def plan(self, guest: BlockShape, host: BlockShape) -> VerticalPlan:
        """Return the plan of both shapes.

        Raises:
            CapacityError: It does not fit the ring.
            ConfigError: A choice is out of its range.
        """
        return VerticalPlan(
            family=self.family,
            rows=guest.rows,
            guest_columns=guest.columns,
            host_columns=host.columns,
            guest_names=guest.names,
            host_names=host.names,
            penalty=self.penalty,
            iterations=self.iterations,
            batches=-(-guest.rows // _MOST_AT_ONCE),
            coefficients=self.coefficients,
            least_rows=self.least_rows,
            predictions=self.predictions,
        )
