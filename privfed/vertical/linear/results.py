"""What a company keeps of a linear model's training."""

from __future__ import annotations

from typing import Literal

from privfed.records import Bound, Count, KnownNumber, KnownShare
from privfed.vertical.results import SideOfModel, VerticalResults

__all__ = ["LINEAR_FORMAT", "LinearResults", "SideOfLinear"]

LINEAR_FORMAT: Literal["privfed vertical results 1"] = "privfed vertical results 1"


class SideOfLinear(SideOfModel, frozen=True, kw_only=True):
    """One side of a linear model; both know how many features it has."""

    columns: Count
    coefficients: tuple[Bound, ...] | None = None  # of its standardised features, in that order
    clipped_share: KnownShare | None = None  # of its training rows, shortened to the plan's bound


class LinearResults(VerticalResults, frozen=True, kw_only=True):
    """The whole file of a linear model."""

    format: Literal["privfed vertical results 1"] = LINEAR_FORMAT
    guest: SideOfLinear
    host: SideOfLinear
    penalty: KnownNumber
    iterations: Count
    coefficients_opened: Literal["each to its owner", "to nobody"]
    host_share: Bound | None = None  # of the score's variance

    def __post_init__(self) -> None:
        super().__post_init__()
        for side in (self.guest, self.host):
            if side.coefficients is not None and len(side.coefficients) != side.columns:
                raise ValueError("a side has one coefficient a column")
