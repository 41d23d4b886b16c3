"""A company's half of a linear model."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.he.ring import PLAIN_MODULUS
from privfed.vertical.encoding import BlockEncoder, BlockFields
from privfed.vertical.halves import Half
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.query import GuestQuery, HostQuery, query_numbers
from privfed.vertical.linear.rows import with_intercept
from privfed.vertical.linear.whitening import Whitening, WhiteningFields
from privfed.vertical.roles import Family
from psi.network import Progress

__all__ = ["LinearHalf"]

Floats = NDArray[np.float64]
_Share = Annotated[int, msgspec.Meta(ge=0, lt=PLAIN_MODULUS)]
_Opened = Annotated[int, msgspec.Meta(gt=-(1 << 40), lt=1 << 40)]


class LinearHalf(Half, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One company's half of a linear model.

    Where coefficients stay shared, it is half of a secret: with both, somebody has the model.

    Attributes:
        plan: What both agreed on.
        encoder: The company's columns.
        whitening: What is done to them.
        coefficients: As they opened, in units of the plan's rounding; null where they are shared.
        shares: Modulo t, of all coefficients; null where they opened.
    """

    KIND: ClassVar[str] = "half"

    plan: VerticalPlan
    encoder: BlockFields
    whitening: WhiteningFields
    coefficients: tuple[_Opened, ...] | None
    shares: tuple[_Share, ...] | None

    def __post_init__(self) -> None:
        super().__post_init__()
        plan, guest = self.plan, self.role == "guest"
        shared = plan.coefficients == "shared"
        whitened = plan.guest_columns if guest else plan.host_columns
        held = self.shares if shared else self.coefficients
        other = self.coefficients if shared else self.shares
        if held is None or other is not None or len(held) != (plan.lanes if shared else whitened):
            raise ValueError("a half has its plan's coefficients or shares")
        rows, width = len(self.whitening.matrix), {len(row) for row in self.whitening.matrix}
        names = plan.guest_names if guest else plan.host_names
        if rows != names or width != {whitened - guest} or len(self.encoder.kept) != names:
            raise ValueError("a half has its plan's columns")
        if len(self.classes) != (2 if guest and plan.family == "logistic" else 0):
            raise ValueError("the guest's half of a logistic model names both classes")

    @property
    def family(self) -> Family:
        """What the label is."""
        return self.plan.family

    @property
    def predictions(self) -> int:
        """How many rows the model may ever answer."""
        return self.plan.predictions

    def query(
        self, frame: pd.DataFrame, *, progress: Progress | None = None
    ) -> GuestQuery | HostQuery:
        """Return this side of a query; as of `Half`."""
        encoder = BlockEncoder.from_fields(self.encoder)
        whitening = Whitening.from_fields(self.whitening).matrix
        features = frame.drop(columns=[*self.id_columns, self.label], errors="ignore")
        whitened = encoder.matrix(features) @ whitening
        numbers = query_numbers(
            self.plan,
            opened=None if self.coefficients is None else np.array(self.coefficients, np.int64),
            shares=None if self.shares is None else np.array(self.shares, np.uint64),
        )
        model = bytes.fromhex(self.model)
        if self.role == "guest":
            block = with_intercept(whitened)
            return GuestQuery(self.plan, model, numbers, block, self.answers, progress=progress)
        return HostQuery(self.plan, model, numbers, whitened, self.answers, progress=progress)
