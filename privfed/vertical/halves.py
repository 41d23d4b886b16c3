"""A company's half of a model, on disk: data only, versioned, and for its owner alone.

Where coefficients stay shared, a half is half of a secret: with both, somebody has the model. Its
file has a digest: a digit that changed on a disk would give other scores, and nothing would tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privfed.errors import CapacityError, ConfigError, DecodeError
from privfed.he.ring import PLAIN_MODULUS
from privfed.vertical.company import LabelScale
from privfed.vertical.encoding import BlockEncoder, BlockFields
from privfed.vertical.linear.plan import VerticalPlan
from privfed.vertical.linear.query import GuestQuery, HostQuery, query_numbers
from privfed.vertical.linear.rows import with_intercept
from privfed.vertical.linear.whitening import Whitening, WhiteningFields
from privfed.vertical.roles import Opened, Role
from privfed.vertical.sealed import sealed, unsealed
from psi.network import Progress
from psi.storage import json_bytes, json_read, read_secret, write_new

__all__ = ["HALF_FILE", "Half"]

HALF_FILE = "half.json"
_KIND = "half"
_MOST_BYTES = 1 << 29  # with `MOST_FEATURES` columns

Floats = NDArray[np.float64]
_Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
_Share = Annotated[int, msgspec.Meta(ge=0, lt=PLAIN_MODULUS)]
_Opened = Annotated[int, msgspec.Meta(gt=-(1 << 40), lt=1 << 40)]


class Half(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One company's half. Its repr shows no number.

    Attributes:
        role: Whose it is.
        plan: What both agreed on.
        model: Names the model; the same at both.
        answers: What of a row the guest gets.
        encoder: The company's columns.
        whitening: What is done to them.
        id_columns: The ID.
        normalise: Steps that make IDs comparable.
        label: The guest's label column.
        classes: What its labels 0 and 1 are called.
        middle: What was taken from the guest's labels.
        unit: What they were divided by.
        coefficients: As they opened, in units of the plan's rounding; null where they are shared.
        shares: Modulo t, of all coefficients; null where they opened.
    """

    role: Role
    plan: VerticalPlan
    model: _Hex32
    answers: Opened
    encoder: BlockFields
    whitening: WhiteningFields
    id_columns: tuple[str, ...]
    normalise: str | None
    label: str | None
    classes: tuple[str, ...]
    middle: float
    unit: float
    coefficients: tuple[_Opened, ...] | None
    shares: tuple[_Share, ...] | None

    def __post_init__(self) -> None:
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
        if (self.label is not None) != guest or not self.id_columns or not self.unit > 0:
            raise ValueError("a half names its ID, and the guest's its label")
        logistic = plan.family == "logistic"
        if self.answers == "class" and not logistic:
            raise ValueError("a logistic model alone has classes")
        if len(self.classes) != (2 if guest and logistic else 0):
            raise ValueError("the guest's half of a logistic model names both classes")

    def __repr__(self) -> str:
        return f"Half({self.role}, {self.model[:8]})"

    @classmethod
    def load(cls, path: Path) -> Half:
        """Return the half that `save` wrote.

        Raises:
            ConfigError: There is no such file, or others may read it.
            DecodeError: It is no half, of another version, or damaged.
        """
        data = read_secret(path, most=_MOST_BYTES, refusal=ConfigError)
        try:
            # Its digest first, as a damaged plan could take for ever to check.
            return json_read(unsealed(_KIND, data), cls)
        except (ValueError, CapacityError):
            raise DecodeError(
                f"{path} is no half of a vertical model, or damaged: take the file that training "
                "wrote"
            ) from None

    def save(self, path: Path) -> None:
        """Write a new file that only its owner may read.

        Raises:
            ConfigError: It is there already, or cannot be written.
        """
        write_new(path, sealed(_KIND, json_bytes(self)), refusal=ConfigError)

    @property
    def scale(self) -> LabelScale:
        """The scale of labels."""
        return LabelScale(self.middle, self.unit)

    def query(
        self, frame: pd.DataFrame, *, progress: Progress | None = None
    ) -> GuestQuery | HostQuery:
        """Return this side of a query about rows, in an order that both sides have.

        Raises:
            ConfigError: The table lacks a column of training's.
            DecodeError: The half contradicts itself.
        """
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
