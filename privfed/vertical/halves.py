"""A company's half of a model, on disk: data only, versioned, and for its owner alone.

Its file has a digest: a digit that changed on a disk would give other scores, and nothing would
tell.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Self

import msgspec
import pandas as pd

from privfed.errors import CapacityError, ConfigError, DecodeError
from privfed.vertical.company import LabelScale
from privfed.vertical.queries import AnsweringQuery, AskingQuery
from privfed.vertical.roles import Family, Opened, Role
from privfed.vertical.sealed import sealed, unsealed
from psi.network import Progress
from psi.storage import json_bytes, json_read, read_secret, write_new

__all__ = ["HALF_FILE", "MOST_HALF_BYTES", "Half"]

HALF_FILE = "half.json"
MOST_HALF_BYTES = 1 << 29

_Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Half(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What halves of every model have. Its repr shows no number.

    Attributes:
        role: Whose it is.
        model: Names the model; the same at both.
        answers: What of a row the guest gets.
        id_columns: The ID.
        normalise: Steps that make IDs comparable.
        label: The guest's label column.
        classes: What its labels 0, 1 and so on are called.
        middle: What was taken from the guest's labels.
        unit: What they were divided by.
    """

    KIND: ClassVar[str]

    role: Role
    model: _Hex32
    answers: Opened
    id_columns: tuple[str, ...]
    normalise: str | None
    label: str | None
    classes: tuple[str, ...]
    middle: float
    unit: float

    def __post_init__(self) -> None:
        guest = self.role == "guest"
        if (self.label is not None) != guest or not self.id_columns or not self.unit > 0:
            raise ValueError("a half names its ID, and the guest's its label")
        if self.answers == "class" and self.family != "logistic":
            raise ValueError("a logistic model alone has classes")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.role}, {self.model[:8]})"

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the half that `save` wrote.

        Raises:
            ConfigError: There is no such file, or others may read it.
            DecodeError: It is no half of this kind of model, of another version, or damaged.
        """
        return cls.read(path, read_secret(path, most=MOST_HALF_BYTES, refusal=ConfigError))

    @classmethod
    def read(cls, path: Path, data: bytes) -> Self:
        """Return the half whose bytes these are, from a file; errors as of `load`."""
        try:
            # Its digest first, as a damaged plan could take for ever to check.
            return json_read(unsealed(cls.KIND, data), cls)
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
        write_new(path, sealed(self.KIND, json_bytes(self)), refusal=ConfigError)

    @property
    def scale(self) -> LabelScale:
        """The scale of labels."""
        return LabelScale(self.middle, self.unit)

    @property
    @abstractmethod
    def family(self) -> Family:
        """What the label is."""

    @property
    @abstractmethod
    def predictions(self) -> int:
        """How many rows the model may ever answer."""

    @abstractmethod
    def query(
        self, frame: pd.DataFrame, *, progress: Progress | None = None
    ) -> AskingQuery | AnsweringQuery:
        """Return this side of a query about rows, in an order that both sides have.

        Raises:
            ConfigError: The table lacks a column of training's.
            DecodeError: The half contradicts itself.
        """
